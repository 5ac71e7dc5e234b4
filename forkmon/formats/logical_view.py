"""Reading parts of a tensor: rows and columns that lie scattered in its bytes, in few reads.

A view is a strided array of at most four dimensions. A range of its elements is cut into pieces
that are either contiguous on disk, and long enough to be read where they belong, or small
rectangles whose surroundings are read in bulk and copied out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forkmon.formats.refs import ITEM_BYTES, Stripes, TensorRef, View
from forkmon.text import SafeText, safe

BULK_BYTES = 1 << 20
"""Most bytes read at once to copy a rectangle out of them: they stay in a core's cache."""

RUN_BYTES = 32 << 10
"""A contiguous run of at least this many bytes is worth a read of its own."""

ReadBytes = Callable[[int, memoryview, Path], None]
"""Fill a buffer from a file's offset on."""

Dims = tuple[tuple[int, int], ...]
"""(size, stride) of each dimension, outermost first, in elements; strides only get smaller."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The two sizes above, in elements."""

    bulk: int
    run: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle of a tensor: `dims` from element `base` on."""

    base: int
    dims: Dims

    @property
    def size(self) -> int:
        """Return how many elements it holds."""
        return prod(size for size, _ in self.dims)

    @property
    def extent(self) -> int:
        """Return how many elements lie from its first to its last, both included."""
        return _extent(self.dims)

    @property
    def contiguous(self) -> bool:
        """Return whether nothing lies between its elements."""
        return self.extent == self.size


def read_view(
    read: ReadBytes, tensor: TensorRef, view: View, first: int, out: memoryview
) -> None:  # fmt: skip
    """Fill `out` with the bytes of the view's elements from index `first` on."""
    item = ITEM_BYTES[tensor.dtype]
    limits = Limits(BULK_BYTES // item, RUN_BYTES // item)
    done = 0
    bulk: NDArray[np.uint8] | None = None
    for piece in pieces(view, first, first + len(out) // item, limits):
        offset = tensor.offset + piece.base * item
        target = out[done : done + piece.size * item]
        done += len(target)
        if piece.contiguous:
            read(offset, target, tensor.file)
            continue
        if bulk is None:
            bulk = np.empty(BULK_BYTES, np.uint8)
        around = bulk[: piece.extent * item]
        read(offset, around.data, tensor.file)
        _copy(around, piece.dims, item, target)


def pieces(view: View, first: int, last: int, limits: Limits) -> Iterator[Piece]:
    """Yield the view's elements [first, last) in order, each piece small or contiguous."""
    if first < last:
        base = view.rows.start * view.row_length + view.columns.start
        yield from _pieces(dims_of(view), base, first, last, limits)


def dims_of(view: View) -> Dims:
    """Return a view's dimensions, those that continue each other taken as one."""
    scattered = (*_axis(view.rows, view.row_length), *_axis(view.columns, 1))
    merged: list[tuple[int, int]] = []
    for size, stride in scattered:
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return tuple(merged) or ((1, 1),)


def describe(view: View) -> SafeText:
    """Return in one line which part of which tensor a view is, and why."""
    parts = [f"of {safe(view.source)}"]
    if view.row_length == 1:
        parts.append(_words("element", view.rows))
    else:
        parts.append(_words("row", view.rows))
        if view.columns.size < view.row_length:
            parts.append(_words("column", view.columns))
    if view.transposed:
        parts.append("columns are the output channels")
    return safe(f"{', '.join(parts)} ({safe(view.why)})", 600)


def _words(what: str, stripes: Stripes) -> str:
    start, end = stripes.start, stripes.start + stripes.length - 1
    named = f"{what}s {start:,}–{end:,}" if start < end else f"{what} {start:,}"
    if stripes.count == 1:
        return named
    return f"{named} and {stripes.count - 1:,} more every {stripes.stride:,}"


def _axis(stripes: Stripes, unit: int) -> Dims:
    return (stripes.count, stripes.stride * unit), (stripes.length, unit)


def _extent(dims: Dims) -> int:
    return 1 + sum((size - 1) * stride for size, stride in dims)


def _pieces(dims: Dims, base: int, first: int, last: int, limits: Limits) -> Iterator[Piece]:
    """Yield elements [first, last) of `dims`: a ragged start, whole slabs, a ragged end."""
    (_, stride), inner = dims[0], dims[1:]
    slab = prod(size for size, _ in inner)
    head, tail = -(-first // slab), last // slab
    if head > tail:  # both ends in the same slab
        at = base + tail * stride
        yield from _pieces(inner, at, first - tail * slab, last - tail * slab, limits)
        return
    if first < head * slab:
        at = base + (head - 1) * stride
        yield from _pieces(inner, at, first - (head - 1) * slab, slab, limits)
    if head < tail:
        whole = ((tail - head, stride), *inner)
        yield from _slabs(whole, base + head * stride, limits)
    if tail * slab < last:
        yield from _pieces(inner, base + tail * stride, 0, last - tail * slab, limits)


def _slabs(dims: Dims, base: int, limits: Limits) -> Iterator[Piece]:
    """Yield a rectangle in pieces: one if contiguous, else as large as the bulk allows."""
    (count, stride), inner = dims[0], dims[1:]
    if not inner and stride == 1:
        yield Piece(base, dims)
        return
    within = _extent(inner)
    run = dims[-1][0] if dims[-1][1] == 1 else 1
    if within > limits.bulk or (inner and run >= limits.run):
        for index in range(count):
            yield from _slabs(inner, base + index * stride, limits)
        return
    step = 1 + (limits.bulk - within) // stride
    for index in range(0, count, step):
        taken = min(step, count - index)
        yield Piece(base + index * stride, ((taken, stride), *inner))


def _copy(source: NDArray[np.uint8], dims: Dims, item: int, out: memoryview) -> None:
    """Copy a rectangle out of the bytes around it."""
    kind = np.dtype(f"u{item}")
    found = np.ndarray(
        tuple(size for size, _ in dims), kind, source, 0, tuple(s * item for _, s in dims)
    )
    target = np.frombuffer(out, kind).reshape(found.shape)
    np.copyto(target, found)
