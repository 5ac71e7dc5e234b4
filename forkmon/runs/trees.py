"""Checkpoints that are directories of directories: which layout they have, looked at sparingly."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from forkmon.runs import markers
from forkmon.runs.candidates import Candidate, is_main, laid_out, rest_of, shards_of, weights_of
from forkmon.runs.contents import Contents, Place, sort_entries
from forkmon.runs.gathering import Gathered, gather
from forkmon.runs.looking import Looker
from forkmon.runs.steps import from_name, is_alias, is_checkpoint_name
from forkmon.runs.suffixes import is_beside, is_weights

FRESH_SECONDS = 600.0
"""While a tree is younger than this, each of its directories is asked at every poll."""
_ASKED_ALWAYS = 8
"""Directories of an older tree that are asked at every poll, its own first."""

_HINT = re.compile(
    r"^(?:\.metadata|.*\.distcp|.*_model_states\.pt|.*_optim_states\.pt|mp_rank_[0-9]{2}.*"
    r"|model_and_optim|pytorch_model_fsdp.*|.*world_size_[0-9]+_rank_[0-9]+\.pt"
    r"|shard-[0-9]{5}-.*\.safetensors|sharded|checkpoint_metadata\.json|lit_model\.pth)$"
)
_NOT_THE_MODEL = frozenset({
    "critic", "ref", "reference", "merged", "optimizer", "optim", "logs", "runs", "wandb",
    "train", "context", "random", "lr_scheduler", "rng", "dataloader", "tokenizer", "data",
})  # fmt: skip
_PREFERRED = ("consolidated", "model", "actor", "huggingface", "hf", "default", "sharded")


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory that was gathered, and what it turned out to be."""

    candidate: Candidate | None
    gathered: Gathered
    seen_at: float

    @property
    def directories(self) -> list[Path]:
        """Return the directories that it was told from."""
        return [path for path, _ in self.gathered.looks]


def is_hinted(contents: Contents) -> bool:
    """Return whether a directory holds what only checkpoints of many files hold."""
    return any(_HINT.match(name) for name in contents.names)


def may_be(contents: Contents) -> bool:
    """Return whether it is worth looking below a directory."""
    return is_checkpoint_name(contents.place.shown.name) or is_hinted(contents)


def is_one(contents: Contents) -> bool:
    """Return whether a directory in a run is a checkpoint, or nothing; others hold a run."""
    name = contents.place.shown.name
    if is_checkpoint_name(name) or contents.is_incomplete or is_hinted(contents):
        return True
    if contents.indexes or any(is_main(weight.name) for weight in contents.weights):
        # A final model beside checkpoints is a run's.
        return not any(is_checkpoint_name(place.shown.name) for place in contents.directories)
    if is_alias(name):
        return bool(contents.weights)
    steps = [weight for weight in contents.weights if from_name(weight.name, weak=False)]
    return from_name(name) is not None and bool(contents.weights) and not steps


class Trees:
    """Gathers trees and asks again only where they may have changed."""

    def __init__(self, looker: Looker, wall: Callable[[], float], *, with_optimizer: bool) -> None:
        self._looker = looker
        self._wall = wall
        self._with_optimizer = with_optimizer

    def candidate(self, contents: Contents, visited: set[Path]) -> Tree:
        """Return what the tree below a directory is; its directories are added to `visited`."""
        gathered = gather(contents.place.real, self._looker)
        tree = Tree(self._candidate(contents, gathered), gathered, self._wall())
        visited.update(tree.directories)
        return tree

    def is_unchanged(self, tree: Tree) -> bool:
        """Return whether a tree that was gathered is as it was, as far as is worth asking."""
        is_fresh = self._wall() - tree.seen_at < FRESH_SECONDS
        first = len(tree.gathered.looks) if is_fresh else _ASKED_ALWAYS
        return tree.gathered.unchanged(self._looker, first=first)

    def _candidate(self, contents: Contents, gathered: Gathered) -> Candidate | None:
        from forkmon.formats import layouts  # numpy: only where there is such a directory

        if gathered.capped:
            return None
        layout = layouts.recognise(gathered.names)
        if layout is not None:
            return laid_out(contents, layout, gathered, with_optimizer=self._with_optimizer)
        return self._inner_layout(contents, gathered) or self._inner_weights(contents, gathered)

    def _inner_layout(self, contents: Contents, gathered: Gathered) -> Candidate | None:
        """Return the layout of the directory's only part that has one."""
        from forkmon.formats import layouts

        for part in _parts(contents, gathered.names):
            prefix = part + "/"
            names = frozenset(
                name.removeprefix(prefix) for name in gathered.names if name.startswith(prefix)
            )
            layout = layouts.recognise(names)
            if layout is not None:
                inner = _inside(contents, part)
                below = replace(gathered, names=names)
                found = laid_out(inner, layout, below, with_optimizer=self._with_optimizer)
                return _as_outer(found, contents)
        return None

    def _inner_weights(self, contents: Contents, gathered: Gathered) -> Candidate | None:
        """Return the weights of the part of the directory that is most likely the model."""
        if any(is_weights(name) and "/" not in name and not is_beside(name)
               for name in gathered.names):  # fmt: skip
            return None
        looks = dict(gathered.looks)
        for part in _parts(contents, gathered.names):
            inner = _inside(contents, part)
            look = looks.get(inner.place.real)
            if look is None:
                continue
            sorted_ = sort_entries(inner.place, look.entries, contents.place.real)
            found = weights_of(sorted_, sorted_.weights, shards_of, contents.place.real)
            found = found or rest_of(sorted_, sorted_.weights)
            if found is not None:
                return _as_outer(found, contents)
        return None


def _parts(contents: Contents, names: frozenset[str]) -> list[str]:
    """Return the directories that hold files, those most likely to be the model first."""
    named = from_name(contents.place.shown.name)
    step = None if named is None else named.step
    every: set[str] = set()
    for name in names:
        every.update(map(str, PurePosixPath(name).parents))
    kept = [part for part in every - {"."} if all(_is_part(p, step) for p in part.split("/"))]
    return sorted(kept, key=_preference)


def _is_part(name: str, step: int | None) -> bool:
    """Return whether a directory may be a part of a checkpoint, not a checkpoint of its own."""
    inner = from_name(name, weak=False)
    return name not in _NOT_THE_MODEL and (inner is None or inner.step == step)


def _preference(part: str) -> tuple[int, int, str]:
    last = part.rpartition("/")[2]
    rank = _PREFERRED.index(last) if last in _PREFERRED else len(_PREFERRED)
    return part.count("/"), rank, part


def _inside(contents: Contents, part: str) -> Contents:
    place = contents.place
    return Contents(Place(place.real / part, place.shown / part, is_link=place.is_link))


def _as_outer(found: Candidate, contents: Contents) -> Candidate:
    """Give the inner directory the step and the markers of the one that is the checkpoint."""
    place = contents.place
    outer = markers.inside(place.real, contents.names)
    named = from_name(place.shown.name, weak=not place.is_root)
    return replace(found, named=named, markers=(*found.markers, *outer))
