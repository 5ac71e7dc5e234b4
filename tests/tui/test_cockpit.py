"""The cockpit over a real store: why an alert, what changed, where the run went, what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkmon.stats.alert import Alert, Severity
from forkmon.store.values import StoredVerdict
from forkmon.tui.app import ForkmonApp
from forkmon.tui.fetching import Difference
from forkmon.tui.screens.sheet import Sheet
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

LONG = (0, 1, 2, 4, 8, 16, 128, 256, 512)


def text(app: App[int], pane: str) -> str:
    """Return what a pane of the top screen shows."""
    lines = app.screen.query_one(f"#{pane}", LineView).lines
    return "\n".join("".join(span.text for span in line) for line in lines)


def in_main(app: ForkmonApp, pane: str) -> str:
    """Return what a pane of the main screen shows."""
    lines = app.main.query_one(f"#{pane}", LineView).lines
    return "\n".join("".join(span.text for span in line) for line in lines)


async def ready(app: ForkmonApp, pilot: Pilot[int], until: Until) -> None:
    """Wait for the first scene."""
    await until(pilot, lambda: bool(app.main.desk.scene.timeline), "a scene")


def split(tensor: str = "blocks.1.ln_1.weight", onset: int = 256) -> Alert:
    """Return an alert as the detectors write it."""
    facts: dict[str, float | int | str | None] = {
        "statistic": "peaks", "value": 2.0, "threshold": 2.0, "window": 4, "n": 400,
        "expected_false_alarms": 0.01, "view": "elements", "p": 1e-9,
    }  # fmt: skip
    return Alert("SPLIT", Severity.WARN, tensor, onset, 512, "2 peaks", facts, 1)


async def test_branches_begin_where_the_split_is_told(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """The modes measured at each step are drawn as branches, with their shares at the end."""
    maker = make_store(steps=LONG)
    maker.writer.replace_alerts([split()])
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("n", "2")
        await until(pilot, lambda: "67 %" in text(app, "panel"), "the branches")
        shown = text(app, "panel")
        assert "33 %" in shown
        assert "2 modes: .750 (67 %), 1.25 (33 %)" in shown
        assert "SPLIT 256" in shown
        await pilot.press("comma", "comma")
        await until(pilot, lambda: "at 128: one mode" in text(app, "panel"), "the step before")


async def test_the_fork_diagram_of_row_norms(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """c goes through values, row norms and column norms; a vector has no norms to show."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("slash", *"attn.q", "enter", "end", "2", "c")
        await until(pilot, lambda: "row norms" in text(app, "panel"), "row norms")
        assert "shades between stored quantiles" in text(app, "panel")
        await pilot.press("c")
        await until(pilot, lambda: "column norms" in text(app, "panel"), "column norms")
        await pilot.press("escape", "slash", *"ln_1", "enter", "end")
        assert "a vector has no channels" in text(app, "panel")
        await pilot.press("c")
        assert app.main.desk.view.fork_view == "elements"


