"""A look at a candidate's files: what the kernel says of each, asked as seldom as is safe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forkmon.errors import CheckpointError, VanishedError
from forkmon.formats.opening import GONE, explained, file_print, open_regular
from forkmon.runs.candidates import Candidate
from forkmon.runs.distinct import Sighted
from forkmon.runs.kinds import Kinds
from forkmon.runs.looking import Stats
from forkmon.runs.refs import FilePrint, Fingerprint, Ignored

ASKED_ALWAYS = 32
"""A stored checkpoint of more files is asked about so many of them at a poll, in turn.

Its markers are asked each time, and whoever saves over a checkpoint writes them too.
"""


@dataclass(frozen=True, slots=True)
class _Last:
    """The last look at a candidate."""

    candidate: Candidate
    seen: Sighted | None
    """None where no file of it is a checkpoint."""
    ignored: tuple[Ignored, ...]


class Sightings:
    """Looks at candidates; remembers the last look at each."""

    def __init__(self, stats: Stats, *, with_optimizer: bool) -> None:
        self._stats = stats
        self._kinds = Kinds(stats, with_optimizer=with_optimizer)
        self._last: dict[Path, _Last] = {}
        self._turn = 0

    def look(
        self, candidates: Sequence[Candidate], done: frozenset[Path]
    ) -> tuple[list[Sighted], list[Ignored]]:
        """Return the candidates that are there; `done` are the paths judged as they last were."""
        self._turn += 1
        sighted: list[Sighted] = []
        ignored: list[Ignored] = []
        for candidate in candidates:
            last = self._last.get(candidate.path)
            if last is None or not self._is_as(last, candidate, is_done=candidate.path in done):
                last = self._sighted(candidate)
            if last is not None:
                ignored += last.ignored
                sighted += [] if last.seen is None else [last.seen]
        self._forget({candidate.path for candidate in candidates})
        return sighted, ignored

    def _forget(self, there: set[Path]) -> None:
        self._kinds.drop_unasked()
        for gone in self._last.keys() - there:
            del self._last[gone]

    def _is_as(self, last: _Last, candidate: Candidate, *, is_done: bool) -> bool:
        """Return whether a candidate is as it was last seen; of many files some are asked."""
        seen = last.seen
        if seen is None or seen.trouble or last.ignored or last.candidate != candidate:
            return False
        pairs = list(zip(seen.candidate.watched, seen.watched, strict=True))
        if is_done and len(pairs) > ASKED_ALWAYS:
            first = self._turn * ASKED_ALWAYS % len(pairs)
            must = [pair for pair in pairs if pair[0] in candidate.must]
            pairs = [*must, *pairs[first : first + ASKED_ALWAYS]]
        try:
            return all(self._print(path, was.name) == was for path, was in pairs)
        except CheckpointError:
            return False

    def _sighted(self, candidate: Candidate) -> _Last | None:
        """Return the candidate with its files as they are now, None where they are going."""
        try:
            kind = self._kinds.of(candidate)
            seen = None
            if kind.candidate is not None:
                seen = self._printed(kind.candidate, kind.format)
        except VanishedError:
            return None
        except CheckpointError as error:
            return self._in_trouble(candidate, str(error))
        found = self._last[candidate.path] = _Last(candidate, seen, kind.ignored)
        return found

    def _in_trouble(self, candidate: Candidate, trouble: str) -> _Last:
        last = self._last.get(candidate.path)
        if last is None or last.seen is None:
            return _Last(candidate, Sighted(candidate, "", (), Fingerprint(()), trouble), ())
        return replace(last, seen=replace(last.seen, trouble=trouble))

    def _printed(self, candidate: Candidate, format_: str) -> Sighted:
        names = {weight.real: weight.name for weight in candidate.files}
        prints = {
            path: self._print(path, names.get(path, path.name))
            for path in dict.fromkeys((*candidate.watched, *names))
        }
        watched = tuple(prints[path] for path in candidate.watched)
        weights = tuple(prints[weight.real] for weight in candidate.files)
        return Sighted(candidate, format_, watched, Fingerprint(weights))

    def _print(self, path: Path, name: str) -> FilePrint:
        found = self._stats.of(path)
        if isinstance(found, OSError):
            raise explained(found, path)
        return file_print(name, found)


def confirmed(seen: Sighted) -> bool:
    """Return whether opening the files shows them as `stat` did.

    Clients of network file systems answer `stat` from a cache; opening asks the server.
    """
    for path, expected in zip(seen.candidate.watched, seen.watched, strict=True):
        try:
            fd = open_regular(path)
        except VanishedError:
            return False
        except CheckpointError:
            continue  # proving it says what is wrong
        try:
            if file_print(expected.name, os.fstat(fd)) != expected:
                return False
        except OSError as error:
            if error.errno in GONE:
                return False
            raise explained(error, path) from None
        finally:
            os.close(fd)
    return True
