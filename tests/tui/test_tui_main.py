"""The app over a real store: what the screen shows, and what keys and news change."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from textual.app import App
from textual.pilot import Pilot

from forkmon import wire
from forkmon.stats.alert import Alert, Severity
from forkmon.tui.app import ForkmonApp, Launch
from forkmon.tui.screens.sheet import Sheet
from forkmon.tui.widgets.line_view import LineView

if TYPE_CHECKING:
    from conftest import Maker

MakeStore = Callable[..., "Maker"]
LaunchOf = Callable[..., Launch]
Until = Callable[..., Awaitable[None]]
ScreenText = Callable[[App[int]], str]

EVIL = (
    "a\x1b]0;owned\x07\x1b[2J.weight",
    "[@click=app.quit]x[/].weight",
    "[/x].weight",
    "b\u202e\u2066gnp.exe.weight",
)


def line(app: ForkmonApp, view: str, at: int = 0) -> str:
    """Return one line of a pane as text."""
    lines = app.main.query_one(f"#{view}", LineView).lines
    return "".join(span.text for span in lines[at]) if at < len(lines) else ""


def panel(app: ForkmonApp) -> str:
    """Return the drawing of the panel as text."""
    lines = app.main.query_one("#panel", LineView).lines
    return "\n".join("".join(span.text for span in line) for line in lines)


async def ready(app: ForkmonApp, pilot: Pilot[int], until: Until) -> None:
    """Wait until the store is on the screen."""
    await until(pilot, lambda: bool(app.main.desk.scene.timeline), "the first scene")
    await pilot.pause()


async def test_the_first_screen_answers_at_one_glance(
    make_store: MakeStore, launch_of: LaunchOf, until: Until, screen_text: ScreenText
) -> None:
    """Run, health, step, age, worker on top; layers left; histogram right; alerts below."""
    maker = make_store()
    maker.writer.replace_alerts(
        [Alert("NONFINITE", Severity.ERROR, "blocks.1.mlp.in.weight", 8, 16, "3 NaN")]
    )
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        text = screen_text(app)
        assert "tiny-lm   1 error   step 16 · 6 checkpoints · newest 55 m ago" in text
        assert "viewer" in text.splitlines()[0]
        assert "▸ 0 " in text
        assert "▸ 1 " in text
        assert re.search(r"▸ 1 +✖", text)
        assert "density   █ step 16   ─ step 0" in text
        assert "NONFINITE" in text
        assert "█" in panel(app)


async def test_the_cursor_moves_the_panel(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Each row moved to is the panel's subject; opening a block shows what is in it."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        assert line(app, "head", 1).startswith(" tiny-lm   whole model")
        before = panel(app)
        await pilot.press("down", "j", "right", "l", "down")
        assert line(app, "head", 1).startswith(" blocks.0.attn.out.weight   f32 [20 × 20]")
        assert panel(app) != before
        await pilot.press("left", "left", "left")
        assert app.main.desk.view.path == "blocks"
        await pilot.press("end")
        assert app.main.desk.view.path == "blocks.1"
        await pilot.press("home")
        assert app.main.desk.view.path == ""


async def test_scrubbing_leaves_and_resumes_following(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Comma and full stop step through checkpoints; the newest is followed again after `>`."""
    maker = make_store()
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("comma", "comma")
        assert "step 4 of 0…16" in line(app, "head", 1)
        maker.add(32)
        await until(pilot, lambda: len(app.main.desk.scene.timeline) == 7, "step 32 stored")
        assert "step 4 of 0…32" in line(app, "head", 1)
        await pilot.press("less_than_sign")
        assert "step 0 of 0…32" in line(app, "head", 1)
        await pilot.press("greater_than_sign")
        assert line(app, "head", 1).rstrip().endswith("step 32")
        assert app.main.desk.view.follow


