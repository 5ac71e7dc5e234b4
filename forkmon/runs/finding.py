"""Finds what may be a checkpoint in a run directory, two levels deep at most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from forkmon.errors import CheckpointError
from forkmon.formats.opening import no_permission
from forkmon.formats.proof import Damaged
from forkmon.formats.sharded import SHARD
from forkmon.formats.sniff import refusal
from forkmon.runs.candidates import (
    Candidate,
    held_back,
    not_regular,
    shards_of,
    single,
    whole_directory,
)
from forkmon.runs.contents import Contents, Place, Weight, is_beside, sort_entries
from forkmon.runs.looking import Look, Looker
from forkmon.runs.refs import Ignored
from forkmon.runs.steps import from_name
from forkmon.text import safe

CONTAINERS = frozenset({"checkpoints", "checkpoint", "ckpts", "ckpt", "weights", "models", "saves"})
"""Directories of a run that hold its checkpoints; others only when they are the only one."""
_NAMED_RUNS = 5
_DCP = "torch distributed checkpoint (DCP): not read by this version"

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """Answers of a function about files, asked again only for files that changed."""

    def __init__(self, ask: Callable[[Path], Value]) -> None:
        self._ask = ask
        self._known: dict[Path, tuple[tuple[int, ...], Value]] = {}
        self._asked: set[Path] = set()

    def __call__(self, path: Path) -> Value:
        """Return the answer for a file as it is now."""
        self._asked.add(path)
        try:
            found = path.stat()
        except (OSError, ValueError):
            return self._ask(path)
        mark = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        known = self._known.get(path)
        if known is None or known[0] != mark:
            known = self._known[path] = (mark, self._ask(path))
        return known[1]

    def drop_unasked(self) -> None:
        """Forget the files that nobody asked about since the last call: they are gone."""
        for path in self._known.keys() - self._asked:
            del self._known[path]
        self._asked.clear()


@dataclass(slots=True)
class Found:
    """Everything a look at a run directory turned up."""

    candidates: list[Candidate] = field(default_factory=list[Candidate])
    ignored: list[Ignored] = field(default_factory=list[Ignored])
    note: str = ""
    error: OSError | None = None
    """Why the run directory itself could not be looked into."""

    def add(self, other: Found) -> None:
        """Take in what another directory held."""
        self.candidates += other.candidates
        self.ignored += other.ignored


class Finder:
    """Looks through a run directory; remembers what has not changed."""

    def __init__(self, looker: Looker) -> None:
        self._looker = looker
        self._shards_of = Remembered(shards_of)
        self._refusal = Remembered(_refusal)
        self._plain: dict[Place, tuple[Look, Found]] = {}
        self._visited: set[Path] = set()
        self._root = Path()

    def find(self, root: Place) -> Found:
        """Return what is in a run directory."""
        self._root = root.real
        self._visited = {root.real}
        look = self._looker.look(root.real)
        if look.error is not None:
            return Found(error=look.error)
        contents = sort_entries(root, look.entries, root.real)
        found = self._files(contents, is_root=True)
        others: list[Place] = []
        for place in contents.directories:
            child = self._child(place)
            found.add(child)
            if not child.candidates:
                others.append(place)
        if not found.candidates and others:
            self._only_run(others, found)
        if look.capped:
            found.note = f"only the first {len(look.entries):,} entries of {safe(root.shown)} read"
        self._drop_gone()
        return found

    def _drop_gone(self) -> None:
        """Forget what rotation took away: a run goes on for weeks."""
        self._looker.keep_only(self._visited)
        self._shards_of.drop_unasked()
        self._refusal.drop_unasked()
        for gone in [place for place in self._plain if place.real not in self._visited]:
            del self._plain[gone]

    def _child(self, place: Place) -> Found:
        """Return what a directory of the run holds, told anew only where it changed."""
        look = self._looker.look(place.real)
        known = self._plain.get(place)
        if known is not None and known[0] is look:
            self._visited.add(place.real)
            return known[1]
        found = self._child_anew(place)
        has_links = any(entry.is_link for entry in look.entries)
        is_one = len(found.candidates) == 1 and place.shown.name not in CONTAINERS
        if is_one and not has_links and found.candidates[0].index is None:
            self._plain[place] = (look, found)
        return found

    def _child_anew(self, place: Place) -> Found:
        """Return what a directory of the run is or, for a container, holds."""
        contents, found = self._sorted(place)
        if contents is None:
            return found
        named = from_name(place.shown.name)
        if contents.is_incomplete and not contents.weights:
            return Found([held_back(contents)])
        if place.shown.name in CONTAINERS:
            found = self._files(contents, is_root=False)
            for inner in contents.directories:
                found.add(self._leaf(inner))
            return found
        return self._leaf(place) if named or contents.weights or contents.indexes else found

    def _leaf(self, place: Place) -> Found:
        """Return the checkpoint that a directory is, or why it is none."""
        contents, found = self._sorted(place)
        if contents is None:
            return found
        if contents.is_incomplete and not contents.weights:
            return Found([held_back(contents)])
        candidate = whole_directory(contents, contents.weights, self._shards_of, self._root)
        if candidate is not None:
            return Found([candidate], not_regular(contents.weights, contents))
        if from_name(place.shown.name) is None:
            return Found()
        why_none = contents.ignored or [Ignored(place.shown, self._why_none(contents))]
        return Found(ignored=why_none)

    def _files(self, contents: Contents, *, is_root: bool) -> Found:
        """Return the checkpoints that are single files here, and the directory's own weights."""
        found = Found(ignored=contents.ignored + not_regular(contents.weights, contents))
        odd = {ignored.path.name for ignored in found.ignored}
        weights = [weight for weight in contents.weights if weight.name not in odd]
        own = [weight for weight in weights if SHARD.match(weight.name)]
        for weight in weights:
            if weight in own:
                continue
            named = from_name(weight.name)
            if named is None:
                own.append(weight)
            elif is_beside(weight.name):
                reason = "optimizer or random state: not read by this version"
                found.ignored.append(Ignored(contents.place.shown / weight.name, reason))
            else:
                found.candidates.append(single(weight, contents, named))
        self._add_own(contents, own, found)
        if is_root or not contents.weights:
            found.ignored += self._foreign(contents)
        return found

    def _add_own(self, contents: Contents, own: list[Weight], found: Found) -> None:
        """Add the weights that belong to the directory as a whole (the final model, mostly)."""
        whole = whole_directory(contents, own, self._shards_of, self._root)
        if whole is None:
            return
        if len(whole.files) > 1 and whole.index is None:
            found.candidates += [single(weight, contents, None) for weight in whole.files]
            return
        found.candidates.append(whole)

    def _only_run(self, others: list[Place], found: Found) -> None:
        """Look one level deeper for the one directory that holds checkpoints."""
        runs = [(place, inner) for place in others if (inner := self._inner(place)).candidates]
        if len(runs) == 1:
            found.add(runs[0][1])
        elif runs:
            names = ", ".join(safe(place.shown.name, 40) for place, _ in runs[:_NAMED_RUNS])
            more = ", …" if len(runs) > _NAMED_RUNS else ""
            found.note = f"holds {len(runs)} runs ({names}{more}): name one of them"

    def _inner(self, place: Place) -> Found:
        contents, found = self._sorted(place)
        if contents is None:
            return found
        found = self._files(contents, is_root=False)
        for inner in contents.directories:
            if from_name(inner.shown.name) is not None:
                found.add(self._leaf(inner))
        return found

    def _sorted(self, place: Place) -> tuple[Contents | None, Found]:
        """Return a directory's sorted contents, or what to say about one that stays closed."""
        self._visited.add(place.real)
        look = self._looker.look(place.real)
        if look.error is None:
            return sort_entries(place, look.entries, self._root), Found()
        if not isinstance(look.error, PermissionError):
            return None, Found()  # rotated away between the two looks
        reason = no_permission(place.real)
        named = from_name(place.shown.name)
        if named is None:
            return None, Found(ignored=[Ignored(place.shown, reason)])
        closed = Candidate(place.shown, (), (place.real,), named, proof=Damaged(reason, final=True))
        return None, Found([closed])

    def _why_none(self, contents: Contents) -> str:
        if contents.is_dcp:
            return _DCP
        for path in contents.foreign:
            reason = "" if is_beside(path.name) else self._refusal(path)
            if reason:
                return f"{reason} ({safe(path.name)})"
        return "no weight files in it yet"

    def _foreign(self, contents: Contents) -> list[Ignored]:
        shown = contents.place.shown
        if contents.is_dcp:
            return [Ignored(shown, _DCP)]
        reasons = ((p, self._refusal(p)) for p in contents.foreign if not is_beside(p.name))
        return [Ignored(shown / path.name, reason) for path, reason in reasons if reason]


def _refusal(path: Path) -> str:
    try:
        return refusal(path)
    except CheckpointError as error:
        return str(error)
