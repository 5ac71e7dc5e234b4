"""What may be a checkpoint: a directory's weight files taken together, or a file of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from forkmon.errors import (
    AccessError,
    CheckpointError,
    IncompleteError,
    TornError,
    VanishedError,
)
from forkmon.formats.layout import Layout
from forkmon.formats.proof import Damaged, Partial
from forkmon.formats.sharded import BIN_INDEX_SUFFIX, INDEX_SUFFIX, SHARD, read_index, shard_names
from forkmon.runs import markers
from forkmon.runs.contents import SENTINEL, Contents, Weight
from forkmon.runs.gathering import Gathered
from forkmon.runs.looking import link_target
from forkmon.runs.steps import Named, from_name
from forkmon.runs.suffixes import without_suffix
from forkmon.text import safe

ShardsOf = Callable[[Path], tuple[str, ...] | Partial | Damaged]
"""The names of the shards an index lists, or what is wrong with the index."""

_INDEXES = {"safetensors": f"model{INDEX_SUFFIX}", "bin": f"pytorch_model{BIN_INDEX_SUFFIX}"}
_MAIN = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin", "adapter_model.pt")
_RANDOM_STATES = "random_states_0.pkl"
_APART = frozenset({"dcp", "ranks"})
"""Layouts that keep the optimizer's state in files of its own; DeepSpeed's holds weights too."""
_OPTIMIZER = re.compile(r"^optim(?:izer)?(?:_[0-9]+$|_world_size_|$)")
_HEAD_OF_SHARDED = "shard-"
"""How the names of torch's sharded safetensors begin; each rank counts its own."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that looks like a checkpoint and has not been judged yet."""

    path: Path
    files: tuple[Weight, ...]
    """The weight files in name order; empty where they are not known (see `proof`)."""
    watched: tuple[Path, ...]
    """The files whose change makes it worth another look: the weights where known."""
    named: Named | None = None
    directory: Path | None = None
    """Where its files and its side files really are; None for a file of its own."""
    layout: str = ""
    """The format of a directory of many files; empty where the files tell it."""
    must: tuple[Path, ...] = ()
    """Markers without which it is not finished."""
    markers: tuple[Path, ...] = ()
    """Files that its trainer writes after the weights; they may be older than these."""
    trackers: tuple[Path, ...] = ()
    """Notes beside it that say which checkpoint is the newest."""
    optimizer: tuple[Weight, ...] = ()
    """The files of the optimizer's state beside the weights."""
    is_strict: bool = False
    """What its marker says outweighs how long it has been quiet."""
    held_back: str = ""
    """Why it is not looked at, whatever it holds; empty for most."""
    proof: Partial | Damaged | None = None
    """What is known to be wrong before any weight file is read."""
    is_link: bool = False
    is_asked_for: bool = False
    """The user named this very file: whatever it is, an answer is due."""
    is_indexed: bool = False
    """What it is depends on what an index says now."""


def single(weight: Weight, contents: Contents, named: Named | None) -> Candidate:
    """Return the candidate that is one file."""
    place = contents.place
    stem, _ = without_suffix(weight.name)
    number = stem.rpartition("_")[2]
    return Candidate(
        path=place.shown / weight.name,
        files=(weight,),
        watched=(weight.real,),
        named=named,
        markers=markers.beside_file(place.real, stem, contents.names),
        trackers=markers.beside(place.real, contents.names),
        optimizer=tuple(w for w in contents.optimizer if number and f"_{number}_" in w.name),
        is_link=weight.is_link or place.is_link,
    )


def weights_of(
    contents: Contents, weights: list[Weight], shards_of: ShardsOf, root: Path
) -> Candidate | None:
    """Return the candidate that a directory's main weights are, by the names libraries give them.

    A single file goes before an index: saving over a split checkpoint leaves the old index there.
    """
    by_name = {weight.name: weight for weight in weights}
    for suffix, name in _MAIN.items():
        if name in by_name:
            return _of(contents, (by_name[name],))
        indexes = [i for i in contents.indexes if i.name.endswith(f".{suffix}.index.json")]
        if indexes:
            return _indexed(contents, indexes, shards_of, root, suffix)
        shards = [weight for weight in weights if _is_shard(weight, suffix)]
        if shards:
            return _unindexed(contents, shards, suffix)
    return None


def is_main(name: str) -> bool:
    """Return whether a file's name says that its directory is one checkpoint."""
    return name in _MAIN.values() or name in ADAPTERS or SHARD.match(name) is not None


def rest_of(contents: Contents, weights: list[Weight]) -> Candidate | None:
    """Return the candidate that a directory's weights are, whatever they are called."""
    by_name = {weight.name: weight for weight in weights}
    adapter = next((by_name[name] for name in ADAPTERS if name in by_name), None)
    if adapter is not None:
        return _of(contents, (adapter,))
    return _of(contents, tuple(weights)) if weights else None


