"""The layer tree: one line a row, only the visible ones are ever computed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.draw.cells import clip, clip_middle, fit, pad
from forkmon.draw.cells import width as width_of
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import count, percent, short
from forkmon.draw.sparkline import sparkline
from forkmon.text import safe
from forkmon.tui.model import COUNTED, RELATIVE
from forkmon.tui.widgets.words import Box, badge, ends

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkmon.draw.glyphs import Glyphs
    from forkmon.stats.alert import Severity
    from forkmon.tui.tree_model import Tree
    from forkmon.tui.tree_view import Row

SPARK = 5
NARROW = 32
"""Below this many columns the sparkline makes room for the name."""


_ADDED = re.compile(r" \([^()]*\)$")
_FROM_BLOCK = re.compile(r"\.(\d+\..+)")


@dataclass(frozen=True, slots=True)
class Cell:
    """The numbers of one visible row."""

    value: float | None = None
    before: float | None = None
    """The baseline's value."""
    spark: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Columns:
    """How wide each column is."""

    label: int
    spark: int
    value: int
    change: int
    indent: int


def columns(width: int) -> Columns:
    """Return the columns of a tree of that width: names get what numbers leave."""
    spark = SPARK if width >= NARROW else 0
    value, change, indent = (6, 6, 2) if width >= 40 else (5, 6, 1)
    taken = 1 + 2 + (spark + 1 if spark else 0) + value + 1 + change + 1
    return Columns(max(6, width - taken), spark, value, change, indent)


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above the columns."""

    title: str
    statistic: str
    sort: str
    """Empty for the order of names."""
    reverse: bool
    focused: bool


def heading(head: Heading, width: int, glyphs: Glyphs) -> Line:
    """Return the line above the rows."""
    cols = columns(width)
    arrow = ("^" if head.reverse else "v") if glyphs.minus == "-" else "↑" if head.reverse else "↓"
    value = head.statistic + (arrow if head.sort == "value" else "")
    change = f"{glyphs.delta}base" + (arrow if head.sort == "change" else "")
    right = (
        Span(pad(value, max(cols.value, len(value)), "right", glyphs), Ink.MUTED),
        Span(" "),
        Span(pad(change, max(cols.change, len(change)), "right", glyphs), Ink.MUTED),
        Span(" "),
    )
    mark = Span(glyphs.right if head.focused else " ", Ink.ACCENT)
    title = Span(head.title, Ink.TITLE if head.focused else Ink.MUTED)
    return ends((mark, title), right, width, glyphs)


def row_line(
    tree: Tree,
    row: Row,
    cell: Cell,
    severity: Severity | None,
    statistic: str,
    box: Box,
) -> Line:
    """Return one row: name, badge, history, value, change from the baseline."""
    width, glyphs = box.width, box.glyphs
    cols = columns(width)
    node = tree.nodes[row.node]
    depth = row.depth if cols.indent > 1 else max(0, row.depth - 1)
    indent = " " * min(1 + cols.indent * depth, cols.label - 4)
    name = node.full if row.full else node.label
    mark = "" if row.opened is None else f"{glyphs.opened if row.opened else glyphs.closed} "
    label = indent + mark
    room = cols.label - len(label) - 1
    label += fitted(name, room, glyphs) if node.path else title_fitted(name, room, glyphs)
    spans = [Span(pad(label, cols.label, "left", glyphs)), badge(severity, glyphs), Span(" ")]
    if cols.spark:
        spans += [Span(sparkline(cell.spark, cols.spark, glyphs), Ink.ACCENT), Span(" ")]
    value = value_text(cell.value, statistic, glyphs, cols.value)
    spans.append(Span(pad(value, cols.value, "right", glyphs)))
    change = change_text(cell, statistic, glyphs, cols.change)
    spans.append(Span(f" {pad(change, cols.change, 'right', glyphs)} ", Ink.MUTED))
    return fit(spans, width, glyphs)


def fitted(name: str, room: int, glyphs: Glyphs) -> str:
    """Return a name in so many cells.

    `weight` and `bias` give way first, then what stands before the block's number, then the
    middle.
    """
    if width_of(name) > room:
        module, _, parameter = name.rpartition(".")
        if module and parameter in ("weight", "bias"):
            name = f"{module}.{parameter[0]}"
    if width_of(name) > room and (block := _FROM_BLOCK.search(name)):
        name = block[1]
    return clip_middle(name, room, glyphs)


def title_fitted(title: str, room: int, glyphs: Glyphs) -> str:
    """Return the run's name in so many cells: first what is added in brackets goes."""
    if width_of(title) > room:
        title = _ADDED.sub("", title) or title
    return clip(title, room, glyphs)


def change_of(cell: Cell, statistic: str) -> float | None:
    """Return the change from the baseline: a ratio where the statistic is a size."""
    if cell.value is None or cell.before is None:
        return None
    if statistic not in RELATIVE:
        return cell.value - cell.before
    if cell.before == 0:
        return 0.0 if cell.value == 0 else None
    return cell.value / cell.before - 1.0


def value_text(value: float | None, statistic: str, glyphs: Glyphs, width: int) -> str:
    """Return a number as the column writes it; what is counted has no decimals."""
    if value is not None and statistic in COUNTED:
        return count(int(value), glyphs).replace(" ", "")
    return short(value, width, glyphs)


def change_text(cell: Cell, statistic: str, glyphs: Glyphs, width: int) -> str:
    """Return the change as the column writes it: `+14 %`, or a signed difference."""
    change = change_of(cell, statistic)
    if statistic in RELATIVE:
        return percent(change, glyphs)
    if change is None or change == 0:
        return short(change, width, glyphs)
    text = value_text(change, statistic, glyphs, width - 1 if change > 0 else width)
    return f"+{text}" if change > 0 else text


def window(total: int, top: int, cursor: int, height: int) -> tuple[int, int]:
    """Return (first row, rows) to show so that the cursor is seen; the last line tells of more."""
    if height <= 0 or total <= height:
        return 0, max(0, min(total, height))
    if height == 1:
        return cursor, 1
    top = max(0, min(max(top, cursor - height + 2), cursor))
    if top + height >= total:
        return total - height, height
    return top, height - 1


def more_line(hidden: int, width: int, glyphs: Glyphs) -> Line:
    """Return the line that stands for the rows below the last one shown."""
    return fit((Span(f"   {glyphs.ellipsis} {hidden:,} more", Ink.MUTED),), width, glyphs)


def tree_lines(
    tree: Tree,
    rows: Sequence[Row],
    cells: Mapping[int, Cell],
    worst: Mapping[int, Severity],
    statistic: str,
    box: Box,
) -> list[Line]:
    """Return the lines of the rows on screen."""
    empty = Cell()
    out: list[Line] = []
    for row in rows:
        entry = tree.nodes[row.node].entry
        cell = empty if entry is None else cells.get(entry, empty)
        out.append(row_line(tree, row, cell, worst.get(row.node), statistic, box))
    return out


def no_match_line(text: str, width: int, glyphs: Glyphs) -> Line:
    """Return what the tree says when the filter leaves nothing."""
    said = f"   nothing matches {safe(text, 40)}; esc clears the filter"
    return fit((Span(said, Ink.MUTED),), width, glyphs)
