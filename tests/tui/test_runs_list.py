"""The list of runs: what each line says, the order, and which run is opened."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from forkmon.draw.glyphs import UNICODE
from forkmon.draw.ink import plain
from forkmon.errors import StoreError
from forkmon.stats.alert import Alert, Severity
from forkmon.store.reader import Reader
from forkmon.store.values import StoredVerdict
from forkmon.tui.run_rows import RunRow, in_order, row_line, summary
from forkmon.tui.runs_app import RunsApp, RunsLaunch
from forkmon.tui.widgets.line_view import LineView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Maker

NOW = 1_790_000_000.0


def test_a_line_says_how_a_run_is(make_store: Callable[..., Maker]) -> None:
    """Newest step, age, verdict and the worst alert, all from the store alone."""
    maker = make_store(steps=(0, 1, 2))
    maker.writer.replace_alerts([Alert("REGIME", Severity.WARN, "embed.weight", 1, 2, "std +52 %")])
    maker.writer.set_verdict(StoredVerdict("healthy", ("1 REGIME alert",)))
    row = summary(maker.run, "tiny-lm", partial(Reader.open, maker.path))
    assert (row.step, row.checkpoints, row.worst, row.state) == (2, 3, Severity.WARN, "healthy")
    (said,) = plain([row_line(row, NOW, 160, UNICODE)])
    assert "▲ tiny-lm" in said
    assert "REGIME embed.weight at 1: std +52 %" in said
    assert len(said) == 160


def test_a_run_without_a_store_is_still_listed(tmp_path: Path) -> None:
    """A store that is not there is no error of the list."""

    def missing() -> Reader:
        raise StoreError("no store")

    row = summary(tmp_path, "new", missing)
    assert row.words == "not analysed yet"
    assert "not analysed yet" in plain([row_line(row, NOW, 80, UNICODE)])[0]


def test_names_of_runs_are_hostile(tmp_path: Path) -> None:
    """Nothing of a directory's name reaches the terminal as a command."""
    row = RunRow(tmp_path, "a\x1b[2Jb", words="\x07")
    assert "\x1b" not in plain([row_line(row, NOW, 80, UNICODE)])[0]


def test_orders_of_runs(tmp_path: Path) -> None:
    """By the worst alert and then by age, by age alone, or by name."""
    old = RunRow(tmp_path / "a", "a", mtime=1.0, worst=Severity.ERROR)
    new = RunRow(tmp_path / "b", "b", mtime=9.0)
    none = RunRow(tmp_path / "c", "c")
    rows = [none, new, old]
    assert in_order(rows, "worst") == [old, new, none]
    assert in_order(rows, "newest") == [new, old, none]
    assert in_order(rows, "name") == [old, new, none]


async def test_enter_opens_the_run_under_the_cursor(
    make_store: Callable[..., Maker], until: Callable[..., Awaitable[None]]
) -> None:
    """The list is read in a thread; moving and enter answer with the run's path."""
    makers = [make_store(steps=(0, 1)), make_store(steps=(0, 1, 2))]

    def load() -> list[RunRow]:
        return [summary(m.run, m.run.name, partial(Reader.open, m.path)) for m in makers]

    app = RunsApp(RunsLaunch(makers[0].run.parent, load, now=lambda: NOW))
    async with app.run_test(size=(120, 20)) as pilot:

        def shown() -> str:
            return "\n".join(plain(app.query_one("#runs", LineView).lines))

        await until(pilot, lambda: makers[1].run.name in shown(), "the runs")
        await pilot.press("s", "s", "home", "down", "enter")
    assert app.return_value == makers[1].run


async def test_the_list_of_nothing(tmp_path: Path) -> None:
    """A directory without runs says so, and q leaves."""
    app = RunsApp(RunsLaunch(tmp_path, list))
    async with app.run_test(size=(60, 15)) as pilot:
        await pilot.press("down", "enter", "s")
        assert "0 runs" in plain(app.query_one("#header", LineView).lines)[0]
        await pilot.press("q")
    assert app.return_value is None
