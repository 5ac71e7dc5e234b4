"""A tensor in a torch file as a tile, if its storage has room for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from forkmon.errors import FormatError
from forkmon.formats.pickles import TorchTensor
from forkmon.formats.refs import ITEM_BYTES, Tile

Storages = Mapping[str, tuple[int, int]]
"""(offset in the file, length in bytes) by key."""


def torch_tile(
    tensor: TorchTensor, storages: Storages, start: tuple[int, ...], path: Path, where: str
) -> Tile:
    """Return where a tensor's elements are; `start` is its place in the whole it is a part of.

    The dtype must be one of `ITEM_BYTES`. FormatError where strides lead out of the storage;
    `where` names the tensor in it.
    """
    shape, strides = tuple(tensor.shape), tuple(tensor.strides)
    item = ITEM_BYTES[tensor.dtype]
    if len(shape) != len(strides) or tensor.offset < 0 or min(strides, default=0) < 0:
        raise FormatError(f"{where}: its strides lead out of its storage")
    begin, length = storages.get(tensor.storage.key, (0, 0))
    if 0 not in shape:
        span = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if (tensor.offset + span) * item > length:
            raise FormatError(f"{where}: its elements do not fit the {length:,} bytes it has")
    return Tile(path, begin + tensor.offset * item, start, shape, strides)
