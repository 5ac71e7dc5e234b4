"""Tensor-parallel slices joined to the tensor that one rank alone would hold.

Which axis a tensor is cut along is told from its name, as its module's class decides it:
ColumnParallelLinear and VocabParallelEmbedding cut the output axis, RowParallelLinear the input
axis and keeps its bias whole, anything else is the same on every rank
(megatron/core/tensor_parallel/layers.py, megatron/mpu of GPT-NeoX).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from forkmon.formats.refs import ITEM_BYTES, TensorRef, Tile
from forkmon.formats.tiles import cut
from forkmon.formats.tiles_join import joined_tensor
from forkmon.text import safe

_COLUMN = frozenset({
    "word_embeddings", "word_embeddings_for_head", "output_layer", "final_linear",
    "query_key_value", "query", "key_value", "dense_h_to_4h", "w1", "w3", "linear1",
    "linear_qkv", "linear_q", "linear_kv", "linear_q_proj", "linear_q_up_proj",
    "linear_kv_up_proj", "linear_fc1",
})  # fmt: skip
_ROW = frozenset({"dense_4h_to_h", "w2", "linear2", "linear_proj", "linear_fc2"})
_WHOLE = frozenset({
    "position_embeddings", "tokentype_embeddings", "router", "rotary_emb", "rotary_pos_emb",
    "linear_q_down_proj", "linear_kv_down_proj", "binary_head", "pooler",
})  # fmt: skip
_ATTENTION = frozenset({"attention", "self_attention", "inter_attention", "cross_attention"})
_GATED = frozenset({"dense_h_to_4h", "linear_fc1"})
_FUSED = frozenset({"query_key_value", "linear_qkv"})

WHOLE = -1
"""In place of an axis: every rank has the same."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What became of the slices of one tensor."""

    tensors: tuple[TensorRef, ...]
    notes: tuple[tuple[str, str], ...] = ()


def cut_axis(name: str) -> int | None:
    """Return the axis that a tensor is cut along, WHOLE where it is not, None where unknown."""
    *modules, leaf = name.split(".")
    owner = modules[-1] if modules else ""
    parent = modules[-2] if len(modules) > 1 else ""
    if leaf.startswith("layer_norm_") or "norm" in owner or leaf == "inv_freq":
        return WHOLE
    if _WHOLE.intersection(modules):
        return WHOLE
    kind = "bias" if leaf.startswith("bias") else "weight" if leaf.startswith("weight") else ""
    if owner in _COLUMN and kind:
        return 0
    if kind and (owner in _ROW or (owner == "dense" and parent in _ATTENTION)):
        return 1 if kind == "weight" else WHOLE
    return None


def is_gated(name: str) -> bool:
    """Return whether a tensor is two matrices, one on the other, where the model is gated."""
    return bool(_GATED.intersection(name.split(".")[-2:-1]))


def join(name: str, slices: Sequence[TensorRef], *, gated: bool = False) -> Joined:
    """Return the tensor that the slices of all ranks make, in rank order; or each, if unknown.

    `gated`: each rank holds its share of two matrices, which are put apart again.
    """
    axis = cut_axis(name)
    if len(slices) == 1:
        return Joined((slices[0],), _fused_note(name))
    if axis == WHOLE and len({(each.shape, each.dtype) for each in slices}) == 1:
        return Joined((slices[0],), ((name, f"the same on {len(slices)} ranks; the first shown"),))
    if axis is None or axis == WHOLE or not _fit(slices, axis):
        return apart(slices)
    halves = 2 if gated and is_gated(name) else 1
    if any(each.shape[axis] % halves for each in slices):
        return apart(slices)
    whole = _joined(slices, axis, halves)
    text = f"{len(slices)} tensor-parallel slices joined along axis {axis}"
    if halves == 2:
        text += ", the gate's rows before the others"
    return Joined((whole,), ((name, text), *_fused_note(name)))


def _fused_note(name: str) -> tuple[tuple[str, str], ...]:
    if not _FUSED.intersection(name.split(".")[-2:-1]):
        return ()
    return ((name, "query, key and value rows, group of heads by group of heads"),)


def apart(slices: Sequence[TensorRef]) -> Joined:
    """Return slices that cannot be joined, each under its rank's own name."""
    shown = tuple(
        replace(each, name=f"{each.name}[tp{rank}]", stored_as=each.stored_as or each.name)
        for rank, each in enumerate(slices)
    )
    note = f"how its {len(slices)} tensor-parallel slices join is not known: each shown apart"
    return Joined(shown, tuple((each.name, note) for each in shown))


def _fit(slices: Sequence[TensorRef], axis: int) -> bool:
    """Return whether slices are alike but for their size along the axis."""
    if any(each.view is not None or len(each.shape) <= axis for each in slices):
        return False
    rest = {(each.dtype, each.shape[:axis], each.shape[axis + 1 :]) for each in slices}
    return len(rest) == 1


def _joined(slices: Sequence[TensorRef], axis: int, halves: int) -> TensorRef:
    size = sum(each.shape[axis] for each in slices)
    first = slices[0]
    shape = (*first.shape[:axis], size, *first.shape[axis + 1 :])
    tiles: list[Tile] = []
    before = 0
    for each in slices:
        own = each.shape[axis] // halves
        for half in range(halves):
            to = half * (size // halves) + before
            tiles += _moved(each, axis, (half * own, own, to))
        before += own
    whole = replace(first, shape=shape, offset=0, tiled=None)
    return joined_tensor(whole, tiles, safe(first.name))


def _moved(each: TensorRef, axis: int, stretch: tuple[int, int, int]) -> Iterator[Tile]:
    """Yield the tiles of (start, size) along an axis, moved to another start."""
    start, size, to = stretch
    low = tuple(start if at == axis else 0 for at in range(len(each.shape)))
    high = tuple(start + size if at == axis else long for at, long in enumerate(each.shape))
    for tile in tiles_of(each):
        part = cut(tile, low, high, ITEM_BYTES[each.dtype])
        if part is not None:
            moved = part.start[axis] + to - start
            yield replace(part, start=(*part.start[:axis], moved, *part.start[axis + 1 :]))


def tiles_of(tensor: TensorRef) -> tuple[Tile, ...]:
    """Return the tiles of a tensor, one where it is a plain range."""
    if tensor.tiled is not None:
        return tensor.tiled.tiles
    return (Tile(tensor.file, tensor.offset, (0,) * len(tensor.shape), tensor.shape),)


def join_all(
    ranks: Sequence[Mapping[str, TensorRef]], *, gated: bool = False
) -> tuple[dict[str, Joined], tuple[str, ...]]:
    """Return every tensor that all ranks hold, joined, and the names that only some hold."""
    names = dict.fromkeys(name for rank in ranks for name in rank)
    found: dict[str, Joined] = {}
    lacking: list[str] = []
    for name in names:
        slices = [rank[name] for rank in ranks if name in rank]
        if len(slices) < len(ranks):
            lacking.append(name)
        else:
            found[name] = join(name, slices, gated=gated)
    return found, tuple(lacking)
