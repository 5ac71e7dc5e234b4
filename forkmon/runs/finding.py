"""Finds what may be a checkpoint in a run directory, a bounded number of levels deep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from forkmon.formats.opening import no_permission
from forkmon.formats.proof import Damaged
from forkmon.runs import hub, markers, trees
from forkmon.runs.candidates import (
    Candidate,
    held_back,
    rest_of,
    shards_of,
    weights_of,
)
from forkmon.runs.contents import (
    Contents,
    Place,
    is_unfinished,
    sort_entries,
)
from forkmon.runs.found import Found
from forkmon.runs.looking import Look, Looker, Stats
from forkmon.runs.refs import Ignored
from forkmon.runs.remembered import Remembered
from forkmon.runs.singles import Singles, unfinished
from forkmon.runs.steps import from_name, is_checkpoint_name
from forkmon.text import safe

CONTAINERS = frozenset({"checkpoints", "checkpoint", "ckpts", "ckpt", "weights", "models", "saves"})
"""Directories of a run that hold its checkpoints; others only when they are the only one."""
RUN_DEPTH = 4
"""Levels of directories that may lead to the only run below the one that was named."""
_NAMED_RUNS = 5
_DIRECTORIES_LOOKED_INTO = 500
"""In search of the only run below a directory without checkpoints."""


@dataclass(frozen=True, slots=True)
class _Beside:
    """What lies beside a directory and says something about it."""

    is_unfinished: bool
    trackers: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """What a directory held, and what that was told from."""

    look: Look
    beside: _Beside
    found: Found
    tree: trees.Tree | None


class Finder:
    """Looks through a run directory; remembers what has not changed."""

    def __init__(
        self,
        looker: Looker,
        stats: Stats,
        wall: Callable[[], float],
        *,
        with_optimizer: bool = False,
    ) -> None:
        self._looker = looker
        self._stats = stats
        self._trees = trees.Trees(looker, wall, with_optimizer=with_optimizer)
        self._shards_of = Remembered(shards_of, stats)
        self._singles = Singles(stats, self._shards_of)
        self._plain: dict[Place, _Known] = {}
        self._known_contents: dict[Place, tuple[Look, Contents]] = {}
        self._visited: set[Path] = set()
        self._root = Path()
        self._left = 0

    def find(self, root: Place) -> Found:
        """Return what is in a run directory."""
        self._root = root.real
        self._visited = {root.real}
        self._left = _DIRECTORIES_LOOKED_INTO
        look = self._looker.look(root.real)
        if look.error is not None:
            return Found(error=look.error)
        contents = self._contents(root, look)
        found = self._own_tree(contents) or self._run(contents, RUN_DEPTH)
        if look.capped:
            found.note = f"only the first {len(look.entries):,} entries of {safe(root.shown)} read"
        self._drop_gone()
        return found

    def _own_tree(self, contents: Contents) -> Found | None:
        """Return the one checkpoint that the run directory itself is, None where it is a run."""
        if not trees.may_be(contents) or any(
            is_checkpoint_name(place.shown.name) for place in contents.directories
        ):
            return None
        if weights_of(contents, contents.weights, self._shards_of, self._root) is not None:
            return None
        candidate = self._trees.candidate(contents, self._visited).candidate
        return None if candidate is None else Found([candidate])

    def _run(self, contents: Contents, depth: int) -> Found:
        """Return what a directory holds as a run, or the only run that is somewhere below it."""
        found = self._singles.find(contents, self._root)
        others: list[Place] = []
        for place in contents.directories:
            child = self._child(place, contents)
            found.add(child)
            if not child.candidates and not is_checkpoint_name(place.shown.name):
                others.append(place)
        if not found.candidates and others and depth:
            self._only_run(others, found, depth - 1)
        elif contents.place.shown.name == hub.SNAPSHOTS and not contents.place.is_root:
            found.candidates = hub.named_by_revision(
                found.candidates, contents.place.real, self._looker
            )
        return found

    def _drop_gone(self) -> None:
        """Forget what rotation took away: a run goes on for weeks."""
        self._looker.keep_only(self._visited)
        self._shards_of.drop_unasked()
        self._singles.keep_only(self._visited)
        for memory in (self._plain, self._known_contents):
            for gone in [place for place in memory if place.real not in self._visited]:
                del memory[gone]

    def _child(self, place: Place, parent: Contents) -> Found:
        """Return what a directory of the run holds, told anew only where it changed."""
        look = self._looker.look(place.real)
        beside = _Beside(
            is_unfinished(place.shown.name, parent.names),
            markers.beside(parent.place.real, parent.names),
        )
        known = self._plain.get(place)
        if known is not None and known.look is look and known.beside == beside:
            tree = known.tree
            if tree is None or self._trees.is_unchanged(tree):
                self._visited.update([place.real] if tree is None else tree.directories)
                return known.found
        found, tree = self._child_anew(place, beside)
        has_links = any(entry.is_link for entry in look.entries)
        is_plain = len(found.candidates) == 1 and place.shown.name not in CONTAINERS
        if is_plain and not has_links and not found.candidates[0].is_indexed:
            self._plain[place] = _Known(look, beside, found, tree)
        return found

    def _child_anew(self, place: Place, beside: _Beside) -> tuple[Found, trees.Tree | None]:
        """Return what a directory of the run is or, for a container, holds."""
        contents, found = self._sorted(place)
        if contents is None:
            return found, None
        if place.shown.name in CONTAINERS and not trees.is_hinted(contents):
            found = self._singles.find(contents, self._root)
            for inner in contents.directories:
                if inner.shown.name not in CONTAINERS:  # a link may lead round in a circle
                    found.add(self._child(inner, contents))
            return found, None
        return self._leaf(contents, beside) if trees.is_one(contents) else (found, None)

    def _leaf(self, contents: Contents, beside: _Beside) -> tuple[Found, trees.Tree | None]:
        """Return the checkpoint that a directory is, or why it is none."""
        if contents.is_incomplete and not contents.weights:
            return Found([held_back(contents)]), None
        tree = None
        candidate = weights_of(contents, contents.weights, self._shards_of, self._root)
        if candidate is None and trees.may_be(contents):
            tree = self._trees.candidate(contents, self._visited)
            candidate = tree.candidate
        candidate = candidate or rest_of(contents, contents.weights)
        if candidate is None:
            return Found(ignored=self._why_none(contents)), tree
        candidate = replace(candidate, trackers=beside.trackers)
        if beside.is_unfinished:
            candidate = unfinished(candidate)
        return Found([candidate], self._singles.not_regular(contents)), tree

    def _only_run(self, others: list[Place], found: Found, depth: int) -> None:
        """Look one level deeper for the one directory that holds checkpoints."""
        runs: list[tuple[Place, Found]] = []
        real = {place.real: place for place in sorted(others, key=lambda place: not place.is_link)}
        for place in real.values():
            self._left -= 1
            contents = self._sorted(place)[0] if self._left >= 0 else None
            inner = Found() if contents is None else self._run(contents, depth)
            if inner.candidates or inner.note:
                runs.append((place, inner))
        if len(runs) == 1:
            found.add(runs[0][1])
        elif runs:
            names = ", ".join(safe(place.shown.name, 40) for place, _ in runs[:_NAMED_RUNS])
            more = ", …" if len(runs) > _NAMED_RUNS else ""
            found.note = f"holds {len(runs)} runs ({names}{more}): name one of them"
            found.runs = tuple(place.shown for place, _ in runs)

    def _contents(self, place: Place, look: Look) -> Contents:
        """Return a directory's entries sorted, anew where they or what they link to may change."""
        known = self._known_contents.get(place)
        if known is not None and known[0] is look:
            return known[1]
        contents = sort_entries(place, look.entries, self._root)
        if not any(entry.is_link for entry in look.entries):
            self._known_contents[place] = (look, contents)
        return contents

    def _sorted(self, place: Place) -> tuple[Contents | None, Found]:
        """Return a directory's sorted contents, or what to say about one that stays closed."""
        self._visited.add(place.real)
        look = self._looker.look(place.real)
        if look.error is None:
            return self._contents(place, look), Found()
        if not isinstance(look.error, PermissionError):
            return None, Found()  # rotated away between the two looks
        reason = no_permission(place.real)
        named = from_name(place.shown.name)
        if named is None:
            return None, Found(ignored=[Ignored(place.shown, reason)])
        closed = Candidate(place.shown, (), (place.real,), named, proof=Damaged(reason, final=True))
        return None, Found([closed])

    def _why_none(self, contents: Contents) -> list[Ignored]:
        if not is_checkpoint_name(contents.place.shown.name):
            return []
        foreign = self._singles.why_foreign(contents)
        if foreign:
            return [Ignored(contents.place.shown, foreign)]
        return contents.ignored or [Ignored(contents.place.shown, "no weight files in it yet")]
