"""Acknowledging and muting: kept in the person's own file, undone by the same hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.stats.alert import Alert, Severity
from forkmon.tui.app import ForkmonApp
from forkmon.tui.marks import load, marks_path
from forkmon.tui.widgets.line_view import LineView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Maker
    from textual.app import App
    from textual.pilot import Pilot

    from forkmon.tui.launch import Launch

    Until = Callable[..., Awaitable[None]]
    MakeStore = Callable[..., Maker]
    LaunchOf = Callable[..., Launch]


def some_alerts() -> list[Alert]:
    """Return two alerts of different kinds."""
    return [
        Alert("NONFINITE", Severity.ERROR, "blocks.0.mlp.in.weight", 8, 8, "12 values are NaN"),
        Alert("REGIME", Severity.WARN, "blocks.0.attn.out.weight", 4, 8, "std +52 %"),
    ]


def text(app: App[int], pane: str) -> str:
    """Return what a pane shows."""
    lines = app.screen.query_one(f"#{pane}", LineView).lines
    return "\n".join("".join(span.text for span in line) for line in lines)


async def ready(app: ForkmonApp, pilot: Pilot[int], until: Until) -> None:
    """Wait for the first scene."""
    await until(pilot, lambda: bool(app.main.desk.scene.timeline), "a scene")


async def test_an_acknowledged_alert_comes_last_and_is_remembered(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """`a` moves the alert to the end, keeps it in the file, and takes itself back."""
    maker = make_store()
    maker.writer.replace_alerts(some_alerts())
    launch = launch_of(maker)
    app = ForkmonApp(launch)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        desk = app.main.desk
        first = desk.alerts[0]
        await pilot.press("n", "a")
        assert desk.alerts[-1].key == first.key
        assert len(desk.open_alerts) == len(desk.alerts) - 1
        assert "1 acknowledged" in text(app, "alerts")
        assert load(marks_path(launch.store)).acknowledged == {first.key}
    again = ForkmonApp(launch)
    async with again.run_test(size=(120, 40)) as pilot:
        await ready(again, pilot, until)
        desk = again.main.desk
        assert desk.alerts[-1].key == first.key
        await pilot.press("tab", "tab", "end", "a")
        assert desk.alerts[0].key == first.key
    assert load(marks_path(launch.store)).acknowledged == frozenset()


async def test_a_muted_kind_is_gone_until_it_is_heard_again(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """`m` takes a kind out of the list and out of the tree's badges; `M` brings all back."""
    maker = make_store()
    maker.writer.replace_alerts(some_alerts())
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        desk = app.main.desk
        before, badges = desk.alerts, dict(desk.worst)
        kind = before[0].kind
        await pilot.press("n", "m")
        assert all(alert.kind != kind for alert in desk.alerts)
        assert f"muted: {kind}" in text(app, "alerts")
        assert desk.worst != badges
        await pilot.press("M")
        assert desk.alerts == before
        assert desk.worst == badges


async def test_without_alerts_the_keys_say_so(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Acknowledging nothing is a sentence."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("a")
        assert "no alerts" in text(app, "status")
