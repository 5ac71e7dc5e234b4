"""Tensors that lie in boxes, in one file or many: any range of their elements in few reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forkmon.formats.refs import Tile, Tiled

BULK_BYTES = 1 << 20
"""Most bytes read at once to copy scattered elements out of them: they stay in a core's cache."""

RUN_BYTES = 32 << 10
"""A contiguous run of at least this many bytes is worth a read of its own."""

GAP_BYTES = 64 << 10
"""More than this between two stretches is not read over."""

ReadBytes = Callable[[int, memoryview, Path], None]
"""Fill a buffer from a file's offset on."""

Index = tuple[int, ...]

Dims = tuple[tuple[int, int, int], ...]
"""(size, stride in the file, stride in the buffer) of each axis, in elements."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """A Tiled made ready for many reads: axes that nothing is cut along are taken as one."""

    shape: Index
    tiles: tuple[Tile, ...]
    starts: NDArray[np.int64]
    """[tiles, axes]"""
    ends: NDArray[np.int64]

    def within(self, low: Index, high: Index) -> list[Tile]:
        """Return the tiles that have an element in the box from `low` to before `high`."""
        if len(self.tiles) == 1:
            return list(self.tiles)
        hit = np.all((self.starts < high) & (self.ends > low), axis=1)
        return [self.tiles[index] for index in np.flatnonzero(hit)]


@dataclass(slots=True)
class _Target:
    """Where the elements go: a buffer, and how they come."""

    read: ReadBytes
    item: int
    out: memoryview
    bulk: NDArray[np.uint8] | None = None

    def scratch(self, size: int) -> NDArray[np.uint8]:
        """Return room for `size` bytes, the same for one piece after another."""
        if self.bulk is None or len(self.bulk) < size:
            self.bulk = np.empty(max(size, BULK_BYTES), np.uint8)
        return self.bulk[:size]


def boxes_of(tiled: Tiled) -> Boxes:
    """Return a tiled tensor ready to be read."""
    shape = tiled.shape or (1,)
    tiles = [_explicit(tile) for tile in tiled.tiles if prod(tile.shape)]
    for axis in range(len(shape) - 1, 0, -1):
        if all(_continues(tile, shape, axis) for tile in tiles):
            tiles = [_joined(tile, shape, axis) for tile in tiles]
            shape = _one_axis(shape, shape, axis)
    tiles.sort(key=lambda tile: tile.start)
    starts = np.array([tile.start for tile in tiles], np.int64).reshape(-1, len(shape))
    sizes = np.array([tile.shape for tile in tiles], np.int64).reshape(-1, len(shape))
    return Boxes(shape, tuple(tiles), starts, starts + sizes)


def read_tiled(read: ReadBytes, boxes: Boxes, item: int, first: int, out: memoryview) -> None:
    """Fill `out` with the elements, of `item` bytes each, from index `first` on."""
    if not len(out):
        return
    done = 0
    for low, high in _ranges(boxes.shape, first, first + len(out) // item):
        size = item * prod(end - start for start, end in zip(low, high, strict=True))
        target = _Target(read, item, out[done : done + size])
        for tile in boxes.within(low, high):
            _read_common(target, tile, low, high)
        done += size


def tile_strides(tile: Tile) -> Index:
    """Return a tile's strides in elements, also where it lies in C order."""
    if tile.strides is not None:
        return tile.strides
    return tuple(prod(tile.shape[axis + 1 :]) for axis in range(len(tile.shape)))


def cut(tile: Tile, low: Index, high: Index, item: int) -> Tile | None:
    """Return the part of a tile between two corners of the tensor, None where there is none."""
    start = tuple(map(max, tile.start, low))
    ends = tuple(at + size for at, size in zip(tile.start, tile.shape, strict=True))
    shape = tuple(min(a, b) - at for a, b, at in zip(ends, high, start, strict=True))
    if any(size <= 0 for size in shape):
        return None
    strides = tile_strides(tile)
    moved = (at - was for at, was in zip(start, tile.start, strict=True))
    ahead = sum(by * stride for by, stride in zip(moved, strides, strict=True))
    return Tile(tile.file, tile.offset + ahead * item, start, shape, strides)


def in_one_range(shape: Index, tiles: Sequence[Tile]) -> Tile | None:
    """Return the only tile of a tensor, if its elements lie as those of any other tensor do."""
    if len(tiles) != 1:
        return None
    strides = tile_strides(tiles[0])
    plain = (prod(shape[axis + 1 :]) for axis in range(len(shape)))
    fits = all(
        size == 1 or stride == wanted
        for size, stride, wanted in zip(shape, strides, plain, strict=True)
    )
    return tiles[0] if fits and tiles[0].shape == shape else None


def _explicit(tile: Tile) -> Tile:
    if not tile.shape:
        return replace(tile, start=(0,), shape=(1,), strides=(1,))
    return replace(tile, strides=tile_strides(tile))


