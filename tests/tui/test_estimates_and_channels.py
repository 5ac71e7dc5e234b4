"""What the screen shows from sketches and channels, and numbers that are not final yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from textual.app import App
from textual.pilot import Pilot

from forkmon import wire
from forkmon.draw.glyphs import ASCII, UNICODE
from forkmon.draw.ink import Ink, Line, Span, plain
from forkmon.stats.series import Series
from forkmon.store.values import TensorEntry
from forkmon.tui import model
from forkmon.tui.app import ForkmonApp, Launch
from forkmon.tui.fetching import HISTORY, around, sampled
from forkmon.tui.screens.sheet import Sheet
from forkmon.tui.widgets.layer_tree import title_fitted
from forkmon.tui.widgets.line_view import LineView, changed_cells, merged
from forkmon.tui.widgets.panel import moved_parts
from forkmon.tui.widgets.panel_channels import axis_titles, no_channels

if TYPE_CHECKING:
    from conftest import Maker

MakeStore = Callable[..., "Maker"]
LaunchOf = Callable[..., Launch]
Until = Callable[..., Awaitable[None]]
ScreenText = Callable[[App[int]], str]

MATRIX = ("down", "down", "right", "down")
"""Keys from the top of the tree to the first tensor of the first block."""


def text(app: ForkmonApp, view: str) -> str:
    """Return the text of a pane."""
    return "\n".join(plain(app.main.query_one(f"#{view}", LineView).lines))


async def ready(app: ForkmonApp, pilot: Pilot[int], until: Until) -> None:
    """Wait until the store is on the screen."""
    await until(pilot, lambda: bool(app.main.desk.scene.timeline), "the first scene")
    await pilot.pause()


async def test_estimates_stand_under_the_panel(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """A tensor and a block show how far they moved, always labelled; the first step did not."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        for keys in ((), MATRIX):
            await pilot.press(*keys)
            await until(pilot, lambda: "‖Δw‖/‖w‖ " in text(app, "details"), "the estimates")
            said = text(app, "details")
            assert said.count("est.") == 3
            assert "drift " in said
        await pilot.press("less_than_sign")
        await until(pilot, lambda: "est." not in text(app, "details"), "the first step")


