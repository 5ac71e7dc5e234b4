"""The horizontal axis below a drawing: its rule with ticks, and the labels under them."""

from __future__ import annotations

from collections.abc import Sequence

from forkmon.draw.canvas import Canvas
from forkmon.draw.glyphs import Glyphs
from forkmon.draw.ink import Ink


def draw_rule(
    canvas: Canvas, x: int, y: int, ticks: Sequence[int], columns: int, glyphs: Glyphs
) -> None:
    """Draw the rule from the corner at `x - 1`, with a tick at each column of `ticks`."""
    canvas.put(x - 1, y, glyphs.corner + glyphs.rule * columns, Ink.AXIS)
    for column in ticks:
        canvas.put(x + column, y, glyphs.x_tick, Ink.AXIS)


def draw_labels(canvas: Canvas, y: int, columns: Sequence[int], labels: Sequence[str]) -> None:
    """Write each label centred below its column, those near the middle first; drop collisions."""
    middle = canvas.width / 2
    for column, label in sorted(
        zip(columns, labels, strict=True), key=lambda item: abs(item[0] - middle)
    ):
        x = max(0, min(canvas.width - len(label), column - (len(label) - 1) // 2))
        before = 1 if x > 0 else 0
        after = 1 if x + len(label) < canvas.width else 0
        if canvas.free(x - before, y, len(label) + before + after):
            canvas.put(x, y, label, Ink.MUTED)
