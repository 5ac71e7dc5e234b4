"""One tensor out of its parts, once these were shown to be all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from forkmon.formats.refs import ITEM_BYTES, TensorRef, Tile, Tiled
from forkmon.formats.tiles import cut, in_one_range
from forkmon.formats.tiles_cover import check_cover


def joined_tensor(tensor: TensorRef, tiles: Sequence[Tile], what: str) -> TensorRef:
    """Return a tensor that lies in tiles: as one range where it is one.

    `what` names it in an error. Raises as `check_cover` does.
    """
    check_cover(tensor.shape, [(tile.start, tile.shape) for tile in tiles], what)
    return _placed(tensor, tuple(tile for tile in tiles if prod(tile.shape)))


def rows_apart(tensor: TensorRef, count: int) -> tuple[TensorRef, ...]:
    """Return the slices [0], [1], … of a tensor along its first axis, under its own name."""
    item = ITEM_BYTES[tensor.dtype]
    start = (0,) * len(tensor.shape)
    whole = Tile(tensor.file, tensor.offset, start, tensor.shape)
    tiles = (whole,) if tensor.tiled is None else tensor.tiled.tiles
    by_row: list[list[Tile]] = [[] for _ in range(count)]
    for tile in tiles:
        for row in range(tile.start[0], tile.start[0] + tile.shape[0]):
            part = cut(tile, (row, *start[1:]), (row + 1, *tensor.shape[1:]), item)
            if part is not None:
                by_row[row].append(_without_first_axis(part))
    return tuple(_placed(replace(tensor, shape=tensor.shape[1:]), tuple(found)) for found in by_row)


def _placed(tensor: TensorRef, tiles: tuple[Tile, ...]) -> TensorRef:
    alone = in_one_range(tensor.shape, tiles)
    if alone is not None:
        return replace(tensor, file=alone.file, offset=alone.offset, tiled=None)
    if not tiles:  # it has no element
        return replace(tensor, offset=0, tiled=None)
    return replace(tensor, file=tiles[0].file, offset=0, tiled=Tiled(tensor.shape, tiles))


def _without_first_axis(tile: Tile) -> Tile:
    strides = None if tile.strides is None else tile.strides[1:]
    return replace(tile, start=tile.start[1:], shape=tile.shape[1:], strides=strides)
