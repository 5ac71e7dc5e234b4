"""A widget that paints lines it was handed: it computes nothing, and repaints only what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from forkmon.tui.theme import PLAIN, Palette

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkmon.draw.ink import Line

NO_CURSOR = -1


class LineView(Widget):
    """Shows lines of spans; text reaches the terminal as segments, never as markup."""

    DEFAULT_CSS = """
    LineView { height: 1; width: 1fr; }
    """
    ALLOW_SELECT = False

    def __init__(self, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.auto_links = False
        self._lines: tuple[Line, ...] = ()
        self._cursor = NO_CURSOR
        self._palette: Palette = PLAIN

    @property
    def lines(self) -> tuple[Line, ...]:
        """Return what is shown."""
        return self._lines

    def dye(self, palette: Palette) -> None:
        """Paint with other colours from now on."""
        if palette != self._palette:
            self._palette = palette
            self.refresh()

    def show(self, lines: Iterable[Line], cursor: int = NO_CURSOR) -> None:
        """Show these lines, the one at `cursor` marked; only rows that changed are repainted."""
        old, old_cursor = self._lines, self._cursor
        new = tuple(lines)
        if new == old and cursor == old_cursor:
            return
        self._lines, self._cursor = new, cursor
        width = self.size.width
        for y in range(max(len(old), len(new))):
            same = y < len(old) and y < len(new) and old[y] == new[y]
            if not same or (cursor != old_cursor and y in (cursor, old_cursor)):
                self.refresh(Region(0, y, width, 1))

    def render_line(self, y: int) -> Strip:
        """Return row `y` in exactly the widget's width."""
        width = self.size.width
        ground = self.visual_style.rich_style  # Textual fills only its own padding
        if not 0 <= y < len(self._lines):
            return Strip.blank(width, ground)
        palette = self._palette
        marked = palette.cursor if y == self._cursor else None
        strip = Strip(
            [Segment(span.text, palette.style(span.ink, marked)) for span in self._lines[y]]
        )
        if strip.cell_length != width:
            strip = strip.adjust_cell_length(width, marked or palette.base)
        return strip.apply_style(ground)
