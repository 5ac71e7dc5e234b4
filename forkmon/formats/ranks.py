"""Checkpoints in which each rank saved its own share of all tensors, joined over the ranks."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forkmon.errors import AccessError, FormatError, IncompleteError, TornError, VanishedError
from forkmon.formats.layout import Layout
from forkmon.formats.opening import file_print, open_as_seen
from forkmon.formats.optimizer_names import is_counter, state_name
from forkmon.formats.proof import Damaged, Partial, Proof, Whole
from forkmon.formats.ranks_join import Joined
from forkmon.formats.ranks_parts import parts_of
from forkmon.formats.refs import Listing, Role
from forkmon.formats.torch_file import TorchFile, read_torch
from forkmon.runs.refs import CheckpointRef, FilePrint
from forkmon.text import safe

_WORLD_CAP = 1 << 20
_VERL = re.compile(
    r"(?P<stem>(?P<directory>(?:actor|critic)/)?(?P<kind>model|optim)_world_size_"
    r"(?P<world>[1-9]\d{0,6}))_rank_(?P<rank>\d{1,7})\.pt"
)
_FSDP = re.compile(
    r"(?P<stem>(?P<directory>)(?P<kind>pytorch_model_fsdp|optimizer)(?:_\d{1,4})?)_rank"
    r"(?P<rank>\d{1,7})\.bin"
)


@dataclass(frozen=True, slots=True)
class _Named:
    """What a rank's file is, told from its name."""

    stem: str
    directory: str
    role: Role
    rank: int
    world: int
    """0 where the name does not say."""


@dataclass(slots=True)
class _Set:
    """The files of all ranks of one state dict."""

    named: _Named
    files: dict[int, tuple[Path, FilePrint]] = field(
        default_factory=dict[int, tuple[Path, FilePrint]]
    )

    def world(self) -> int:
        """Return how many ranks there are; IncompleteError where one of them is missing."""
        world = self.named.world or max(self.files) + 1
        missing = next((rank for rank in range(world) if rank not in self.files), None)
        if world > _WORLD_CAP or len(self.files) > world:
            raise FormatError(f"{safe(self.named.stem)}: more ranks than it says ({world:,})")
        if missing is not None:
            raise IncompleteError(
                f"{safe(self.named.stem)}: the file of rank {missing:,} of {world:,} is not there"
            )
        return world


class RanksReader:
    """Reads what FSDP and verl leave: a torch file for each rank."""

    def listing(self, ref: CheckpointRef) -> Listing:
        """Return the tensors, each joined over the ranks by what they say of its parts."""
        sets = _sets(list(zip(ref.files, ref.fingerprint.files, strict=True)))
        several = len({one.named.directory for one in sets}) > 1
        found: list[Listing] = []
        for one in sets:
            prefix = one.named.directory.replace("/", ".") if several else ""
            found.append(_joined(one).listing(prefix))
        return Listing(
            tuple(tensor for part in found for tensor in part.tensors),
            tuple(skip for part in found for skip in part.skipped),
            (),
            tuple(note for part in found for note in part.notes),
        )


def recognise(names: frozenset[str]) -> Layout | None:
    """Return the layout of a directory with a file for each rank."""
    told = [named for name in names if (named := _named(name)) is not None]
    if not any(named.role == "model" for named in told):
        return None
    at_top = any(not named.directory for named in told)
    wanted = sorted(
        name for name in names
        if (named := _named(name)) is not None and (not at_top or not named.directory)
    )  # fmt: skip
    return Layout("ranks", tuple(wanted))


def prove(directory: Path, files: Sequence[str]) -> Proof:
    """Return whether the files of all ranks are there, each of them whole."""
    try:
        seen = [(directory / name, file_print(name, os.lstat(directory / name))) for name in files]
        for one in _sets(seen):
            one.world()
            for path, print_ in one.files.values():
                _read(path, print_)
    except (FormatError, AccessError) as error:
        return Damaged(str(error))
    except (IncompleteError, TornError, VanishedError) as error:
        return Partial(f"still being written: {error}", f"incomplete: {error}")
    except FileNotFoundError as error:
        return Partial("still being written", f"incomplete: {safe(error)}")
    return Whole(zero_tail=False)


def _named(name: str) -> _Named | None:
    match = _VERL.fullmatch(name) or _FSDP.fullmatch(name)
    if match is None:
        return None
    groups = match.groupdict()
    role: Role = "optimizer" if groups["kind"].startswith("optim") else "model"
    world = int(groups.get("world") or 0)
    return _Named(groups["stem"], groups["directory"] or "", role, int(groups["rank"]), world)


def _sets(files: Sequence[tuple[Path, FilePrint]]) -> list[_Set]:
    found: dict[str, _Set] = {}
    for path, seen in files:
        named = _named(seen.name)
        if named is not None:
            one = found.setdefault(named.stem, _Set(named))
            if one.files.setdefault(named.rank, (path, seen))[0] != path:
                raise FormatError(f"{safe(named.stem)}: two files of rank {named.rank:,}")
    return [found[stem] for stem in sorted(found)]


def _read(path: Path, seen: FilePrint) -> TorchFile:
    fd = open_as_seen(path, seen)
    try:
        return read_torch(fd, seen.size, path)
    finally:
        os.close(fd)


def _joined(one: _Set) -> Joined:
    """Return what the tensors of a set of files come to."""
    world = one.world()
    joined = Joined(one.named.role)
    for rank in range(world):
        path, seen = one.files[rank]
        file = _read(path, seen)
        for name, part in parts_of(file.root, rank, world):
            if one.named.role == "model":
                joined.take(name, part, path, file.storages)
            elif not is_counter(name):
                joined.take(state_name(name), part, path, file.storages)
    return joined
