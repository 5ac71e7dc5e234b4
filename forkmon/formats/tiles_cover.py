"""Do the parts of a tensor make it whole? Every element in exactly one box, or an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from forkmon.errors import FormatError, IncompleteError
from forkmon.text import safe

Index = tuple[int, ...]
Corners = NDArray[np.int64]
"""[boxes, axes]"""

RANK_CAP = 64
BOXES_CAP = 1 << 20
"""Most boxes looked at for one tensor: more is no sharding but an attack."""
_WORK_CAP = 1 << 22
_ELEMENTS_END = 1 << 60


@dataclass(slots=True)
class _Found:
    """What a walk over the boxes has met so far."""

    work: int = 0
    hole: bool = False
    overlap: bool = False


def check_cover(shape: Index, boxes: Sequence[tuple[Index, Index]], what: str) -> None:
    """Raise unless the boxes, (start, shape) each, cover a tensor exactly.

    `what` names the tensor, already safe. IncompleteError for a hole, FormatError for an overlap
    and for a box that reaches out of the tensor.
    """
    _check_size(shape, boxes, what)
    if not prod(shape) or not shape:
        if shape or len(boxes) == 1:
            return
        raise _wrong(what, len(boxes))
    if len(boxes) == 1 and boxes[0] == ((0,) * len(shape), shape):
        return
    starts, ends = _corners(shape, boxes, what)
    found = _Found()
    # Along axes that nothing is cut on there is nothing to look at; the last is always kept.
    cut = np.any((starts != 0) | (ends != np.array(shape)), axis=0)
    cut[-1] |= not cut.any()
    left = tuple(size for size, kept in zip(shape, cut, strict=True) if kept)
    _along(starts[:, cut], ends[:, cut], left, found)
    if found.work > _WORK_CAP:
        raise FormatError(f"{what}: its parts lie too irregularly to be checked")
    if found.overlap:  # no further part will heal this
        raise FormatError(f"{what}: two of its parts overlap; not read")
    if found.hole:
        raise IncompleteError(f"{what}: its {len(boxes):,} parts leave a hole")


def _wrong(what: str, count: int) -> FormatError | IncompleteError:
    if count:
        return FormatError(f"{what}: two of its parts overlap; not read")
    return IncompleteError(f"{what}: it has no part; one is missing")


def _check_size(shape: Index, boxes: Sequence[tuple[Index, Index]], what: str) -> None:
    if len(shape) > RANK_CAP:
        raise FormatError(f"{what} has {len(shape):,} dimensions, beyond {RANK_CAP}")
    if any(size < 0 for size in shape) or prod(max(1, size) for size in shape) >= _ELEMENTS_END:
        raise FormatError(f"{what}: no tensor has the shape {safe(list(shape), 80)}")
    if len(boxes) > BOXES_CAP:
        raise FormatError(f"{what} has {len(boxes):,} parts, beyond {BOXES_CAP:,}")


def _corners(
    shape: Index, boxes: Sequence[tuple[Index, Index]], what: str
) -> tuple[Corners, Corners]:  # fmt: skip
    kept: list[tuple[Index, Index]] = []
    for start, size in boxes:
        fits = len(start) == len(size) == len(shape) and all(
            0 <= at <= whole and 0 <= long <= whole - at
            for at, long, whole in zip(start, size, shape, strict=True)
        )
        if not fits:
            raise FormatError(
                f"{what}: a part at {safe(list(start), 80)} of {safe(list(size), 80)} lies outside "
                f"of its shape {safe(list(shape), 80)}"
            )
        if prod(size):
            kept.append((start, size))
    starts = np.array([start for start, _ in kept], np.int64).reshape(-1, len(shape))
    sizes = np.array([size for _, size in kept], np.int64).reshape(-1, len(shape))
    return starts, starts + sizes


def _along(starts: Corners, ends: Corners, shape: Index, found: _Found, axis: int = 0) -> None:
    """Look at boxes that are alike on all axes before this one."""
    found.work += len(starts)
    if not len(starts):
        found.hole = True
        return
    if axis == len(shape) - 1:
        _along_last(starts[:, axis], ends[:, axis], shape[axis], found)
        return
    edges = np.unique(np.concatenate((starts[:, axis], ends[:, axis])))
    if edges[0] > 0 or edges[-1] < shape[axis]:
        found.hole = True
    for low, high in pairwise(edges):
        inside = (starts[:, axis] < high) & (ends[:, axis] > low)
        _along(starts[inside], ends[inside], shape, found, axis + 1)
        found.work += len(starts) // 8  # the comparison itself, cheap but not free
        if found.overlap or found.work > _WORK_CAP:
            return


def _along_last(
    starts: NDArray[np.int64], ends: NDArray[np.int64], length: int, found: _Found
) -> None:
    """Look at stretches of the last axis: they are to follow each other from end to end."""
    order = np.argsort(starts, kind="stable")
    first, last = starts[order], ends[order]
    found.overlap |= bool(np.any(first[1:] < last[:-1]))
    found.hole |= bool(first[0] > 0 or last[-1] < length or np.any(first[1:] > last[:-1]))