async def test_a_landing_checkpoint_moves_everything_without_a_key(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Header, tree, histogram, curves and alerts show the new step by themselves."""
    maker = make_store()
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("3")
        await until(pilot, lambda: "skewness" in panel(app), "the curves")
        before = panel(app), line(app, "tree", 1)
        maker.add(2048)
        maker.writer.replace_alerts(
            [Alert("SPLIT", Severity.WARN, "blocks.0.ln_1.weight", 2048, 2048, "")]
        )
        await until(pilot, lambda: "2,048" in line(app, "header"), "the new step")
        await until(pilot, lambda: "SPLIT" in line(app, "alerts", 1), "the alert")
        await until(pilot, lambda: panel(app) != before[0], "new curves")
        assert line(app, "tree", 1) != before[1]
        assert "(1 new)" in line(app, "alerts")
        await pilot.press("1")
        assert "step 2,048" in panel(app)


async def test_the_filter_reaches_closed_blocks_and_esc_clears_it(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Typing filters at once; enter keeps the filter; escape brings the tree back."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        rows = len(app.main.desk.rows)
        await pilot.press("slash", *"mlp.out")
        assert "2 of 14" in line(app, "tree")
        assert [r for r in app.main.desk.rows if r.opened is None]
        await pilot.press("enter", "down")
        assert app.main.desk.view.filter == "mlp.out"
        await pilot.press("escape")
        assert app.main.desk.view.filter == ""
        assert len(app.main.desk.rows) == rows
        await pilot.press("slash", "(")
        assert "taken literally" in line(app, "filter")
        await pilot.press("escape")


async def test_keys_are_text_while_the_filter_is_typed(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """`q` in a filter is a letter; the app goes on."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("slash", "q", "question_mark", "backspace")
        assert app.main.desk.view.filter == "q"
        assert "of 14" in line(app, "tree")


async def test_sorting_ranks_all_tensors(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """By value the largest comes first; reversed the smallest; then by name again."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("s")
        desk = app.main.desk
        shown = [desk.scene.tree.nodes[row.node].entry for row in desk.rows]
        column = desk.source.column(desk.view.current or 0, "std") if desk.source else {}
        values = [column[entry] or 0.0 for entry in shown if entry is not None]
        assert len(values) == 14
        assert values == sorted(values, reverse=True)
        await pilot.press("S")
        assert desk.rows[-1].node == next(
            i for i, n in enumerate(desk.scene.tree.nodes) if n.entry == shown[0]
        )
        await pilot.press("s", "s", "s", "S")
        assert desk.view.sort == "name"


async def test_alerts_are_walked_and_explained(
    make_store: MakeStore, launch_of: LaunchOf, until: Until, screen_text: ScreenText
) -> None:
    """`n` puts the cursor on the alert's tensor, also inside a closed block; `e` shows evidence."""
    maker = make_store()
    maker.writer.replace_alerts(
        [
            Alert(
                "REGIME", Severity.WARN, "blocks.1.ln_1.weight", 4, 8, "std +52 %", {"cusum": 21.4}
            ),
            Alert("NONFINITE", Severity.ERROR, "blocks.0.mlp.in.weight", 8, 8, "3 NaN"),
        ]
    )
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("n")
        assert app.main.desk.view.path == "blocks.0.mlp.in.weight"
        await pilot.press("n")
        assert app.main.desk.view.path == "blocks.1.ln_1.weight"
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, Sheet), "the sheet")
        await pilot.pause()
        assert re.search(r"cusum +21.4", screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.main, "the main screen")
        await pilot.press("tab", "tab", "enter")
        assert "step 8 of 0…16" in line(app, "head", 1)
        await pilot.press("exclamation_mark")
        assert "! 2 of 14" in line(app, "tree")


