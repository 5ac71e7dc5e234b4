"""A DeepSpeed checkpoint's files together: read, and shown to be all of one save."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats.deepspeed_names import Part
from forkmon.formats.deepspeed_tree import RankFile, count, inside, read_rank, row, table
from forkmon.runs.refs import FilePrint
from forkmon.text import safe

RANK_CAP = 1 << 20
"""Most ranks a file may promise."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Ranked:
    """One file and which part of the checkpoint it is."""

    part: Part
    file: RankFile


@dataclass(frozen=True, slots=True)
class RankSet:
    """All files of a checkpoint."""

    files: tuple[Ranked, ...]

    def of(self, kind: str, mp: int | None = None) -> list[Ranked]:
        """Return the files of a kind, of one model-parallel rank or of all, by rank."""
        found = [
            each
            for each in self.files
            if each.part.kind == kind and (mp is None or each.part.mp == mp)
        ]
        return sorted(found, key=lambda each: (each.part.mp, each.part.dp or 0, each.part.file))

    @property
    def mp_ranks(self) -> list[int]:
        """Return the model-parallel ranks that wrote states, in order."""
        return sorted({each.part.mp for each in self.files if each.part.kind == "states"})

    @property
    def is_pipeline(self) -> bool:
        """Return whether each layer has a file of its own."""
        return any(each.part.kind == "layer" for each in self.files)

    @property
    def tensor_parallel(self) -> int:
        """Return how many ranks hold slices of the same tensors."""
        if self.is_pipeline:
            return 1 + max(each.part.mp for each in self.of("layer"))
        states = self.of("states")
        told = inside(states[0].file.root, "checkpoint_parallel_dimensions", "tp_degree")
        return count(told) or max(1, len(self.mp_ranks)) if states else 1

    @property
    def step(self) -> int | None:
        """Return the step that the files name."""
        found = (count(inside(each.file.root, "global_steps")) for each in self.of("states"))
        return next((step for step in found if step is not None), None)


def load(
    directory: Path, parts: Iterable[Part], seen: Mapping[str, FilePrint] | None = None
) -> RankSet:
    """Return the files of a checkpoint, no tensor's bytes read; raises what reading one raises."""
    return RankSet(
        tuple(
            Ranked(part, read_rank(directory / part.file, seen[part.file] if seen else None))
            for part in parts
        )
    )


def check(ranks: RankSet) -> None:
    """Raise IncompleteError where a file is missing, FormatError where one is of another kind."""
    for each in ranks.files:
        if each.part.kind != "universal" and not table(each.file.root):
            raise FormatError(
                f"{safe(each.file.path.name)}: nothing of a checkpoint in it; "
                "a placeholder of a storage service?"
            )
    states = ranks.of("states")
    steps = {count(inside(each.file.root, "global_steps")) for each in states}
    if len(steps) > 1:
        raise IncompleteError(f"its rank files are of different steps: {safe(sorted_steps(steps))}")
    if not states:
        if ranks.of("universal"):
            return
        raise IncompleteError("no model_states file yet")
    _require(_expected_states(states), {_rank(each.part) for each in states}, "model_states")
    _check_optim(ranks, states)
    _check_layers(ranks, states)
    _check_experts(ranks, states[0])


def sorted_steps(steps: set[int | None]) -> list[int]:
    """Return the steps among what files name, in order."""
    return sorted(step for step in steps if step is not None)


def _rank(part: Part) -> tuple[int, ...]:
    return (part.mp,) if part.dp is None else (part.mp, part.dp)


def _promised(states: Ranked) -> tuple[int, int]:
    """Return how many model-parallel and data-parallel ranks a file says there are."""
    root = states.file.root
    mp = count(inside(root, "mp_world_size")) or 1
    dp = count(inside(root, "dp_world_size")) or 1
    if mp * dp > RANK_CAP:
        raise FormatError(f"{safe(states.file.path.name)}: {mp:,} x {dp:,} ranks are too many")
    return mp, dp


def _expected_states(states: Sequence[Ranked]) -> set[tuple[int, ...]]:
    mp, dp = _promised(states[0])
    if states[0].part.dp is None:
        return {(rank,) for rank in range(mp)}
    return {(rank, replica) for rank in range(mp) for replica in range(dp)}


def _check_optim(ranks: RankSet, states: Sequence[Ranked]) -> None:
    """Raise unless all optimizer files are there, or none while no weights lie in them alone."""
    found = {_rank(each.part) for each in ranks.of("optim")}
    is_split = states[0].part.dp is not None
    if not row(inside(states[0].file.root, "param_shapes")) or not (found or is_split):
        return
    if ranks.of("universal"):
        return
    mp, dp = _promised(states[0])
    expected: set[tuple[int, ...]] = {
        (rank, replica) for rank in range(mp) for replica in range(dp)
    }
    _require(expected, found, "optim_states")


def _check_layers(ranks: RankSet, states: Sequence[Ranked]) -> None:
    """Raise unless each layer that the states name has a file of every tensor-parallel rank."""
    layers = ranks.of("layer")
    has_module = any(table(inside(each.file.root, "module")) for each in states)
    if not layers and not has_module and states[0].part.dp is None:
        raise IncompleteError("its states hold no module, and no layer file is there yet")
    if not layers:
        return
    named = {each.part.layer for each in layers} | {
        int(head)
        for each in states
        for group in row(inside(each.file.root, "param_shapes"))
        for name in table(group)
        if (head := str(name).partition(".")[0]).isascii() and head.isdecimal() and len(head) < 7
    }
    expected: set[tuple[int, ...]] = {
        (layer, rank) for layer in named for rank in range(ranks.tensor_parallel)
    }
    _require(expected, {(each.part.layer, each.part.mp) for each in layers}, "layer file")


def _check_experts(ranks: RankSet, states: Ranked) -> None:
    experts = ranks.of("expert")
    promised = [count(each) or 0 for each in row(inside(states.file.root, "num_experts"))]
    if sum(promised) > RANK_CAP:
        raise FormatError(f"{safe(states.file.path.name)}: {sum(promised):,} experts are too many")
    by_layer = {each.part.layer for each in experts} - {-1}
    if not any(size > 1 for size in promised) or (experts and not by_layer):
        return  # no mixture, or files of the time before layers were numbered
    if len(promised) == 1 and by_layer:
        promised *= 1 + max(by_layer)
    expected: set[tuple[int, ...]] = {
        (layer, index) for layer, size in enumerate(promised) for index in range(size)
    }
    _require(expected, {(each.part.layer, each.part.expert) for each in experts}, "expert file")


def _require(expected: set[tuple[int, ...]], found: set[tuple[int, ...]], what: str) -> None:
    missing = sorted(expected - found)
    if not missing:
        return
    shown = ", ".join(" ".join(map(str, rank)) for rank in missing[:_SHOWN])
    more = ", …" if len(missing) > _SHOWN else ""
    raise IncompleteError(
        f"{len(missing):,} of {len(expected):,} {what} not there: rank {shown}{more}"
    )
