"""Panel 4: the channels of a matrix, rows and columns apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.draw.cells import blank
from forkmon.draw.channels import axis_lines, legend
from forkmon.draw.ink import Span
from forkmon.tui.widgets.panel_histogram import nothing

if TYPE_CHECKING:
    from forkmon.draw.ink import Line
    from forkmon.store.values import TensorEntry
    from forkmon.tui.fetching import ChannelHistory
    from forkmon.tui.widgets.words import Box

SIDE_BY_SIDE = 120
"""From this many columns on, the two axes stand beside each other."""

LEGEND_FROM = 18
"""Rows from which on there is room for a line that explains the drawing."""

TABLES = frozenset({"embed", "embedding", "embeddings", "wte", "wpe", "pos", "embed_tokens"})
"""What a matrix of one row an entry is called."""


def no_channels(entry: TensorEntry) -> str:
    """Return why a row can have no channels, in a sentence; empty for a matrix."""
    if entry.kind == "block":
        return "channels belong to one matrix: choose a tensor of this block"
    if sum(size > 1 for size in entry.shape) < 2:
        return "a vector has no channels: choose a matrix"
    return ""


def axis_titles(entry: TensorEntry) -> tuple[str, str]:
    """Return what rows and columns are: weights are stored (out, in), tables (entry, feature)."""
    if TABLES & set(entry.name.split(".")):
        return "rows (entries)", "columns (features)"
    columns = "columns (inputs)" if len(entry.shape) == 2 else "columns (inputs x kernel)"
    return "rows (output channels)", columns


def channels_lines(entry: TensorEntry, history: ChannelHistory | None, box: Box) -> list[Line]:
    """Return the panel's drawing, or what it waits for."""
    if history is None:
        return nothing("reading channels", box)
    now = history.at[-1] if history.at else None
    if now is None:
        return nothing("no channels are kept for this tensor at this step", box)
    rows, columns = axis_titles(entry)
    of_rows = [None if item is None else item.rows for item in history.at]
    of_columns = [None if item is None else item.columns for item in history.at]
    explained = box.height >= LEGEND_FROM
    room = box.height - (1 if explained else 0)
    glyphs = box.glyphs
    if box.width >= SIDE_BY_SIDE:
        half = (box.width - 3) // 2
        left = axis_lines(rows, now.rows, of_rows, width=half, height=room, glyphs=glyphs)
        right = axis_lines(columns, now.columns, of_columns, width=half, height=room, glyphs=glyphs)
        lines = [(*a, Span("   "), *b) for a, b in zip(left, right, strict=True)]
    else:
        above, below = (room - 1) // 2, room - 1 - (room - 1) // 2
        lines = axis_lines(rows, now.rows, of_rows, width=box.width, height=above, glyphs=glyphs)
        lines.append(blank(box.width))
        lines += axis_lines(
            columns, now.columns, of_columns, width=box.width, height=below, glyphs=glyphs
        )
    return [*lines, legend(box.width, glyphs)] if explained else lines