async def test_an_estimate_is_a_curve(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Choosing `drift` opens the curves with it first; the tree keeps its stored statistic."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press(*MATRIX, "v")
        await until(pilot, lambda: isinstance(app.screen, Sheet), "the list")
        await pilot.press("end", "up", "enter")
        await until(pilot, lambda: "drift (est.)" in text(app, "panel"), "the curve")
        assert " std " in text(app, "tree")
        await pilot.press("y")
        await until(pilot, lambda: "logarithmic" in text(app, "panel"), "the log axis")
        assert "drift (est.)" in text(app, "panel")


async def test_channels_of_a_matrix(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Panel 4 shows both axes of a matrix, and one sentence for everything else."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("4")
        assert "choose a tensor of this block" in text(app, "panel")
        await pilot.press(*MATRIX)
        await until(pilot, lambda: "rows (output channels) 20" in text(app, "panel"), "channels")
        said = text(app, "panel")
        assert "columns (inputs) 20" in said
        assert said.count("#") == 16
        assert "over steps" in said
        await pilot.press("n", "slash", *"ln_1", "enter", "end")
        assert "a vector has no channels" in text(app, "panel")


async def test_channels_fit_a_small_screen(
    make_store: MakeStore, launch_of: LaunchOf, until: Until, screen_text: ScreenText
) -> None:
    """At 80x24 both axes are there and nothing is cut in the middle of a number."""
    app = ForkmonApp(launch_of(make_store(), ascii=True))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot, until)
        await pilot.press(*MATRIX, "4")
        await until(pilot, lambda: "columns" in text(app, "panel"), "channels")
        assert "~" not in text(app, "panel")
        assert screen_text(app).isascii()


async def test_provenance_shows_the_content_hash(
    make_store: MakeStore, launch_of: LaunchOf, until: Until, screen_text: ScreenText
) -> None:
    """The hash of a tensor's bits is written as sixteen hexadecimal digits."""
    maker = make_store()
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press(*MATRIX, "o")
        await until(pilot, lambda: "content hash" in screen_text(app), "the sheet")
        subject = app.main.desk.subject
        assert subject is not None
        assert subject.entry is not None
        digest = app.main.desk.reads.digest(subject.entry.id, subject.current.id)
        assert digest is not None
        assert f"{digest:016x}" in screen_text(app)


async def test_a_preview_is_labelled_until_it_is_replaced(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """An attempt is shown once every tensor has a number; its previews say what they are."""
    maker = make_store()
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press(*MATRIX)
        assert "preview" not in text(app, "head") + text(app, "details")
        app.main.watched(progress=wire.Progress(32, 0, 14))
        attempt = maker.writer.begin(**maker.candidate(32))
        rows = list(maker.rows(32))
        maker.writer.add(attempt, [(k, replace(s, preview=True), r) for k, s, r in rows])
        await until(pilot, lambda: "step 32 preview 1 %" in text(app, "head"), "the preview")
        assert "preview 1 %" in text(app, "details")
        assert "6 checkpoints" in text(app, "header")
        maker.writer.add(attempt, rows)
        maker.writer.promote(attempt, seconds=1)
        await until(pilot, lambda: "7 checkpoints" in text(app, "header"), "the checkpoint")
        assert "preview" not in text(app, "head") + text(app, "details")


async def test_an_attempt_with_holes_is_not_shown(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Half a checkpoint stays unseen, and its rows do not disturb what is on the screen."""
    maker = make_store()
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        app.main.watched(progress=wire.Progress(32, 0, 14))
        attempt = maker.writer.begin(**maker.candidate(32))
        maker.writer.add(attempt, list(maker.rows(32))[:5])
        desk = app.main.desk
        await until(pilot, lambda: desk.scene.attempt is not None, "the attempt")
        assert [row.step for row in desk.scene.timeline][-1] == 16


def test_movement_is_written_only_where_it_is_known() -> None:
    """Every number is followed by `est.`; ASCII stays ASCII; one step has none."""
    values: dict[str, tuple[float | None, ...]] = {
        "update": (None, 0.0012), "drift": (0.0, 0.31), "cosine": (1.0, None),
    }  # fmt: skip
    parts = moved_parts(Series("w", (0, 1), values), UNICODE)
    assert plain(parts) == ["‖Δw‖/‖w‖ 1.20e−3 est.", "drift .310 est."]
    assert all(said.isascii() for said in plain(moved_parts(Series("w", (0, 1), values), ASCII)))
    assert moved_parts(Series("w", (0,), dict.fromkeys(values, (0.0,))), UNICODE) == []
    assert moved_parts(None, UNICODE) == []


def test_choosing_a_statistic() -> None:
    """An estimate goes to the curves alone; a stored statistic to tree and curves."""
    view = model.chosen(model.View(), "cosine")
    assert (view.statistic, view.charted, view.panel) == ("std", "cosine", "curves")
    view = model.chosen(view, "l2")
    assert (view.statistic, view.charted) == ("l2", "l2")


def test_what_is_read_for_a_step(make_store: MakeStore) -> None:
    """First, previous, current for movement; at most a few dozen for channels, current last."""
    with make_store().writer.reader() as reader:
        timeline = reader.timeline()
    ids = [row.id for row in timeline]
    assert [row.id for row in around(timeline, ids[3])] == [ids[0], ids[2], ids[3]]
    assert [row.id for row in around(timeline, ids[0])] == [ids[0]]
    assert around(timeline, -1) == sampled(timeline, -1) == ()
    assert [row.id for row in sampled(timeline, ids[4])] == ids[:5]
    many = tuple(replace(timeline[0], id=i) for i in range(1000))
    found = [row.id for row in sampled(many, 900)]
    assert len(found) == HISTORY
    assert (found[0], found[-1]) == (0, 900)


@pytest.mark.parametrize(
    ("title", "room", "shown"),
    [
        ("tiny-lm (demo)", 14, "tiny-lm (demo)"),
        ("tiny-lm (demo)", 9, "tiny-lm"),
        ("tiny-lm (demo)", 5, "tiny…"),
        ("(demo)", 4, "(de…"),
    ],
)
def test_the_title_of_the_tree_is_cut_at_its_end(title: str, room: int, shown: str) -> None:
    """What is in brackets goes first, then the end; never the middle."""
    assert title_fitted(title, room, UNICODE) == shown


def test_rows_say_what_channels_are() -> None:
    """Weights have outputs and inputs, tables entries and features; the rest has a sentence."""
    entry = TensorEntry(1, "blocks.0.q.weight", "tensor", "model", "f32", (4, 4))
    assert axis_titles(entry)[0] == "rows (output channels)"
    assert axis_titles(replace(entry, name="embed.weight"))[0] == "rows (entries)"
    assert "kernel" in axis_titles(replace(entry, shape=(4, 4, 3, 3)))[1]
    assert no_channels(entry) == ""
    assert "vector" in no_channels(replace(entry, shape=(4,)))
    assert "block" in no_channels(replace(entry, kind="block"))


def test_only_what_changed_is_sent() -> None:
    """The cells of equal spans at both ends are left alone; spaces cost no style of their own."""
    before: Line = (Span("name  "), Span("12", Ink.ACCENT), Span(" end"))
    after: Line = (Span("name  "), Span("34", Ink.ACCENT), Span(" end"))
    assert changed_cells(before, after, 40) == (6, 8)
    assert changed_cells(before, (*after, Span("!")), 40) == (6, 40)
    assert changed_cells((), after, 40) == (0, 40)
    line: Line = (Span("a", Ink.ACCENT), Span("  "), Span("b", Ink.ACCENT), Span(" "), Span("c"))
    assert merged(line) == [Span("a  b ", Ink.ACCENT), Span("c")]
    cut: Line = (Span("█"), Span("│", Ink.BASELINE, Ink.ACCENT), Span(" "))
    assert [span.over for span in merged(cut)] == [None, Ink.ACCENT, None]
