"""What may be a checkpoint: a directory's weight files taken together, or a file of its own."""

from __future__ import annotations

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
from forkmon.formats.proof import Damaged, Partial
from forkmon.formats.sharded import INDEX_SUFFIX, SHARD, read_index, shard_names
from forkmon.runs.contents import SENTINEL, Contents, Weight, is_beside
from forkmon.runs.looking import is_regular, link_target
from forkmon.runs.refs import Ignored
from forkmon.runs.steps import TRAINER_STATE, Named, from_name
from forkmon.text import safe

ShardsOf = Callable[[Path], tuple[str, ...] | Partial | Damaged]
"""The names of the shards an index lists, or what is wrong with the index."""

_MAIN = "model.safetensors"
_ADAPTER = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that looks like a checkpoint and has not been judged yet."""

    path: Path
    files: tuple[Weight, ...]
    """The weight files in name order; empty where they are not known (see `proof`)."""
    watched: tuple[Path, ...]
    """The files whose change makes it worth another look: the weights where known."""
    named: Named | None = None
    index: Path | None = None
    marker: Path | None = None
    """The file that the trainer writes last; it may be missing."""
    held_back: str = ""
    """Why it is not looked at, whatever it holds; empty for most."""
    proof: Partial | Damaged | None = None
    """What is known to be wrong before any weight file is read."""
    is_link: bool = False


def single(weight: Weight, contents: Contents, named: Named | None) -> Candidate:
    """Return the candidate that is one file."""
    return Candidate(
        path=contents.place.shown / weight.name,
        files=(weight,),
        watched=(weight.real,),
        named=named,
        is_link=weight.is_link or contents.place.is_link,
    )


def whole_directory(
    contents: Contents, weights: list[Weight], shards_of: ShardsOf, root: Path
) -> Candidate | None:
    """Return the candidate that a directory itself is, None where it holds no such weights.

    A single file goes before an index: saving over a split checkpoint leaves the old index there.
    """
    by_name = {weight.name: weight for weight in weights}
    main = by_name.get(_MAIN)
    if main is not None:
        return _of(contents, (main,))
    if contents.indexes:
        return _indexed(contents, shards_of, root)
    shards = [weight for weight in weights if SHARD.match(weight.name)]
    if shards:
        return _unindexed(contents, shards)
    rest = [weight for weight in weights if not is_beside(weight.name)] or weights
    chosen = by_name.get(_ADAPTER)
    if chosen is not None:
        return _of(contents, (chosen,))
    return _of(contents, tuple(rest)) if rest else None


def _of(contents: Contents, files: tuple[Weight, ...]) -> Candidate:
    held_back = f"{SENTINEL} is there: its trainer has not finished it"
    return Candidate(
        path=contents.place.shown,
        files=files,
        watched=tuple(weight.real for weight in files),
        # Runs are often called `exp-3`: only a checkpoint's own directory may be a bare number.
        named=from_name(contents.place.shown.name, weak=not contents.place.is_root),
        marker=contents.place.real / TRAINER_STATE,
        held_back=held_back if contents.is_incomplete else "",
        is_link=contents.place.is_link,
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


def _indexed(contents: Contents, shards_of: ShardsOf, root: Path) -> Candidate:
    index = next((i for i in contents.indexes if i.name == "model" + INDEX_SUFFIX), None)
    index = index or contents.indexes[0]
    unknown = replace(_of(contents, ()), watched=(index,), index=index)
    names = shards_of(index)
    if not isinstance(names, tuple):
        return replace(unknown, proof=names)
    weights = {weight.name: weight for weight in contents.weights}
    found = tuple(weights[name] for name in names if name in weights)
    return replace(
        _of(contents, found),
        watched=(index, *(weight.real for weight in found)),
        index=index,
        proof=_missing([n for n in names if n not in weights], len(names), contents, root),
    )


def _unindexed(contents: Contents, shards: list[Weight]) -> Candidate:
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
    candidate = replace(_of(contents, tuple(shards)), proof=proof)
    # The index that would prove it whole is what it waits for, like for any other marker.
    return replace(candidate, index=contents.place.real / ("model" + INDEX_SUFFIX))


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


def not_regular(weights: list[Weight], contents: Contents) -> list[Ignored]:
    """Return a word about each weight file that is a FIFO, a socket or a device."""
    return [
        Ignored(contents.place.shown / weight.name, "not a regular file; not read")
        for weight in weights
        if not is_regular(weight.real)
    ]