def laid_out(
    contents: Contents, layout: Layout, gathered: Gathered, *, with_optimizer: bool
) -> Candidate:
    """Return the candidate that a directory of a known layout is.

    Files that hold nothing but the optimizer's state come later, and are read only where wanted.
    """
    real = contents.place.real
    files = tuple(
        Weight(name, real / name)
        for name in layout.files
        if with_optimizer or layout.format not in _APART or not _is_of_optimizer(name)
    )
    candidate = replace(_of(contents, files), layout=layout.format)
    must = markers.required(real, gathered.names, contents.place.shown.name)
    if layout.marker is not None:
        found = real / layout.marker
        candidate = replace(candidate, markers=(*candidate.markers, found))
        if layout.required:
            candidate = replace(candidate, must=(found,))
    if must is not None:
        candidate = replace(candidate, must=(*candidate.must, must))
    there = {real / name for name in gathered.names}
    return replace(
        candidate,
        is_strict=bool(candidate.must),
        proof=_unmarked([path for path in candidate.must if path not in there]),
        watched=(*candidate.watched, *(path for path in candidate.must if path in there)),
    )


def _is_of_optimizer(name: str) -> bool:
    return any(_OPTIMIZER.match(part) for part in name.split("/"))


def _unmarked(missing: list[Path]) -> Partial | None:
    if not missing:
        return None
    said = f"no {safe(missing[0].name)}, which its trainer writes last"
    return Partial(f"still being written: {said}", f"incomplete: {said}")


def _of(contents: Contents, files: tuple[Weight, ...]) -> Candidate:
    place = contents.place
    held_back = f"{SENTINEL} is there: its trainer has not finished it"
    # Runs are often called `exp-3`: only a checkpoint's own directory may be a bare number.
    named = from_name(place.shown.name, weak=not place.is_root)
    if named is not None and named.unit == "step" and _RANDOM_STATES in contents.names:
        # Accelerate counts its saves: checkpoint_3 is the fourth, at whatever step.
        named = named if "checkpoint_" not in place.shown.name else replace(named, unit="number")
    return Candidate(
        path=place.shown,
        files=files,
        watched=tuple(weight.real for weight in files),
        named=named,
        directory=place.real,
        markers=markers.inside(place.real, contents.names),
        optimizer=tuple(contents.optimizer),
        held_back=held_back if contents.is_incomplete else "",
        is_link=place.is_link,
    )


def shards_of(index: Path) -> tuple[str, ...] | Partial | Damaged:
    """Return the names of the shards an index lists, or what is wrong with it."""
    try:
        return shard_names(read_index(index))
    except (IncompleteError, TornError, VanishedError) as error:
        return Partial(f"still being written: {error}", str(error))
    except AccessError as error:
        return Damaged(str(error), final=True)
    except CheckpointError as error:
        return Damaged(str(error))


def held_back(contents: Contents) -> Candidate:
    """Return the candidate of a directory whose trainer says that it is not finished."""
    return _of(contents, ())


def _is_shard(weight: Weight, suffix: str) -> bool:
    match = SHARD.match(weight.name)
    return match is not None and match["suffix"] == suffix and not _is_of_a_rank(weight)


def _is_of_a_rank(weight: Weight) -> bool:
    return weight.name.startswith(_HEAD_OF_SHARDED)


def _indexed(
    contents: Contents, indexes: list[Path], shards_of: ShardsOf, root: Path, suffix: str
) -> Candidate:
    index = next((i for i in indexes if i.name == _INDEXES[suffix]), indexes[0])
    unknown = replace(_of(contents, ()), watched=(index,), must=(index,), is_indexed=True)
    names = shards_of(index)
    if not isinstance(names, tuple):
        return replace(unknown, proof=names)
    weights = {weight.name: weight for weight in contents.weights}
    found = tuple(weights[name] for name in names if name in weights)
    return replace(
        unknown,
        files=found,
        watched=(index, *(weight.real for weight in found)),
        proof=_missing([n for n in names if n not in weights], len(names), contents, root),
    )


def _unindexed(contents: Contents, shards: list[Weight], suffix: str) -> Candidate:
    """Judge shards by the counts in their names; the index comes last, or never."""
    counts = {int(match["count"]) for w in shards if (match := SHARD.match(w.name))}
    count = max(counts)
    proof = None
    if len(counts) > 1:
        said = f"shards of splits into {' and '.join(map(str, sorted(counts)))}, and no index"
        proof = Partial(f"still being written: {said}", said)
    elif len(shards) < count:
        said = f"{len(shards)} of {count} shards"
        proof = Partial(f"still being written: {said}, no index yet", f"{said}, and no index")
    # The index that would prove it whole is what it waits for, like for any other marker.
    index = contents.place.real / _INDEXES[suffix]
    return replace(_of(contents, tuple(shards)), proof=proof, must=(index,), is_indexed=True)


def _missing(
    names: list[str], count: int, contents: Contents, root: Path
) -> Partial | Damaged | None:
    if not names:
        return None
    for name in names:
        link = contents.place.real / name
        if link.is_symlink():
            _, why_not = link_target(link, root)
            return Damaged(f"shard {safe(name)}: {why_not or 'a link'}")
    said = f"{count - len(names)} of {count} shards; {safe(names[0])} is missing"
    return Partial(f"still being written: {said}", said)
