"""Safetensors files in which each rank saved its own part of every tensor (torch's DCP writer)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from forkmon.errors import FormatError
from forkmon.formats.refs import Listing, TensorRef, Tile
from forkmon.formats.tiles_join import joined_tensor
from forkmon.text import safe

SHARDING = "DCP_SHARDING_INFO"
_OFFSETS = "saved_offsets"
_INT64_END = 1 << 63
_NOTE = "as large as the parts that were found: its files do not say how many there were"


def is_part(listing: Listing) -> bool:
    """Return whether a file's metadata say where in the tensors its own ones begin."""
    return any(key == SHARDING for key, _ in listing.metadata)


def joined(parts: Sequence[Listing]) -> Listing:
    """Return the tensors that the files' parts make together; FormatError where they do not."""
    found: dict[str, list[tuple[TensorRef, Tile]]] = {}
    for part in parts:
        starts = starts_of(part)
        for tensor in part.tensors:
            tile = Tile(tensor.file, tensor.offset, starts[tensor.name], tensor.shape)
            found.setdefault(tensor.name, []).append((tensor, tile))
    tensors = tuple(_whole(pieces) for pieces in found.values())
    skipped = {skip.name: skip for part in parts for skip in part.skipped}
    metadata = dict(pair for part in parts for pair in part.metadata if pair[0] != SHARDING)
    notes = tuple((tensor.name, _NOTE) for tensor in tensors if tensor.tiled is not None)
    return Listing(tensors, tuple(skipped.values()), tuple(metadata.items()), notes)


def starts_of(listing: Listing) -> Mapping[str, tuple[int, ...]]:
    """Return where in the whole tensors a file's parts of them begin, by name."""
    told = _offsets(dict(listing.metadata).get(SHARDING, ""))
    return {tensor.name: _start(told.get(tensor.name), tensor) for tensor in listing.tensors}


def _offsets(text: str) -> Mapping[str, object]:
    """Return what is said of each tensor."""
    try:
        body: object = json.loads(text or "null")
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise FormatError(f"{SHARDING} in a header's metadata is no JSON object")
    return cast("dict[str, object]", body)


def _start(described: object, tensor: TensorRef) -> tuple[int, ...]:
    found: object = None
    if isinstance(described, dict):
        found = cast("dict[str, object]", described).get(_OFFSETS)
    numbers = cast("list[object]", found) if isinstance(found, list) else []
    start = tuple(at for at in numbers if type(at) is int and 0 <= at < _INT64_END)
    if len(start) != len(numbers) or len(start) != len(tensor.shape):
        raise FormatError(
            f"{safe(tensor.file.name)}: tensor {safe(tensor.name)!r}: {SHARDING} does not say "
            "where it begins"
        )
    return start


def _whole(pieces: Sequence[tuple[TensorRef, Tile]]) -> TensorRef:
    first = pieces[0][0]
    what = f"{safe(first.file.name)}: tensor {safe(first.name)!r}"
    if any((t.dtype, len(t.shape)) != (first.dtype, len(first.shape)) for t, _ in pieces):
        raise FormatError(f"{what}: its parts differ in dtype or rank")
    shape = tuple(
        max(tile.start[axis] + tile.shape[axis] for _, tile in pieces)
        for axis in range(len(first.shape))
    )
    return joined_tensor(replace(first, shape=shape), [tile for _, tile in pieces], what)