async def test_the_explanation_says_on_what_an_alert_rests(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Statistic, threshold, window, false alarms, and what it does not mean; enter goes there."""
    maker = make_store(steps=LONG)
    maker.writer.replace_alerts([split()])
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("n", "e")
        await until(pilot, lambda: isinstance(app.screen, Sheet), "the sheet")
        said = text(app, "sheet")
        assert "peaks 2   threshold 2" in said
        assert "4 checkpoints, 400 measured at each" in said
        assert "0.01 expected in a healthy run" in said
        assert "what it does not mean" in said
        await pilot.press("a")
        assert app.main.desk.marks.acknowledged
        assert "acknowledged" in text(app, "sheet")
        await pilot.press("a", "enter")
        await until(pilot, lambda: app.screen is app.main, "the sheet closed")
        view, scene = app.main.desk.view, app.main.desk.scene
        assert view.panel == "fork"
        assert scene.checkpoint(view.current) == next(c for c in scene.timeline if c.step == 256)
        assert not app.main.desk.marks.acknowledged
        await pilot.press("e", "m")
        await until(pilot, lambda: app.screen is app.main, "the sheet closed by muting")
        assert app.main.desk.alerts == ()


async def test_an_event_of_many_tensors_names_each(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """The explanation of one event lists its tensors with what was measured of each."""
    maker = make_store(steps=LONG)
    names = [name for name in maker.names if name.endswith("attn.q.weight") or "mlp" in name][:4]
    maker.writer.replace_alerts([split(name) for name in names])
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        assert len(app.main.desk.alerts) == 1
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, Sheet), "the sheet")
        said = text(app, "sheet")
        assert "4 tensors, one event: peaks of each" in said
        assert all(name in said for name in names)


async def test_the_filter_is_of_the_alerts_too(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Alerts of tensors that are filtered out are not listed, and the header still counts them."""
    maker = make_store(steps=LONG)
    maker.writer.replace_alerts([split(), split("blocks.0.attn.q.weight", 128)])
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        assert len(app.main.desk.alerts) == 2
        await pilot.press("slash", *"ln_1", "enter")
        assert [alert.tensor for alert in app.main.desk.alerts] == ["blocks.1.ln_1.weight"]
        assert "alerts 1 of 2, filtered" in text(app, "alerts")
        assert "2 warnings" in text(app, "header")


async def test_what_differs_from_the_baseline(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """d lists the tensors, most changed first, distances as estimates; enter goes to one."""
    app = ForkmonApp(launch_of(make_store(steps=LONG)))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("d")
        await until(pilot, lambda: "most changed first" in text(app, "sheet"), "the difference")
        said = text(app, "sheet")
        assert "step 512 against baseline 0" in said
        assert "est." in said
        found = app.main.desk.shelf._found.values()
        (rows,) = [item.rows for item in found if isinstance(item, Difference)]
        distances = [row.distance or 0.0 for row in rows]
        assert min(distances) > 0
        assert distances == sorted(distances, reverse=True)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.screen is app.main, "the sheet closed")
        assert app.main.desk.subject is not None
        assert app.main.desk.subject.entry is not None
        assert app.main.desk.subject.entry.id == rows[1].entry


async def test_there_is_no_difference_from_itself(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """On the baseline d says so instead of opening a sheet of zeros."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("less_than_sign", "d")
        assert app.screen is app.main
        assert "this is the baseline" in text(app, "status")


async def test_the_histogram_is_read_off(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Left and right in the panel read value, density and mass below; esc ends it."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("end", "tab", "right")
        assert "below, density" in text(app, "panel").splitlines()[0]
        for _ in range(60):
            await pilot.press("right")
        assert "100 % below" in text(app, "panel") or ">99 % below" in text(app, "panel")
        await pilot.press("escape")
        assert app.main.desk.view.probe is None
        assert app.main.desk.view.pane == "panel"


async def test_the_histogram_adds_up(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """y also gives the share of the values below, and P the checkpoint before."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("end", "y", "y", "y")
        assert "share below" in text(app, "panel")
        await pilot.press("y", "P")
        assert "step 8" in text(app, "panel")
        await pilot.press("P")
        assert "step 8" not in text(app, "panel")


async def test_curves_show_fewer_steps_and_quantiles(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """+ leaves the steps around the current one; v offers the quantiles over steps."""
    app = ForkmonApp(launch_of(make_store(steps=LONG)))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("3", "plus")
        assert "steps 16 to 512" in text(app, "status")
        await pilot.press("minus")
        assert "all steps" in text(app, "status")
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, Sheet), "the choice")
        await pilot.press(*["down"] * 12, "enter")
        await until(pilot, lambda: "quantiles" in in_main(app, "panel"), "the bands")
        assert "50 % " in in_main(app, "panel")
        await pilot.press("y", "plus", "comma")
        assert app.main.desk.view.log_values


async def test_the_path_shows_where_the_run_went(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Panel 6 puts the checkpoints on a plane, by estimated distances, and marks the one shown."""
    app = ForkmonApp(launch_of(make_store(steps=LONG)))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("6")
        await until(pilot, lambda: "●" in text(app, "panel"), "the path")
        assert "est. distances of 14 tensors" in text(app, "panel")
        assert "512" in text(app, "panel")
        before = text(app, "panel")
        await pilot.press("comma")
        assert text(app, "panel") != before


async def test_the_view_is_taken_up_again(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Panel, statistic, scales, filter and baseline are as they were left."""
    launch = launch_of(make_store(steps=LONG))
    app = ForkmonApp(launch)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("comma", "b", "greater_than_sign", "2", "y", "slash", *"mlp", "enter")
    again = ForkmonApp(launch)
    async with again.run_test(size=(120, 40)) as pilot:
        await ready(again, pilot, until)
        view, scene = again.main.desk.view, again.main.desk.scene
        assert (view.panel, view.count_scale, view.filter) == ("fork", "symlog", "mlp")
        base = scene.checkpoint(view.baseline)
        assert base is not None
        assert base.step == 256
        assert view.follow


async def test_the_most_abnormal_come_first(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Sorted by abnormality a tensor with an alert stands above any change without one."""
    maker = make_store(steps=LONG)
    maker.writer.replace_alerts([split("blocks.0.mlp.in.bias")])
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("s", "s", "s")
        desk = app.main.desk
        assert desk.view.sort == "abnormal"
        assert desk.scene.tree.nodes[desk.rows[0].node].path == "blocks.0.mlp.in.bias"
        changes = desk._changes(desk.reads.column(desk.view.current, "std"))
        entries = [desk.scene.tree.nodes[row.node].entry for row in desk.rows[1:]]
        rest = [changes[entry] or 0.0 for entry in entries if entry is not None]
        assert rest == sorted(rest, reverse=True)


async def test_the_header_has_the_verdict(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """The word and its strongest reason, in place of the count of alerts."""
    maker = make_store(steps=LONG)
    maker.writer.set_verdict(StoredVerdict("diverging", ("3 tensors with NaN or Inf", "x")))
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        assert "✖ diverging: 3 tensors with NaN or Inf" in text(app, "header")
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "✖ diverging" in text(app, "header")


async def test_the_panel_is_copied_as_text(
    make_store: MakeStore, launch_of: LaunchOf, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Y hands the panel, its title and its numbers to the terminal's clipboard."""
    copied: list[str] = []
    app = ForkmonApp(launch_of(make_store()))
    monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("end", "Y")
        assert "lines copied" in text(app, "status")
        assert "density   █ step 16" in copied[0]
        assert "std " in copied[0]
        assert "\x1b" not in copied[0]


async def test_the_overview_of_drift_and_modes(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """v in the overview offers the drift too, without leaving it; the map names its statistic."""
    app = ForkmonApp(launch_of(make_store(steps=LONG)))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("5")
        await until(pilot, lambda: "lowest" in text(app, "panel"), "the map")
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, Sheet), "the choice")
        await pilot.press("end", "up", "enter")
        await until(pilot, lambda: "drift (est.)" in in_main(app, "panel"), "the drift")
        assert app.main.desk.view.panel == "overview"
        await until(pilot, lambda: "lowest" in in_main(app, "panel"), "the map of drift")


async def test_a_viewer_asks_the_store_for_its_name(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Without a title nothing has to be read before the first frame; the store tells it then."""
    app = ForkmonApp(launch_of(make_store(), title=""))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await until(pilot, lambda: " forkmon  tiny-lm " in text(app, "header"), "the name")
