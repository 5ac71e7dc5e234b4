"""Tensors by shape and strides: a plain range, a transposed one, or a box of strides."""

from __future__ import annotations

from math import prod
from pathlib import Path

from forkmon.formats.refs import ITEM_BYTES, Role, Skipped, Stripes, TensorRef, Tile, Tiled, View
from forkmon.text import safe

Shape = tuple[int, ...]


def strided_ref(
    name: str, dtype: str, shape: Shape, strides: Shape, place: tuple[Path, int], role: Role
) -> TensorRef | Skipped:
    """Return a tensor whose first element is at `place`; strides are in elements.

    A matrix stored column by column is listed as it is stored: the order of its elements says
    nothing about their distribution, and reading along the storage is fastest.
    """
    file, offset = place
    if is_contiguous(shape, strides):
        return TensorRef(name, dtype, shape, file, offset, role)
    if len(shape) == 2 and is_contiguous(shape[::-1], strides[::-1]):
        rows, columns = shape[1], shape[0]
        view = View(
            name, "stored transposed", columns, Stripes(0, rows), Stripes(0, columns),
            transposed=True,
        )  # fmt: skip
        return TensorRef(name, dtype, (rows, columns), file, offset, role, view)
    tile = Tile(file, offset, (0,) * len(shape), shape, strides)
    return TensorRef(name, dtype, shape, file, 0, role, tiled=Tiled(shape, (tile,)))


def is_contiguous(shape: Shape, strides: Shape) -> bool:
    """Return whether the elements follow each other in C order."""
    wanted = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size == 0:
            return True
        if size > 1 and stride != wanted:
            return False
        wanted *= size
    return True


def extent(shape: Shape, strides: Shape) -> int:
    """Return how many elements lie from the first to the last, both included; 0 without any."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def why_unread(name: str, dtype: str, shape: Shape, held: int, name_cap: int) -> str:
    """Return why a tensor over `held` stored elements is not read, empty where it is."""
    if dtype not in ITEM_BYTES:
        return f"dtype {safe(dtype, 40)} is not read by this version"
    if not name:
        return "it has no name"
    if len(name) > name_cap:
        return f"its name has {len(name):,} characters"
    if prod(shape) > held:
        return f"{safe(f'{prod(shape):,}', 40)} elements made of {held:,}: expanded, not stored"
    return ""
