"""A grid of characters with inks: drawings put characters on it and read lines from it."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

from forkmon.draw.cells import char_width
from forkmon.draw.ink import Ink, Line, Span

_INK = itemgetter(1, 2)

_Cell = tuple[str, Ink, Ink | None]


class Canvas:
    """A grid of `width` x `height` cells; what is put outside it is dropped."""

    def __init__(self, width: int, height: int) -> None:
        self.width = max(0, width)
        self.height = max(0, height)
        empty: _Cell = (" ", Ink.TEXT, None)
        self._rows: list[list[_Cell]] = [[empty] * self.width for _ in range(self.height)]

    def put(self, x: int, y: int, text: str, ink: Ink, over: Ink | None = None) -> None:
        """Write single-width `text` from column `x` of row `y` (0 is the top) to the right.

        `over` is the ink of what the text is drawn upon.
        """
        if not 0 <= y < self.height:
            return
        row = self._rows[y]
        for column, char in enumerate(text, x):
            if 0 <= column < self.width:
                row[column] = (char if char_width(char) == 1 else "?", ink, over)

    def column(self, x: int, bottom: int, text: str, ink: Ink) -> None:
        """Write `text` from row `bottom` of column `x` upwards; spaces leave what is there."""
        if not 0 <= x < self.width:
            return
        for above, char in enumerate(text):
            if char != " " and 0 <= bottom - above < self.height:
                self._rows[bottom - above][x] = (char, ink, None)

    def free(self, x: int, y: int, cells: int) -> bool:
        """Return whether `cells` cells from (x, y) are inside and hold nothing."""
        if x < 0 or x + cells > self.width or not 0 <= y < self.height:
            return False
        return all(char == " " for char, *_ in self._rows[y][x : x + cells])

    def lines(self) -> list[Line]:
        """Return the grid as lines, one span for each run of one ink."""
        return [
            tuple(
                Span("".join(char for char, *_ in run), ink, over)
                for (ink, over), run in groupby(row, key=_INK)
            )
            for row in self._rows
        ]
