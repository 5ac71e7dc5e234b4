"""What one rank's file holds of each tensor, and where in the whole tensors that belongs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal, cast

import numpy as np

from forkmon.errors import FormatError
from forkmon.formats.pickles import Distributed, Opaque, Stub, TorchTensor
from forkmon.formats.safetensors import NAME_CAP
from forkmon.formats.torch_graph import Graph
from forkmon.text import safe

_DEPTH_CAP = 8
_SHARDED = "ShardedTensor"
_FLAT = "_flat_param"
_RANKS_CAP = 1 << 20
_INT64_END = 1 << 63


Kind = Literal["placed", "everywhere", "flat", "unpacked"]
"""What a part's places are: in the whole tensor; every rank has it whole; in FSDP's flat parameter,
the tensor being a stretch of it; or the flat parameter itself, when its tensors are there too."""


@dataclass(frozen=True, slots=True)
class Part:
    """A rank's share of a tensor; no piece at all where another rank holds the same."""

    shape: tuple[int, ...]
    """Of the whole."""
    pieces: tuple[tuple[tuple[int, ...], TorchTensor], ...]
    """(where it begins in the whole, the elements)."""
    kind: Kind = "placed"


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A tensor that is shared out in a way that is not read, and which."""

    reason: str


def parts_of(root: object, rank: int, world: int) -> Iterator[tuple[str, Part | Unsupported]]:
    """Yield the name and share of each tensor in a rank's state dict.

    FSDP's local states hold a flat parameter, sharded over the ranks, and often what lies in it as
    well: a vector for each parameter, a view of the rank's shard.
    """
    Graph(root)  # refuses what could be walked for ever
    found = list(_walk(root, "", _DEPTH_CAP, rank, world))
    shards = {
        tensor.storage.key: (start[0] - tensor.offset, tensor)
        for name, part in found
        if isinstance(part, Part) and name.endswith(_FLAT)
        for start, tensor in part.pieces
        if len(start) == 1
    }
    if not shards:
        yield from found
        return
    views = [(name, _in_shard(part, shards)) for name, part in found]
    used = {
        tensor.storage.key for _, part in views
        if isinstance(part, Part) and part.kind == "flat" for _, tensor in part.pieces
    }  # fmt: skip
    for name, part in views:
        if isinstance(part, Part) and any(t.storage.key in used for _, t in part.pieces):
            yield name, replace(part, kind="flat" if part.kind == "flat" else "unpacked")
        else:
            yield name, part


def _in_shard(
    part: Part | Unsupported, shards: Mapping[str, tuple[int, TorchTensor]]
) -> Part | Unsupported:
    """Return a rank's own vector as the stretch of the flat parameter that it is a view of."""
    if isinstance(part, Unsupported) or part.kind != "everywhere" or len(part.shape) != 1:
        return part
    ((_, tensor),) = part.pieces
    if part.shape == (0,):
        return Part((), (), "flat")
    ahead, shard = shards.get(tensor.storage.key, (0, None))
    if shard is None or tensor.dtype != shard.dtype or tensor.strides != (1,):
        return part
    return Part((), (((ahead + tensor.offset,), tensor),), "flat")


def _walk(
    value: object, name: str, depth: int, rank: int, world: int
) -> Iterator[tuple[str, Part | Unsupported]]:
    if isinstance(value, TorchTensor):
        shape = value.shape
        yield name, Part(shape, (((0,) * len(shape), value),), "everywhere")
    elif isinstance(value, Distributed):
        yield name, _of_mesh(value, rank, world, f"tensor {safe(name)!r}")
    elif isinstance(value, Stub) and value.kind == _SHARDED:
        yield name, _of_shards(value, f"tensor {safe(name)!r}")
    elif isinstance(value, Opaque):
        yield name, Unsupported(value.reason)
    elif isinstance(value, dict) and depth:
        for key, inner in cast("dict[object, object]", value).items():
            if isinstance(key, (str, int)):
                below = f"{name}.{key}" if name else str(key)
                if len(below) > NAME_CAP:
                    raise FormatError(f"{safe(below)}: too long a name; not read")
                yield from _walk(inner, below, depth - 1, rank, world)