def _continues(tile: Tile, shape: Index, axis: int) -> bool:
    """Return whether a tile is whole along an axis, and the axis goes on where it ends."""
    if tile.shape[axis] != shape[axis]:
        return False
    strides = tile_strides(tile)
    follows = strides[axis - 1] == strides[axis] * shape[axis]
    return follows or tile.shape[axis - 1] == 1 or shape[axis] == 1


def _joined(tile: Tile, shape: Index, axis: int) -> Tile:
    strides = tile_strides(tile)
    kept = strides[axis - 1] if shape[axis] == 1 else strides[axis]
    return replace(
        tile,
        start=_one_axis(tile.start, shape, axis),
        shape=_one_axis(tile.shape, shape, axis),
        strides=(*strides[: axis - 1], kept, *strides[axis + 1 :]),
    )


def _one_axis(counts: Index, shape: Index, axis: int) -> Index:
    """Return positions or sizes with an axis, whole in them, taken together with the one before."""
    return (*counts[: axis - 1], counts[axis - 1] * shape[axis], *counts[axis + 1 :])


def _ranges(shape: Index, first: int, last: int) -> Iterator[tuple[Index, Index]]:
    """Yield the boxes, as corners, that elements [first, last) are, in order."""
    if first >= last:
        return
    if len(shape) == 1:
        yield (first,), (last,)
        return
    inner = shape[1:]
    slab = prod(inner)
    head, tail = -(-first // slab), last // slab
    if head > tail:  # both ends in the same slab
        yield from _under(tail, _ranges(inner, first - tail * slab, last - tail * slab))
        return
    if first < head * slab:
        yield from _under(head - 1, _ranges(inner, first - (head - 1) * slab, slab))
    if head < tail:
        yield (head, *(0 for _ in inner)), (tail, *inner)
    yield from _under(tail, _ranges(inner, 0, last - tail * slab))


def _under(index: int, found: Iterator[tuple[Index, Index]]) -> Iterator[tuple[Index, Index]]:
    for low, high in found:
        yield (index, *low), (index + 1, *high)


def _read_common(target: _Target, tile: Tile, low: Index, high: Index) -> None:
    """Read what a tile and a box have in common to its place in the box's buffer."""
    part = cut(tile, low, high, target.item)
    if part is None:
        return
    sizes = [end - start for start, end in zip(low, high, strict=True)]
    into = [prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    at = sum((a - b) * by for a, b, by in zip(part.start, low, into, strict=True))
    dims = _merged(tuple(zip(part.shape, tile_strides(part), into, strict=True)))
    _transfer(target, part, at, dims)


def _merged(dims: Dims) -> Dims:
    """Return the axes with those taken as one that go on in the file and in the buffer."""
    merged: list[tuple[int, int, int]] = []
    for size, stride, into in dims:
        if size == 1:
            continue
        if merged and merged[-1][1:] == (size * stride, size * into):
            merged[-1] = (merged[-1][0] * size, stride, into)
        else:
            merged.append((size, stride, into))
    # The largest step in the file first; what is repeated (a step of 0) before all.
    merged.sort(key=lambda dim: (dim[1] > 0, -dim[1]))
    return tuple(merged) or ((1, 1, 1),)


def _extent(dims: Dims) -> int:
    return 1 + sum((size - 1) * stride for size, stride, _ in dims)


def _transfer(target: _Target, tile: Tile, at: int, dims: Dims, base: int = 0) -> None:
    """Read a rectangle: where it belongs if contiguous, else by way of its surroundings."""
    (count, stride, into), inner = dims[0], dims[1:]
    item = target.item
    if not inner and (stride, into) == (1, 1):
        place = target.out[at * item : (at + count) * item]
        target.read(tile.offset + base * item, place, tile.file)
        return
    within = _extent(inner)
    long = within * item > BULK_BYTES or (stride - within) * item > GAP_BYTES
    if long or (inner and _run(dims) * item >= RUN_BYTES):
        for index in range(count):
            _transfer(target, tile, at + index * into, inner or ((1, 1, 1),), base + index * stride)
        return
    step = 1 + (BULK_BYTES // item - within) // stride if stride else count
    for index in range(0, count, step):
        piece = ((min(step, count - index), stride, into), *inner)
        around = target.scratch(_extent(piece) * item)
        target.read(tile.offset + (base + index * stride) * item, around.data, tile.file)
        _copy(around, piece, target, at + index * into)


def _run(dims: Dims) -> int:
    """Return how many elements follow each other both in the file and in the buffer."""
    size, stride, into = dims[-1]
    return size if (stride, into) == (1, 1) else 1


def _copy(around: NDArray[np.uint8], dims: Dims, target: _Target, at: int) -> None:
    item = target.item
    kind = np.dtype(f"u{item}")
    shape = tuple(size for size, _, _ in dims)
    found = np.ndarray(shape, kind, around, 0, tuple(stride * item for _, stride, _ in dims))
    place = np.ndarray(shape, kind, target.out, at * item, tuple(into * item for *_, into in dims))
    np.copyto(place, found)
