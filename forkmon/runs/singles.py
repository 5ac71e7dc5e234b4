"""Checkpoints that are single files of a directory, and the weights of the directory itself."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

from forkmon.formats.sharded import SHARD
from forkmon.runs import kinds
from forkmon.runs.candidates import ADAPTERS, Candidate, ShardsOf, rest_of, single, weights_of
from forkmon.runs.contents import Contents, Place, Weight, is_unfinished
from forkmon.runs.found import Found
from forkmon.runs.looking import Stats
from forkmon.runs.refs import Ignored
from forkmon.runs.remembered import Remembered
from forkmon.runs.steps import from_name, rank_of
from forkmon.runs.suffixes import is_beside
from forkmon.text import safe


class Singles:
    """Tells the single files of directories apart; remembers what has not changed."""

    def __init__(self, stats: Stats, shards_of: ShardsOf) -> None:
        self._stats = stats
        self._shards_of = shards_of
        self._refusal = Remembered(kinds.refusal_of, stats)
        self._known: dict[Place, tuple[Contents, Found]] = {}

    def keep_only(self, directories: set[Path]) -> None:
        """Forget directories that are not looked at any more."""
        self._refusal.drop_unasked()
        for gone in [place for place in self._known if place.real not in directories]:
            del self._known[gone]

    def why_foreign(self, contents: Contents) -> str:
        """Return why none of a directory's files of other suffixes is read; empty for none."""
        for path in contents.foreign:
            reason = "" if is_beside(path.name) else self._refusal(path)
            if reason:
                return f"{reason} ({safe(path.name)})"
        return ""

    def find(self, contents: Contents, root: Path) -> Found:
        """Return the checkpoints that are single files here, told anew only where it changed."""
        known = self._known.get(contents.place)
        if known is None or known[0] is not contents:
            known = (contents, self._anew(contents, root))
            if not contents.foreign and not contents.indexes:
                self._known[contents.place] = known
        return Found(list(known[1].candidates), list(known[1].ignored))

    def _anew(self, contents: Contents, root: Path) -> Found:
        """Return the checkpoints that are single files here, and the directory's own weights."""
        found = Found(ignored=contents.ignored + self.not_regular(contents))
        odd = {ignored.path.name for ignored in found.ignored}
        weights = [weight for weight in contents.weights if weight.name not in odd]
        weights += self._misnamed(contents, found)
        stems = {rank_of(weight.name) for weight in weights}
        own = [weight for weight in weights if SHARD.match(weight.name)]
        for weight in weights:
            if weight in own:
                continue
            named = from_name(weight.name)
            stem, rank = rank_of(weight.name)
            if named is None:
                own.append(weight)
            elif rank and (stem, 0) in stems:
                reason = f"rank {rank}'s copy; rank 0's is read"
                found.ignored.append(Ignored(contents.place.shown / weight.name, reason))
            else:
                found.candidates.append(self._single(weight, contents))
        self._add_beside(contents, found)
        self._add_own(contents, own, found, root)
        return found

    def _single(self, weight: Weight, contents: Contents) -> Candidate:
        candidate = single(weight, contents, from_name(weight.name))
        is_held_back = is_unfinished(weight.name, contents.names)
        return unfinished(candidate) if is_held_back else candidate

    def _add_beside(self, contents: Contents, found: Found) -> None:
        """Say of each named optimizer or random state here that it is no checkpoint of its own."""
        for weight in contents.beside:
            if from_name(weight.name) is not None:
                reason = "optimizer or random state: beside the weights"
                found.ignored.append(Ignored(contents.place.shown / weight.name, reason))

    def _add_own(self, contents: Contents, own: list[Weight], found: Found, root: Path) -> None:
        """Add the weights that belong to the directory as a whole (the final model, mostly)."""
        whole = weights_of(contents, own, self._shards_of, root)
        if whole is None and any(weight.name in ADAPTERS for weight in own):
            whole = rest_of(contents, own)
        if whole is not None:
            found.candidates.append(whole)
        else:
            found.candidates += [self._single(weight, contents) for weight in own]

    def _misnamed(self, contents: Contents, found: Found) -> list[Weight]:
        """Return the files of other suffixes that are read after all; say why the rest is not."""
        weights: list[Weight] = []
        for path in contents.foreign:
            reason = "" if is_beside(path.name) else self._refusal(path)
            if reason:
                found.ignored.append(Ignored(contents.place.shown / path.name, reason))
            elif not is_beside(path.name):
                weights.append(Weight(path.name, path))
        return weights

    def not_regular(self, contents: Contents) -> list[Ignored]:
        """Return a word about each weight file that is a FIFO, a socket or a device."""
        return [
            Ignored(contents.place.shown / weight.name, "not a regular file; not read")
            for weight in contents.weights
            if not isinstance(seen := self._stats.of(weight.real), OSError)
            and not stat.S_ISREG(seen.st_mode)
        ]


def unfinished(candidate: Candidate) -> Candidate:
    """Return a candidate that is held back because its trainer says that it is not finished."""
    said = f"{safe(candidate.path.stem)}-unfinished is there: its trainer has not finished it"
    return replace(candidate, held_back=said)
