"""Megatron-LM's rank files together: which rank each is of, and whether all are there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats.deepspeed_set import RANK_CAP, sorted_steps
from forkmon.formats.deepspeed_tree import RankFile, count, inside, read_rank, table
from forkmon.runs.refs import FilePrint
from forkmon.text import safe

# megatron/training/checkpointing.py: get_checkpoint_name; `model_rng.pt` is of 2022.
RANK = re.compile(
    r"mp_rank_(?P<tp>[0-9]{2,6})(?:_(?P<second>[0-9]{3,6}))?(?:_(?P<third>[0-9]{3,6}))?/"
    r"(?:model_optim_rng|model_rng)\.pt"
)
Place = tuple[int, int, int]
"""Tensor-parallel, pipeline and expert-parallel rank."""


@dataclass(frozen=True, slots=True)
class Grid:
    """All rank files of a checkpoint by their place, and what they say of the model."""

    files: Mapping[Place, RankFile]
    sizes: Place
    """Tensor-parallel, pipeline and expert-parallel size."""

    @property
    def first(self) -> RankFile:
        """Return the file that speaks for all."""
        return self.files[min(self.files)]

    @property
    def chunks(self) -> tuple[str, ...]:
        """Return the keys of the model's parts: several where pipelines interleave."""
        root = table(self.first.root)
        if "model" in root:
            return ("model",)
        found = [key for key in root if isinstance(key, str) and re.fullmatch("model[0-9]+", key)]
        return tuple(sorted(found, key=lambda key: int(key[5:])))

    @property
    def step(self) -> int | None:
        """Return the iteration that the files name."""
        return count(inside(self.first.root, "iteration"))

    def argument(self, *names: str) -> object:
        """Return the first of the trainer's arguments that is there, None where none is."""
        told = table(inside(self.first.root, "args"))
        return next((told[name] for name in names if told.get(name) is not None), None)


def load(
    directory: Path, names: Iterable[str], seen: Mapping[str, FilePrint] | None = None
) -> Grid:
    """Return the rank files of a directory, no tensor's bytes read; raises what reading raises."""
    numbers: dict[str, tuple[int, ...]] = {}
    for name in sorted(names):
        found = RANK.fullmatch(name)
        if found is not None:
            numbers[name] = tuple(int(each) for each in found.groups() if each is not None)
    if not numbers:
        raise IncompleteError(f"{safe(directory.name)}: no rank's file yet")
    if len({len(each) for each in numbers.values()}) > 1:
        raise FormatError(f"{safe(directory.name)}: rank directories of two saves mixed")
    files = {name: read_rank(directory / name, seen[name] if seen else None) for name in numbers}
    return _grid(numbers, files)


def check(grid: Grid) -> None:
    """Raise IncompleteError where a rank is missing or of another step, FormatError for others."""
    for file in grid.files.values():
        if not any(table(inside(file.root, chunk)) for chunk in grid.chunks):
            raise FormatError(f"{safe(file.path.parent.name)}: no model in it")
    steps = {count(inside(file.root, "iteration")) for file in grid.files.values()}
    if len(steps) > 1:
        raise IncompleteError(f"its rank files are of different steps: {safe(sorted_steps(steps))}")
    tp, pp, ep = grid.sizes
    if tp * pp * ep > RANK_CAP:
        raise FormatError(f"{tp:,} x {pp:,} x {ep:,} ranks are too many")
    expected = set(product(range(tp), range(pp), range(ep)))
    missing = sorted(expected - grid.files.keys())
    if missing:
        raise IncompleteError(
            f"{len(missing):,} of {len(expected):,} ranks not there: tensor-parallel "
            f"{missing[0][0]}, pipeline {missing[0][1]}, expert {missing[0][2]}"
        )
    if grid.files.keys() - expected:
        raise FormatError(f"more rank directories than the {len(expected):,} its arguments promise")


def _grid(numbers: Mapping[str, tuple[int, ...]], files: Mapping[str, RankFile]) -> Grid:
    """Return the files by place: one number beside the first is the pipeline's or the experts'."""
    first = files[min(files)]
    told = inside(first.root, "args")
    pipeline = count(inside(told, "pipeline_model_parallel_size")) or 0
    experts = count(inside(told, "expert_model_parallel_size")) or 0
    by_experts = pipeline <= 1 and experts > 1
    places: dict[Place, RankFile] = {}
    for name, number in numbers.items():
        tp, *rest = number
        if len(rest) == 1 and by_experts:
            rest = [0, *rest]
        pp, ep, *_ = (*rest, 0, 0)
        places[tp, pp, ep] = files[name]
    tensor = count(inside(told, "tensor_model_parallel_size"))
    tensor = tensor or count(inside(told, "model_parallel_size")) or 0
    seen = [1 + max(place[axis] for place in places) for axis in range(3)]
    sizes = (tensor or seen[0], pipeline or seen[1], experts or seen[2])
    return Grid(places, sizes if max(map(len, numbers.values())) > 1 else (sizes[0], 1, 1))