def _of_mesh(tensor: Distributed, rank: int, world: int, what: str) -> Part | Unsupported:
    """Return the share of a DTensor that the rank holds, ranks counted along the mesh in C order.

    Each mesh axis either repeats the tensor (R) or cuts one of its axes (S): as torch.chunk cuts,
    all pieces of one size but the last ones.
    """
    # A mesh of one axis is told by the ranks alone, where the file does not tell it.
    mesh = tensor.mesh_shape or ((world,) if len(tensor.placements) == 1 else ())
    shape = tensor.shape
    if len(mesh) != len(tensor.placements) or not 0 < prod(mesh) <= _RANKS_CAP:
        return Unsupported(f"its mesh of {safe(list(mesh), 40)} ranks is not understood")
    if prod(mesh) != world:
        return Unsupported(f"it lies on {prod(mesh):,} of {world:,} ranks, which ones is not known")
    start, ends = [0] * len(shape), list(shape)
    where = [int(at) for at in np.unravel_index(rank, mesh)]
    repeated = False
    for index, count, placement in zip(where, mesh, tensor.placements, strict=True):
        axis = _axis(placement, len(shape))
        if axis is None:
            return Unsupported(f"placed as {safe(list(tensor.placements), 60)}, which is not read")
        if axis < 0:
            repeated = repeated or index > 0
            continue
        size = -(-(ends[axis] - start[axis]) // count)
        start[axis] = min(start[axis] + index * size, ends[axis])
        ends[axis] = min(start[axis] + size, ends[axis])
    local = tuple(end - at for at, end in zip(start, ends, strict=True))
    if tensor.local.shape != local:
        raise FormatError(
            f"{what}: rank {rank} holds {list(tensor.local.shape)}, its placement says "
            f"{list(local)}"
        )
    return Part(shape, () if repeated else ((tuple(start), tensor.local),))


def _axis(placement: str, rank: int) -> int | None:
    """Return the axis that a placement cuts, -1 for one that cuts none, None for another kind."""
    if placement == "R":
        return -1
    number = placement.removeprefix("S(").removesuffix(")")
    if placement != f"S({number})" or not number.isdecimal() or len(number) > 3:
        return None
    return int(number) if int(number) < rank else None


def _of_shards(tensor: Stub, what: str) -> Part:
    """Return the share of a ShardedTensor, which says itself where its shards belong."""
    state = tensor.state
    if not isinstance(state, (tuple, list)) or len(cast("Sequence[object]", state)) < 2:
        raise FormatError(f"{what}: a ShardedTensor without shards")
    shards, metadata = cast("Sequence[object]", state)[:2]
    shape = _sizes(_fields(metadata).get("size"), what)
    pieces: list[tuple[tuple[int, ...], TorchTensor]] = []
    for shard in cast("Sequence[object]", shards if isinstance(shards, list) else ()):
        fields = _fields(shard)
        local, place = fields.get("tensor"), _fields(fields.get("metadata"))
        start = _sizes(place.get("shard_offsets"), what)
        size = _sizes(place.get("shard_sizes"), what)
        if not isinstance(local, TorchTensor) or local.shape != size:
            raise FormatError(f"{what}: a shard of it is not what its metadata say")
        pieces.append((start, local))
    return Part(shape, tuple(pieces))


def _fields(value: object) -> Mapping[str, object]:
    return value.fields if isinstance(value, Stub) else {}


def _sizes(value: object, what: str) -> tuple[int, ...]:
    found = cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else None
    numbers = tuple(n for n in found or () if type(n) is int and 0 <= n < _INT64_END)
    if found is None or len(numbers) != len(found):
        raise FormatError(f"{what}: its shards do not say where they belong")
    return numbers
