"""Megatron-LM's own checkpoints: one file a rank, put together to the model as one rank has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from forkmon.errors import FormatError, IncompleteError, TornError
from forkmon.formats.deepspeed_tree import RankFile, inside, tensors_in
from forkmon.formats.layout import Layout
from forkmon.formats.megatron_names import (
    Offsets,
    experts_held,
    is_expert,
    renamed,
    stack_sizes,
)
from forkmon.formats.megatron_set import RANK, Grid, check, load
from forkmon.formats.megatron_slices import Joined, apart, join
from forkmon.formats.proof import Damaged, Partial, Proof, Whole
from forkmon.formats.refs import Listing, Skipped, TensorRef
from forkmon.runs.refs import CheckpointRef

_EXTRA = "_extra_state"


def recognise(names: frozenset[str]) -> Layout | None:
    """Return the rank files among the names in a directory, None where there are none."""
    files = tuple(sorted(name for name in names if RANK.fullmatch(name)))
    return Layout("megatron", files, None) if files else None


def prove(directory: Path, files: Sequence[str]) -> Proof:
    """Return whether all ranks that the first promises are there, whole, and of one step."""
    try:
        grid = load(directory, files)
        check(grid)
    except (IncompleteError, TornError) as error:
        return Partial(f"still being written: {error}", str(error))
    except FormatError as error:
        return Damaged(str(error))
    return Whole(zero_tail=False, step=grid.step)


class MegatronReader:
    """Reads `iter_NNNNNNN/mp_rank_TT[_PPP[_EEE]]/model_optim_rng.pt`."""

    def listing(self, ref: CheckpointRef) -> Listing:
        """Return the model's tensors, slices joined and layers counted over all stages."""
        seen = {each.name: each for each in ref.fingerprint.files}
        grid = load(ref.path, seen, seen)
        check(grid)
        found = _Found()
        for tensors in _parts(grid, found):
            for name, slices in _by_name(tensors).items():
                _take(found, grid, name, slices)
        _name_optimizer(found, grid)
        step = grid.step
        return Listing(
            tuple(found.tensors.values()),
            tuple(found.skipped.values()),
            () if step is None else (("step", str(step)),),
            tuple(found.notes),
        )


@dataclass(slots=True)
class _Found:
    """A listing as it grows."""

    tensors: dict[str, TensorRef] = field(default_factory=dict[str, TensorRef])
    skipped: dict[str, Skipped] = field(default_factory=dict[str, Skipped])
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def _parts(grid: Grid, found: _Found) -> Iterator[list[dict[str, TensorRef]]]:
    """Yield each pipeline stage's tensors, of all tensor-parallel ranks, under global names.

    Interleaved stages hold several chunks: the layers go on from a chunk of all stages to the next
    chunk of all stages (get_transformer_layer_offset of megatron/core/transformer).
    """
    tp, pp, ep = grid.sizes
    before: Counter[str] = Counter()
    for chunk in grid.chunks:
        for stage in range(pp):
            held: dict[str, int] = {}
            experts = 0
            for expert in range(ep):
                files = [grid.files[rank, stage, expert] for rank in range(tp)]
                raw = [_tensors(file, chunk, found) for file in files]
                held = held or stack_sizes(raw[0])
                offsets = Offsets(before, experts)
                rank = expert if ep > 1 else None
                yield [_renamed(tensors, offsets, rank) for tensors in raw]
                experts += experts_held(raw[0])
            before.update(held)


def _renamed(
    tensors: dict[str, TensorRef], offsets: Offsets, expert_rank: int | None
) -> dict[str, TensorRef]:
    found: dict[str, TensorRef] = {}
    for name, tensor in tensors.items():
        if expert_rank and not is_expert(name):
            continue  # the same on every expert-parallel rank
        full = renamed(name, offsets, expert_rank)
        found[full] = replace(tensor, name=full, stored_as=name if full != name else "")
    return found


def _tensors(file: RankFile, chunk: str, found: _Found) -> dict[str, TensorRef]:
    tensors: dict[str, TensorRef] = {}
    for name, value in tensors_in(inside(file.root, chunk)):
        if name.endswith(_EXTRA):
            continue
        tensor = file.tensor(value, name)
        if isinstance(tensor, TensorRef):
            tensors[name] = tensor
        elif tensor is not None:
            found.skipped[name] = tensor
    return tensors


def _by_name(ranks: list[dict[str, TensorRef]]) -> dict[str, list[TensorRef]]:
    names = dict.fromkeys(name for rank in ranks for name in rank)
    return {name: [rank[name] for rank in ranks if name in rank] for name in names}


def _take(found: _Found, grid: Grid, name: str, slices: Sequence[TensorRef]) -> None:
    """Add a tensor unless an earlier stage has it: embeddings are on the last one once more."""
    joined = _joined(grid, name, slices)
    if joined is None:
        reason = f"only {len(slices)} of {grid.sizes[0]} tensor-parallel ranks hold it"
        found.skipped.setdefault(name, Skipped(name, slices[0].dtype, reason))
    elif not any(tensor.name in found.tensors for tensor in joined.tensors):
        found.tensors |= {tensor.name: tensor for tensor in joined.tensors}
        found.notes += joined.notes


def _joined(grid: Grid, name: str, slices: Sequence[TensorRef]) -> Joined | None:
    if len(slices) < grid.sizes[0]:
        return None
    experts = grid.argument("expert_tensor_parallel_size")
    if is_expert(name) and experts is not None and experts != grid.sizes[0] and len(slices) > 1:
        return apart(slices)
    return join(name, slices, gated=_is_gated(grid))


def _is_gated(grid: Grid) -> bool:
    if grid.argument("swiglu", "gated_linear_unit", "geglu") is True:
        return True
    return isinstance(grid.argument("glu_activation"), str)


def _name_optimizer(found: _Found, grid: Grid) -> None:
    """Say why the optimizer's states are not shown: nothing in the files names them."""
    reason = ""
    if inside(grid.first.root, "optimizer") is not None:
        reason = "the optimizer's states are numbered, not named; not shown"
    if grid.argument("use_distributed_optimizer") is True:
        reason = "the distributed optimizer's shards are flat and without names; not shown"
    if reason:
        found.skipped["optimizer"] = Skipped("optimizer", "", reason, is_parameter=False)