async def test_the_statistic_is_chosen_from_a_list(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """`v`, down, enter: the tree shows the mean."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, Sheet), "the list")
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.main.desk.view.statistic == "mean", "the choice")
        assert "mean" in line(app, "tree")


async def test_baseline_moves_the_comparison(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """`b` compares with the shown step; again at the same step, with the first one."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("comma", "comma", "b", "greater_than_sign")
        assert "─ step 4" in panel(app)
        await pilot.press("comma", "comma", "b", "greater_than_sign")
        assert "─ step 0" in panel(app)


@pytest.mark.parametrize(("key", "word"), [("question_mark", "Where"), ("o", "provenance")])
async def test_sheets_open_and_close(
    make_store: MakeStore,
    launch_of: LaunchOf,
    until: Until,
    screen_text: ScreenText,
    key: str,
    word: str,
) -> None:
    """Help and provenance lie over the screen until escape."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot, until)
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, Sheet), "the sheet")
        await until(pilot, lambda: word in screen_text(app), word)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.main, "the main screen")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (60, 15)])
async def test_every_size_shows_tree_panel_and_status(
    make_store: MakeStore,
    launch_of: LaunchOf,
    until: Until,
    screen_text: ScreenText,
    size: tuple[int, int],
) -> None:
    """From 60x15 up nothing is cut off: each line fits, the keys are at the bottom."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=size) as pilot:
        await ready(app, pilot, until)
        for key in ("1", "3"):
            await pilot.press(key)
            await pilot.pause()
            lines = screen_text(app).splitlines()
            assert len(lines) == size[1]
            assert "forkmon" in lines[0]
            assert "▸ 0" in "\n".join(lines)
            assert "quit" in lines[-1]


async def test_a_resize_divides_the_screen_again(
    make_store: MakeStore, launch_of: LaunchOf, until: Until, screen_text: ScreenText
) -> None:
    """Down to the notice for small terminals and back, any number of times."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        for size in ((80, 24), (59, 14), (1, 1), (200, 60), (30, 50), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            if size in ((59, 14), (30, 50)):
                assert "too small" in screen_text(app)
            elif size != (1, 1):
                assert "forkmon" in screen_text(app).splitlines()[0]


async def test_hostile_names_are_shown_not_obeyed(
    make_store: MakeStore, launch_of: LaunchOf, until: Until, screen_text: ScreenText
) -> None:
    """Escape sequences, markup and bidi overrides in names and messages are plain text."""
    maker = make_store(steps=(0, 1), names=EVIL)
    maker.writer.replace_alerts(
        [Alert("X\x1b[31m", Severity.WARN, EVIL[1], 1, 1, "[@click=app.quit]y[/]\x1b[2J")]
    )
    maker.writer.set_ignored([("/run/\x1b[5m[/x]", "\x1b]0;no\x07")])
    app = ForkmonApp(launch_of(maker, title="\x1b[31mrun[/x]"))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        for key in ("down", "down", "down", "down", "3", "1", "n"):
            await pilot.press(key)
        text = screen_text(app)
        assert "[@click=app.quit]x[/]" in text
        assert "[/x]" in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert r"\u{1b}" in text
        for key in ("e", "o"):
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, Sheet), "the sheet")
            await pilot.pause()
            assert "\x1b" not in screen_text(app)
            await pilot.press("escape")
            await until(pilot, lambda: app.screen is app.main, "the main screen")
        assert app.is_running


async def test_ascii_mode_writes_ascii_only(
    make_store: MakeStore, launch_of: LaunchOf, until: Until, screen_text: ScreenText
) -> None:
    """With `--ascii` no pane holds another character."""
    app = ForkmonApp(launch_of(make_store(), ascii=True))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        for keys in (("1",), ("3",), ("comma",), ("slash", "a"), ("enter", "question_mark")):
            await pilot.press(*keys)
            await pilot.pause()
            strange = {char for char in screen_text(app) if ord(char) > 126}
            assert not strange


@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_every_cell_has_the_background_of_the_theme(
    make_store: MakeStore, launch_of: LaunchOf, until: Until, theme: str
) -> None:
    """A light theme is readable on a dark terminal: no cell keeps the terminal's background."""
    app = ForkmonApp(launch_of(make_store(), theme=theme))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                assert segment.style is not None
                assert segment.style.bgcolor is not None
                assert not segment.style.bgcolor.is_default


async def test_no_color_uses_no_colour(
    make_store: MakeStore, launch_of: LaunchOf, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under NO_COLOR every cell has the terminal's own colours; bold and reverse remain."""
    monkeypatch.setenv("NO_COLOR", "1")
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        styles = [
            segment.style
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.style is not None
        ]
        for style in styles:
            for color in (style.color, style.bgcolor):
                assert color is None or color.is_default
        assert any(style.reverse for style in styles)


async def test_the_empty_run_says_what_is_looked_for(
    make_store: MakeStore, launch_of: LaunchOf, until: Until, screen_text: ScreenText
) -> None:
    """Before the first checkpoint: what forkmon looks for, what it found, the next key."""
    maker = make_store(steps=())
    maker.writer.set_ignored([("/run/model.bin", "a torch zip, not read by this version")])
    worker = (sys.executable, "-c", "import sys; sys.stdin.read()")
    app = ForkmonApp(launch_of(maker, worker=worker))
    async with app.run_test(size=(100, 30)) as pilot:
        app.main.watched(polled=wire.Polled(0, 0, 1, "empty: no checkpoint yet"))
        await until(pilot, lambda: "model.bin" in screen_text(app), "what was found")
        text = screen_text(app)
        assert "checkpoint-N/" in text
        assert "a torch zip" in text
        assert "r look again" in text


async def test_no_store_yet_is_waited_for(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """A viewer opened before its store exists shows it once it is there."""
    maker = make_store(steps=(0,))
    launch = launch_of(maker)
    there = [False]

    def open_source() -> object:
        if not there[0]:
            from forkmon.errors import StoreError

            raise StoreError("store x: no such file")
        return launch.open_source()

    app = ForkmonApp(replace(launch, open_source=open_source))  # type: ignore[arg-type]
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "no such file" in line(app, "waiting", 4), "the reason")
        there[0] = True
        await ready(app, pilot, until)


async def test_a_flood_of_news_redraws_seldom(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Ten thousand notices are a handful of looks at the store, and keys still answer."""
    maker = make_store()
    looks = [0]
    launch = launch_of(maker)

    def open_source() -> object:
        looks[0] += 1
        return launch.open_source()

    app = ForkmonApp(replace(launch, open_source=open_source))  # type: ignore[arg-type]
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        before = looks[0]
        for step in range(10_000):
            app._worker_said(wire.Stored(step))
        await pilot.press("down")
        assert app.main.desk.view.path == "blocks"
        await until(pilot, lambda: looks[0] > before, "a look")
        assert looks[0] - before <= 3


async def test_every_action_runs_at_every_moment(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """No key crashes, with a run on the screen or without one."""
    from forkmon.tui.actions import ACTIONS

    skipped = {"leave", "interrupt", "suspend", "palette", "screenshot"}
    for steps in ((), (0, 1, 2)):
        app = ForkmonApp(launch_of(make_store(steps=steps)))
        async with app.run_test(size=(120, 40)) as pilot:
            if steps:
                await ready(app, pilot, until)
            for action in ACTIONS:
                if action.id not in skipped:
                    await pilot.press(action.keys.split(",")[0])
                    if app.screen is not app.main or app.main.works.typing.editor is not None:
                        await pilot.press("escape")
            assert app.is_running


async def test_the_keymap_rebinds_by_action_id(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """A user's key replaces the default one; an unknown action is a complaint, not a crash."""
    app = ForkmonApp(launch_of(make_store(), keymap={"step-back": "w", "dance": "x"}))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("comma")
        before = app.main.desk.view
        await pilot.press("w")
        after = app.main.desk.view
        assert (before.follow, after.follow) == (True, False)
        assert "dance" in app.complaints[0]


async def test_the_screenshot_is_never_written_into_the_run(
    make_store: MakeStore,
    launch_of: LaunchOf,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Inside the watched directory the picture goes to the state directory instead."""
    maker = make_store()
    maker.run.mkdir()
    monkeypatch.chdir(maker.run)
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("ctrl+s")
        assert "saved" in line(app, "status")
        assert not list(maker.run.iterdir())
        elsewhere = tmp_path_factory.mktemp("cwd")
        monkeypatch.chdir(elsewhere)
        await pilot.press("ctrl+s")
        (svg,) = elsewhere.glob("*.svg")
        assert "tiny-lm" in svg.read_text("utf-8")
