"""The list of runs in a directory: which is how far, how old and how well; enter opens one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from textual.app import App
from textual.binding import Binding
from textual.message import Message

from forkmon.draw.glyphs import choose as glyphs_of
from forkmon.draw.ink import Ink, Line, Span
from forkmon.errors import Exit
from forkmon.text import safe
from forkmon.tui import run_rows, theme
from forkmon.tui.model import cycled
from forkmon.tui.run_rows import ORDERS, RunRow
from forkmon.tui.terminal import Terminal, driver_class
from forkmon.tui.widgets.line_view import LineView
from forkmon.tui.widgets.words import ends

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult

REFRESH_SECONDS = 5.0
"""How often the stores are looked at again."""

HINTS = " enter opens   s sort   r look again   q quit"


@dataclass(frozen=True, slots=True)
class RunsLaunch:
    """One start of the list."""

    directory: Path
    load: Callable[[], Sequence[RunRow]]
    """Reads the rows; called in a thread, see `run_rows.summary`."""
    theme: str = "dark"
    ascii: bool = False
    no_color: bool = False
    mouse: bool = False
    now: Callable[[], float] = time.time
    chosen: Path | None = None
    """The run under the cursor at first: the one that was left."""


class RowsRead(Message):
    """The stores were read."""

    def __init__(self, rows: Sequence[RunRow]) -> None:
        super().__init__()
        self.rows = rows


class RunsApp(App[Path]):
    """A list of runs; returns the one to open, or None."""

    CSS = "#runs { height: 1fr; } Screen { layout: vertical; background: $background; }"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "move(-10)", show=False),
        Binding("pagedown", "move(10)", show=False),
        Binding("home,less_than_sign", "move(-100000)", show=False),
        Binding("end,greater_than_sign", "move(100000)", show=False),
        Binding("enter,space", "open", show=False),
        Binding("s", "sort", show=False),
        Binding("r", "reload", show=False),
        Binding("q,ctrl+q,escape", "leave(0)", show=False),
        Binding("ctrl+c", "leave(130)", show=False),
    ]

    def __init__(self, launch: RunsLaunch, terminal: Terminal | None = None) -> None:
        look = theme.find(
            theme.MONO if launch.no_color or "NO_COLOR" in os.environ else launch.theme
        )
        driver = None if terminal is None else driver_class(terminal)
        super().__init__(driver_class=driver, ansi_color=look.ansi)
        self.animation_level = "none"
        self.title = "forkmon runs"
        self.register_theme(look.textual())
        self.theme = f"forkmon-{look.name}"
        self._palette = look.palette()
        self._glyphs = glyphs_of(launch.ascii)
        self._launch = launch
        self._terminal = terminal
        self._rows: list[RunRow] = []
        self._at = launch.chosen
        self._order = ORDERS[0]
        self._reading = False
        self._top = 0

    def compose(self) -> ComposeResult:
        """Lay out a title, the list, and the keys."""
        yield LineView(id="header")
        yield LineView(id="heading")
        yield LineView(id="runs")
        yield LineView(id="status")

    def on_mount(self) -> None:
        """Paint an empty list first, read the stores second."""
        if self._terminal is not None:
            self._terminal.attach(asyncio.get_running_loop())
        for view in self.query(LineView):
            view.dye(self._palette)
        self.set_interval(REFRESH_SECONDS, self.action_reload)
        self.call_after_refresh(self.action_reload)
        self._paint()

    def on_unmount(self) -> None:
        """Give the terminal back."""
        if self._terminal is not None:
            self._terminal.detach()

    def on_resize(self) -> None:
        """Paint for the new size."""
        self._paint()

    def on_rows_read(self, message: RowsRead) -> None:
        """Take the rows; the cursor stays on its run."""
        self._reading = False
        self._rows = run_rows.in_order(message.rows, self._order)
        if self._at is None and self._rows:
            self._at = self._rows[0].path
        self._paint()

    def action_reload(self) -> None:
        """Read the stores, in a thread."""
        if not self._reading:
            self._reading = True
            Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        rows = tuple(self._launch.load())
        with contextlib.suppress(RuntimeError):  # the person left meanwhile
            self.post_message(RowsRead(rows))

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        if self._rows:
            at = max(0, min(len(self._rows) - 1, self._index() + by))
            self._at = self._rows[at].path
            self._paint()

    def action_sort(self) -> None:
        """Change the order."""
        self._order = cycled(ORDERS, self._order)
        self._rows = run_rows.in_order(self._rows, self._order)
        self._paint()

    def action_open(self) -> None:
        """Open the run under the cursor."""
        if self._rows:
            self.exit(self._rows[self._index()].path)

    def action_leave(self, code: int) -> None:
        """Leave without opening one."""
        self.exit(None, return_code=code)

    def _index(self) -> int:
        return next((i for i, row in enumerate(self._rows) if row.path == self._at), 0)

    def _paint(self) -> None:
        width, height = self.size
        if not self.is_running or not self.query("#runs"):
            return
        glyphs, now = self._glyphs, self._launch.now()
        room = max(1, height - 3)
        at = self._index()
        self._top = max(0, min(max(self._top, at - room + 1), at, max(0, len(self._rows) - room)))
        shown = self._rows[self._top : self._top + room]
        lines = [run_rows.row_line(row, now, width, glyphs) for row in shown]
        if not lines:
            said = "   reading the stores" if self._reading else "   no run is here"
            lines = [(Span(said, Ink.MUTED),)]
        self._view("header").show([self._title(width)])
        self._view("heading").show([run_rows.heading(width, glyphs)])
        self._view("runs").show(lines, at - self._top if shown else -1)
        order = Span(f"by {self._order} ", Ink.MUTED)
        self._view("status").show([ends((Span(HINTS, Ink.MUTED),), (order,), width, glyphs)])

    def _title(self, width: int) -> Line:
        many = f"{len(self._rows):,} runs" if len(self._rows) != 1 else "1 run"
        left = (
            Span(" forkmon", Ink.TITLE),
            Span(f"  {safe(self._launch.directory, 200)}", Ink.TITLE),
        )
        return ends(left, (Span(f"{many} ", Ink.MUTED),), width, self._glyphs)

    def _view(self, name: str) -> LineView:
        return self.query_one(f"#{name}", LineView)


def choose(launch: RunsLaunch) -> tuple[int, Path | None]:
    """Show the list on this terminal; return the exit code, and the run to open if one was."""
    for name in ("COLUMNS", "LINES"):  # where they are set the screen would not follow a resize
        os.environ.pop(name, None)
    held: list[RunsApp] = []

    def stop(code: int) -> None:
        held[0].exit(None, return_code=code)

    terminal = Terminal(stop, lambda: None)
    app = RunsApp(launch, terminal)
    held.append(app)
    try:
        chosen = app.run(mouse=launch.mouse)
    finally:
        terminal.restore()
    code = app.return_code or Exit.OK
    if terminal.gone:
        os._exit(code)  # the interpreter would fail to flush into a dead terminal
    return code, chosen
