"""A widget that paints lines it was handed: it computes nothing, and repaints only what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from forkmon.draw.cells import line_width
from forkmon.draw.cells import width as width_of
from forkmon.draw.ink import Span
from forkmon.tui.theme import PLAIN, Palette

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkmon.draw.ink import Line

NO_CURSOR = -1


def changed_cells(before: Line, after: Line, width: int) -> tuple[int, int]:
    """Return the cells from the first to after the last that may differ, by whole spans."""
    same = 0
    for old, new in zip(before, after, strict=False):
        if old != new:
            break
        same += 1
    first = min(line_width(after[:same]), max(0, width - 1))
    if line_width(before) != line_width(after):
        return first, width
    rest = 0
    for old, new in zip(reversed(before[same:]), reversed(after[same:]), strict=False):
        if old != new:
            break
        rest += width_of(new.text)
    return first, max(first + 1, min(width, line_width(after) - rest))


def merged(line: Line) -> list[Span]:
    """Return the line's stretches of one style; spaces join what stands before them.

    A change of style costs some forty bytes on the wire, and a space has no colour of its own.
    """
    out: list[Span] = []
    for span in line:
        last = out[-1] if out else None
        if last is None or span.over is not None or last.over is not None:
            out.append(span)
        elif last.ink is span.ink or not span.text.strip(" "):
            out[-1] = Span(last.text + span.text, last.ink)
        elif not last.text.strip(" "):
            out[-1] = Span(last.text + span.text, span.ink)
        else:
            out.append(span)
    return out


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
            before = old[y] if y < len(old) else ()
            after = new[y] if y < len(new) else ()
            if cursor != old_cursor and y in (cursor, old_cursor):
                self.refresh(Region(0, y, width, 1))
            elif before != after:
                first, last = changed_cells(before, after, width)
                self.refresh(Region(first, y, last - first, 1))

    def render_line(self, y: int) -> Strip:
        """Return row `y` in exactly the widget's width."""
        width = self.size.width
        ground = self.visual_style.rich_style  # Textual fills only its own padding
        if not 0 <= y < len(self._lines):
            return Strip.blank(width, ground)
        palette = self._palette
        marked = palette.cursor if y == self._cursor else None
        strip = Strip(
            [
                Segment(span.text, palette.style(span.ink, marked, span.over))
                for span in merged(self._lines[y])
            ]
        )
        if strip.cell_length != width:
            strip = strip.adjust_cell_length(width, marked or palette.base)
        return strip.apply_style(ground)
