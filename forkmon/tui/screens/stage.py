"""The main screen as a stage: its panes, the first frame, and what is painted after it.

The first frame needs next to nothing; everything else is imported once it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from forkmon.draw.ink import Ink, Span
from forkmon.errors import StoreError
from forkmon.text import safe
from forkmon.tui.widgets.clickable import AlertsPane, LayerTree
from forkmon.tui.widgets.line_view import LineView

if TYPE_CHECKING:
    from textual import events
    from textual.app import App, ComposeResult
    from textual.timer import Timer

    from forkmon.draw.glyphs import Glyphs
    from forkmon.tui.desk import Desk
    from forkmon.tui.feed import Feed
    from forkmon.tui.frame import Frame
    from forkmon.tui.launch import Launch
    from forkmon.tui.screens.keeper import Keeper
    from forkmon.tui.screens.works import Works
    from forkmon.tui.supervisor import Supervisor
    from forkmon.tui.theme import Palette
    from forkmon.tui.watching import Watch

FLASH_SECONDS = 6.0
"""How long the answer to a key stands in the bottom line."""


class Stage(Screen[None], inherit_bindings=False):
    """Lays out the panes and paints them."""

    def __init__(self, launch: Launch, glyphs: Glyphs, palette: Palette, host: App[int]) -> None:
        super().__init__()
        self.host = host
        self.palette = palette
        self.supervisor: Supervisor | None = None
        self._launch = launch
        self._glyphs = glyphs
        self._works: Works | None = None
        self._frame: Frame | None = None
        self._flash = ""
        self._flash_timer: Timer | None = None
        self._curves_due = False

    @property
    def works(self) -> Works:
        """Return what the first frame does without; it is made when it is first asked for."""
        if self._works is None:
            self._works = self._equipped()
        return self._works

    def _equipped(self) -> Works:
        raise NotImplementedError

    @property
    def desk(self) -> Desk:
        """Return what lies before the person."""
        return self.works.desk

    @property
    def feed(self) -> Feed:
        """Return what brings the store to the screen."""
        return self.works.feed

    @property
    def keeper(self) -> Keeper:
        """Return what keeps the person's marks and view."""
        return self.works.keeper

    @property
    def watching(self) -> Watch:
        """Return what the worker said so far."""
        return self.works.watching

    def compose(self) -> ComposeResult:
        """Lay the panes out; what is in them comes from `repaint`."""
        yield LineView(id="header")
        with Horizontal(id="body"):
            yield LayerTree(id="tree")
            yield LineView(id="rule")
            with Vertical(id="right"):
                yield LineView(id="head")
                yield LineView(id="panel")
                yield LineView(id="details")
        yield LineView(id="waiting")
        yield LineView(id="too-small")
        yield AlertsPane(id="alerts")
        yield LineView(id="filter")
        yield LineView(id="status")

    def dye(self, palette: Palette) -> None:
        """Paint with other colours from now on."""
        self.palette = palette
        for view in self.query(LineView):
            view.dye(palette)

    def on_resize(self, _event: events.Resize) -> None:
        """Divide the screen again."""
        self.repaint()

    def repaint(self) -> None:
        """Paint what lies on the desk; only what differs from the screen is sent."""
        if not self.is_mounted:
            return
        if self._works is None:
            self._paint_first()
            return
        from forkmon.tui.screens.painter import Picture

        works = self._works
        picture = Picture(
            watch=self.watching,
            run=str(self._launch.run),
            stderr=tuple(self.supervisor.stderr) if self.supervisor is not None else (),
            editor=works.typing.editor,
            flash=self._flash,
            now=self._launch.now(),
        )
        width, height = self.host.size
        try:
            self._frame = works.painter.paint(self.desk, picture, width, height)
        except StoreError as error:
            self.feed.lost(str(error))
            return
        self.feed.fetch(self.desk.shelf.missed())
        if self._frame is not None and self.desk.view.panel == "curves" and not self._curves_due:
            self._curves_due = True
            self.call_after_refresh(self._paint_curves)

    def _paint_first(self) -> None:
        """Paint a frame that says whose it is; the run follows as soon as this stands."""
        title = Span(f"  {safe(self._launch.name)}", Ink.TITLE)
        self.query_one("#header", LineView).show([(Span(" forkmon", Ink.TITLE), title)])

    def _paint_curves(self) -> None:
        self._curves_due = False
        if self._frame is None or self.desk.view.panel != "curves":
            return
        try:
            self.works.painter.paint_curves(self.desk, self._frame)
        except StoreError as error:
            self.feed.lost(str(error))
            return
        missed = self.desk.shelf.missed()
        if missed:
            self.feed.fetch(missed)

    def flash(self, text: str) -> None:
        """Answer a key in the bottom line for a while."""
        self._flash = text
        if self._flash_timer is not None:
            self._flash_timer.stop()
        self._flash_timer = self.set_timer(FLASH_SECONDS, self._unflash) if text else None

    def _unflash(self) -> None:
        self._flash = ""
        self.repaint()

    def say(self, text: str) -> None:
        """Answer a key in the bottom line, and paint."""
        self.flash(text)
        self.repaint()

    def fetch_missed(self) -> None:
        """Read in a thread what a sheet could not show yet."""
        missed = self.desk.shelf.missed()
        if missed:
            self.feed.fetch(missed)
