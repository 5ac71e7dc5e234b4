"""Float parts of a span of elements: sketch sums, and sums of squares by row and column.

A span is a fixed stretch of global indices (`SPAN` of them): engines cut tensors on its borders,
so that the order of every float sum is fixed, whoever computes which span.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forkmon.errors import GridMismatchError
from forkmon.stats.blocks import BLOCK
from forkmon.stats.sketch import WIDTH, Sketch

SPAN: Final = 256 * BLOCK
"""Elements a span: 32 MB of bf16, 64 MB of f32."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Sums over elements [first, first + size) of a tensor."""

    first: int
    size: int
    sketch: Floats
    """(256,)"""
    columns: Floats
    """Squares by column, (columns,); empty for vectors."""
    rows: Floats
    """Squares by row, from row `first_row` on; empty for vectors."""
    first_row: int

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Part):
            return NotImplemented
        mine, others = (
            (p.first, p.size, p.first_row, p.sketch.tobytes(), p.columns.tobytes(),
             p.rows.tobytes())
            for p in (self, other)
        )  # fmt: skip
        return mine == others

    __hash__ = None  # type: ignore[assignment]  # holds arrays


def joined(a: tuple[Part, ...], b: tuple[Part, ...]) -> tuple[Part, ...]:
    """Return the parts of both in index order; GridMismatchError if two overlap."""
    if not a or not b or a[-1].first < b[0].first:
        parts = (*a, *b)
    else:
        parts = tuple(sorted((*a, *b), key=lambda part: part.first))
    for left, right in pairwise(parts):
        if left.first + left.size > right.first:
            raise GridMismatchError("two pieces of a tensor cover the same elements")
    return parts


def compacted(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Return the parts with neighbours added up from left to right.

    The sums are those that reading all parts in order gives, to the bit: what was already read
    need not be kept apart.
    """
    out: list[Part] = []
    for part in parts:
        if out and out[-1].first + out[-1].size == part.first:
            out[-1] = _added(out[-1], part)
        else:
            out.append(part)
    return tuple(out)


def _added(left: Part, right: Part) -> Part:
    """Return two neighbours as one part."""
    overlap = left.first_row + len(left.rows) - right.first_row if len(right.rows) else 0
    rows = np.concatenate([left.rows, right.rows[overlap:]]) if overlap >= 0 else left.rows
    if overlap > 0:  # the row that the border cuts
        end = len(left.rows)
        rows[end - overlap : end] += right.rows[:overlap]
    return Part(
        left.first,
        left.size + right.size,
        left.sketch + right.sketch,
        left.columns + right.columns,
        rows,
        left.first_row,
    )


def sketch(parts: tuple[Part, ...]) -> Sketch:
    """Return the sketch of all parts, added in index order."""
    total = np.zeros(WIDTH)
    for part in parts:
        total += part.sketch
    return Sketch(total)


def row_squares(parts: tuple[Part, ...], rows: int) -> Floats:
    """Return the sum of squares of each row, (rows,), a row cut by a border added in order."""
    total = np.zeros(rows)
    for part in parts:
        total[part.first_row : part.first_row + len(part.rows)] += part.rows
    return total


def column_squares(parts: tuple[Part, ...]) -> Floats:
    """Return the sum of squares of each column, added in index order."""
    total = np.zeros(len(parts[0].columns) if parts else 0)
    for part in parts:
        total += part.columns
    return total
