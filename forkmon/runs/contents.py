"""What one directory holds, told from names alone: weights, indexes, markers, foreign formats."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from forkmon.formats.sharded import INDEX_SUFFIX, SHARD
from forkmon.runs.looking import Seen, link_target
from forkmon.runs.refs import Ignored

WEIGHTS_SUFFIX = ".safetensors"
SENTINEL = "checkpoint-is-incomplete.txt"

_TEMPORARY = re.compile(
    r"^(?:tmp-checkpoint-.*|\.tmp.{0,12}|.*\.tmp|.*-tmp|.*\.incomplete|checkpoint_tmp|\.staging.*"
    r"|.*\.orbax-checkpoint-tmp.*|recovery_tmp.*|tmp\.pth\.tar)$"
)
_FOREIGN = (
    ".pt", ".pth", ".bin", ".ckpt", ".tar", ".h5", ".hdf5", ".keras", ".msgpack", ".npz", ".gguf",
    ".distcp", ".pkl", ".nemo",
)  # fmt: skip
_BESIDE = re.compile(
    r"(?:^|[-_.])(?:optim|optimizer|scheduler|scaler|rng|rng_state|random_states|training_args)"
    r"(?:[-_.0-9]|$)",
    re.IGNORECASE,
)
_DCP_NAMES = frozenset({".metadata", "pytorch_model_fsdp_0"})


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
    weights: list[Weight] = field(default_factory=list[Weight])
    indexes: list[Path] = field(default_factory=list[Path])
    foreign: list[Path] = field(default_factory=list[Path])
    directories: list[Place] = field(default_factory=list[Place])
    ignored: list[Ignored] = field(default_factory=list[Ignored])
    is_dcp: bool = False
    is_incomplete: bool = False

    @property
    def shards(self) -> list[Weight]:
        """Return the weight files that are parts of a split checkpoint."""
        return [weight for weight in self.weights if SHARD.match(weight.name)]

    @property
    def singles(self) -> list[Weight]:
        """Return the weight files that stand alone."""
        return [weight for weight in self.weights if not SHARD.match(weight.name)]


def is_temporary(name: str) -> bool:
    """Return whether a name is one that writers use until a save is finished."""
    return _TEMPORARY.match(name) is not None


def is_beside(name: str) -> bool:
    """Return whether a name is of a file that is saved beside the weights, not of weights."""
    return _BESIDE.search(name) is not None


def sort_entries(place: Place, entries: tuple[Seen, ...], root: Path) -> Contents:
    """Return a directory's entries sorted by what they mean; links checked against `root`."""
    contents = Contents(place)
    for entry in entries:
        if entry.name in _DCP_NAMES:
            contents.is_dcp = True
        elif entry.name == SENTINEL:
            contents.is_incomplete = True
        elif is_temporary(entry.name):
            contents.ignored.append(
                Ignored(place.shown / entry.name, "temporary: a save that is not finished")
            )
        elif not entry.name.startswith("."):
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
    place = contents.place
    if is_dir:
        is_link = entry.is_link or place.is_link
        contents.directories.append(Place(real, place.shown / entry.name, is_link=is_link))
    elif entry.name.endswith(WEIGHTS_SUFFIX):
        contents.weights.append(Weight(entry.name, real, entry.is_link))
    elif entry.name.endswith(INDEX_SUFFIX):
        contents.indexes.append(real)
    elif entry.name.lower().endswith(_FOREIGN):
        contents.is_dcp = contents.is_dcp or entry.name.endswith(".distcp")
        contents.foreign.append(real)


def _matters(name: str) -> bool:
    """Return whether a link that is not followed is worth a word: a log's link is not."""
    return name.endswith((WEIGHTS_SUFFIX, INDEX_SUFFIX)) or "." not in name
