"""Panels 2 and 5: a row's distribution over steps, and the whole model at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.stats.names import split_role
from forkmon.tui.app import ForkmonApp
from forkmon.tui.overview import row_of
from forkmon.tui.widgets.line_view import LineView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.app import App
    from textual.pilot import Pilot

    from forkmon.tui.launch import Launch

    Until = Callable[..., Awaitable[None]]
    MakeStore = Callable[..., object]
    LaunchOf = Callable[..., Launch]


def text(app: App[int], pane: str) -> str:
    """Return what a pane shows."""
    lines = app.screen.query_one(f"#{pane}", LineView).lines
    return "\n".join("".join(span.text for span in line) for line in lines)


async def ready(app: ForkmonApp, pilot: Pilot[int], until: Until) -> None:
    """Wait for the first scene."""
    await until(pilot, lambda: bool(app.main.desk.scene.timeline), "a scene")


async def test_the_fork_diagram_shows_every_step(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Panel 2 draws the row under the cursor over all steps, and y makes its values symlog."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("2")
        await until(pilot, lambda: "█" in text(app, "panel"), "the diagram")
        linear = text(app, "panel")
        await pilot.press("y")
        assert text(app, "panel") != linear
        await pilot.press("x", "y")
        await pilot.press("comma")
        assert "│" in text(app, "panel")


async def test_the_overview_walks_and_opens(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """In panel 5 the arrows move from tensor to tensor and step to step; enter goes there."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("5")
        await until(pilot, lambda: "lowest" in text(app, "panel"), "the map")
        desk = app.main.desk
        rows = desk.map_rows
        assert len(rows) == desk.scene.tree.tensors
        await pilot.press("end")
        assert desk.subject is not None
        assert desk.subject.name == rows[-1].path
        await pilot.press("up")
        assert desk.subject is not None
        assert desk.subject.name == rows[-2].path
        newest = desk.view.current
        await pilot.press("left")
        assert desk.view.current != newest
        await pilot.press("enter")
        assert desk.view.panel == "fork"
        assert desk.view.pane == "layers"


async def test_the_overview_follows_the_filter(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """What the tree leaves out is not in the map either."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, pilot, until)
        everything = len(app.main.desk.map_rows)
        await pilot.press("slash", *"ln_1", "enter", "5")
        rows = app.main.desk.map_rows
        assert 0 < len(rows) < everything
        assert all("ln_1" in row.path for row in rows)
        await pilot.press("escape", "slash", *"no such tensor", "enter", "5")
        assert "no tensor is shown" in text(app, "panel")


def test_roles_are_names_without_their_numbers() -> None:
    """Tensors of one role stand together whatever the layer; a name without numbers is a role."""
    assert split_role("blocks.3.attn.q.weight") == ("blocks.attn.q", "3")
    assert split_role("h.10.mlp.experts.7.w1.weight") == ("h.mlp.experts.w1", "10.7")
    assert split_role("embed.weight") == ("embed", "")
    assert split_role("layer4.0.bn2.bias") == ("layer4.bn2.bias", "0")
    assert row_of((), "x") == 0
