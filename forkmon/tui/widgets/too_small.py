"""What a terminal too small for anything else shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.draw.cells import pad
from forkmon.draw.ink import Ink, Line, Span
from forkmon.tui.layout import SMALLEST

if TYPE_CHECKING:
    from forkmon.draw.glyphs import Glyphs


def too_small_lines(width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """Return the notice, in the middle: the size there is, the size it takes, the way out."""
    times = glyphs.times
    said = [
        f"{width}{times}{height} is too small",
        f"forkmon needs {SMALLEST[0]}{times}{SMALLEST[1]}",
        "enlarge the window, or q quits",
    ]
    said = said[: max(0, height)]
    above = max(0, (height - len(said)) // 2)
    lines: list[Line] = [()] * above
    for index, text in enumerate(said):
        lines.append((Span(pad(text, width, "center", glyphs), Ink.MUTED if index else Ink.WARN),))
    return lines
