"""What one directory holds, told from names alone: weights, indexes, markers, other formats."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from forkmon.formats.sharded import BIN_INDEX_SUFFIX, INDEX_SUFFIX
from forkmon.runs.looking import Seen, link_target
from forkmon.runs.refs import Ignored
from forkmon.runs.steps import is_recovery
from forkmon.runs.suffixes import is_beside, is_foreign, is_optimizer, is_weights

SENTINEL = "checkpoint-is-incomplete.txt"
UNFINISHED = "-unfinished"
"""NeMo's marker beside a checkpoint that is being written or deleted."""

_TEMPORARY = re.compile(
    r"^(?:tmp[-_.].*|\.tmp.{0,12}|.*[-_.]tmp|.*\.incomplete|.*\.partial|.*\.part|\.staging.*"
    r"|.*\.orbax-checkpoint-tmp.*|recovery_tmp.*)$"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A directory by its real path and by the path the user knows it by."""

    real: Path
    shown: Path
    is_link: bool = False
    is_root: bool = False


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight file: its name in the directory and where its bytes really are."""

    name: str
    real: Path
    is_link: bool = False


@dataclass(slots=True)
class Contents:
    """A directory's entries, sorted into what they mean."""

    place: Place
    names: frozenset[str] = frozenset()
    """Of the entries that are not links, temporary ones left out."""
    weights: list[Weight] = field(default_factory=list[Weight])
    beside: list[Weight] = field(default_factory=list[Weight])
    """Optimizer states, random states and the like."""
    indexes: list[Path] = field(default_factory=list[Path])
    foreign: list[Path] = field(default_factory=list[Path])
    directories: list[Place] = field(default_factory=list[Place])
    ignored: list[Ignored] = field(default_factory=list[Ignored])

    @property
    def is_incomplete(self) -> bool:
        """Return whether its trainer says that it is not finished."""
        return SENTINEL in self.names

    @property
    def optimizer(self) -> list[Weight]:
        """Return the files of the optimizer's state."""
        return [weight for weight in self.beside if is_optimizer(weight.name)]


def is_temporary(name: str) -> bool:
    """Return whether a name is one that writers use until a save is finished."""
    return _TEMPORARY.match(name) is not None


def is_unfinished(name: str, names: frozenset[str]) -> bool:
    """Return whether NeMo's marker says that a checkpoint among `names` is not finished."""
    stem = name.removesuffix(".nemo").removesuffix(".ckpt").removesuffix("-EMA")
    return stem + UNFINISHED in names


def sort_entries(place: Place, entries: tuple[Seen, ...], root: Path) -> Contents:
    """Return a directory's entries sorted by what they mean; links checked against `root`."""
    kept = [entry for entry in entries if not is_temporary(entry.name)]
    contents = Contents(place, frozenset(entry.name for entry in kept if not entry.is_link))
    for entry in entries:
        if is_temporary(entry.name):
            contents.ignored.append(
                Ignored(place.shown / entry.name, "temporary: a save that is not finished")
            )
    for entry in kept:
        if not entry.name.startswith("."):
            _sort_one(contents, entry, root)
    return contents


def _sort_one(contents: Contents, entry: Seen, root: Path) -> None:
    place = contents.place
    shown = place.shown / entry.name
    if not entry.is_link:
        _sort_real(contents, entry, place.real / entry.name, is_dir=entry.is_dir)
        return
    target, why_not = link_target(place.real / entry.name, root)
    if target is not None:
        _sort_real(contents, entry, target, is_dir=target.is_dir())
    elif _matters(entry.name):
        contents.ignored.append(Ignored(shown, why_not))


def _sort_real(contents: Contents, entry: Seen, real: Path, *, is_dir: bool) -> None:
    place, name = contents.place, entry.name
    if is_dir:
        is_link = entry.is_link or place.is_link
        contents.directories.append(Place(real, place.shown / name, is_link=is_link))
    elif is_recovery(name):
        said = "a copy from inside an epoch, for emergencies"
        contents.ignored.append(Ignored(place.shown / name, said))
    elif is_weights(name):
        sort = contents.beside if is_beside(name) else contents.weights
        sort.append(Weight(name, real, entry.is_link))
    elif name.endswith((INDEX_SUFFIX, BIN_INDEX_SUFFIX)):
        contents.indexes.append(real)
    elif is_foreign(name):
        contents.foreign.append(real)


def _matters(name: str) -> bool:
    """Return whether a link that is not followed is worth a word: a log's link is not."""
    return is_weights(name) or name.endswith((INDEX_SUFFIX, BIN_INDEX_SUFFIX)) or "." not in name
