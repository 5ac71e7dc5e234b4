"""Looks at a run directory again and again: what is new, what waits, what is gone."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forkmon.errors import VanishedError
from forkmon.formats.opening import GONE, explained, file_print
from forkmon.formats.proof import Proof, Whole, prove
from forkmon.runs import settling
from forkmon.runs.candidates import Candidate
from forkmon.runs.contents import Place, Weight
from forkmon.runs.distinct import Sighted, apart
from forkmon.runs.finding import Finder, Found
from forkmon.runs.looking import Looker
from forkmon.runs.refs import Broken, CheckpointRef, FilePrint, Fingerprint, Ignored, Waiting
from forkmon.runs.steps import Named, from_name, from_state
from forkmon.text import safe

LOOKS_FOR = "forkmon looks for checkpoint-N/ directories and step*.safetensors files"
_NO_STEP = "no step in its name, its metadata or beside it: rename it to step_N.safetensors"


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look at the run directory found."""

    ready: tuple[CheckpointRef, ...] = ()
    """Settled since the last look, or settled again with other content; in step order."""
    waiting: tuple[Waiting, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    broken: tuple[Broken, ...] = ()
    """Newly found to be unreadable as they are."""
    present: frozenset[Path] = frozenset()
    """Every checkpoint path now on disk."""
    note: str = ""
    """What is odd about the directory itself; empty when it is fine."""


@dataclass(slots=True)
class _Track:
    """What is remembered about one candidate between polls."""

    prints: tuple[FilePrint, ...]
    since: float
    looks: int = 0
    first_sight: bool = True
    proofs: tuple[Proof, ...] = ()
    is_judged: bool = False
    """Ready or broken was said about exactly these prints."""
    reported: str = ""
    """Digest of the weights last reported as ready."""
    named: Named | None = None


class Poller:
    """Finds the checkpoints of a run; its memory is what it saw before.

    `poll` never raises for what it finds. `clock` measures waits; `wall` is what modification
    times are held against.
    """

    def __init__(
        self,
        root: Path,
        *,
        interval: float,
        settle: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - links in it must stay as given
        self.interval = interval
        self._settle = settle
        self._clock = clock
        self._wall = wall
        self._finder = Finder(Looker(wall))
        self._tracks: dict[Path, _Track] = {}
        self._present: frozenset[Path] = frozenset()

    def poll(self) -> Sight:
        """Return what one look finds; only what changed is looked at closely."""
        found = self._find()
        if found.error is not None:
            return self._closed(found.error)
        sighted = [seen for c in found.candidates if (seen := self._stat(c)) is not None]
        kept, aliases = apart(sighted, self.root)
        outcome = _Outcome([*found.ignored, *aliases])
        for seen in kept:
            self._judge(seen, outcome, alone=len(kept) == 1)
        self._present = frozenset(seen.candidate.path for seen in kept)
        for gone in self._tracks.keys() - self._present:
            del self._tracks[gone]
        return outcome.sight(self._present, found.note or _note(kept, outcome.ignored))

    def forget(self, path: Path) -> None:
        """Look at a checkpoint as if it had never been seen: a retry."""
        self._tracks.pop(path, None)

    def requeue(self, path: Path) -> None:
        """Let a checkpoint settle again: it changed while it was read."""
        track = self._tracks.get(path)
        if track is not None:
            self._tracks[path] = _Track(
                track.prints, self._clock(), first_sight=False, named=track.named
            )

    def _find(self) -> Found:
        try:
            found = self.root.stat()
            real = self.root.resolve(strict=True)
        except OSError as error:
            return Found(error=error)
        except (RuntimeError, ValueError) as error:
            return Found(error=OSError(0, str(error)))
        if stat.S_ISDIR(found.st_mode):
            return self._finder.find(Place(real, self.root, is_root=True))
        weight = Weight(self.root.name, real)
        return Found([Candidate(self.root, (weight,), (real,), from_name(self.root.name))])

    def _closed(self, error: OSError) -> Sight:
        """Say why the run directory cannot be looked into; what it held may come back."""
        if error.errno in GONE:
            self._tracks.clear()
            self._present = frozenset()
            return Sight(note=f"no such directory: {safe(self.root)}; waiting for it")
        reason = explained(error, self.root)
        return Sight(present=self._present, note=f"{safe(self.root)}: {reason}")

    def _stat(self, candidate: Candidate) -> Sighted | None:
        """Return the candidate with its files as they are now, None where they are going."""
        try:
            found = {path: path.lstat() for path in candidate.watched}
        except (OSError, ValueError):
            return None
        watched = tuple(file_print(path.name, info) for path, info in found.items())
        weights = tuple(
            file_print(weight.name, found[weight.real])
            for weight in candidate.files
            if weight.real in found
        )
        return Sighted(candidate, watched, Fingerprint(weights))

    def _judge(self, seen: Sighted, outcome: _Outcome, *, alone: bool) -> None:
        track = self._track(seen)
        if track.is_judged:
            return
        candidate = seen.candidate
        try:
            evidence = self._evidence(seen, track)
        except VanishedError:
            return
        verdict = settling.judge(evidence, self._settle)
        if isinstance(verdict, settling.Wait):
            outcome.waiting.append(Waiting(candidate.path, verdict.reason))
        elif isinstance(verdict, settling.Refuse):
            track.is_judged = True
            step = None if candidate.named is None else candidate.named.step
            outcome.broken.append(
                Broken(candidate.path, step, verdict.reason, Fingerprint(seen.watched))
            )
        else:
            self._settled(seen, track, verdict, outcome, alone=alone)

    def _settled(
        self,
        seen: Sighted,
        track: _Track,
        verdict: settling.Ready,
        outcome: _Outcome,
        *,
        alone: bool,
    ) -> None:
        candidate = seen.candidate
        named = candidate.named or track.named or _step_beside(candidate, track.proofs)
        if named is None and not alone:
            outcome.ignored.append(Ignored(candidate.path, _NO_STEP))
            return
        track.named = named or Named(0)
        track.is_judged = True
        digest = seen.fingerprint.digest
        if digest == track.reported:
            return
        track.reported = digest
        outcome.ready.append(
            CheckpointRef(
                path=candidate.path,
                step=track.named.step,
                format="safetensors",
                files=tuple(weight.real for weight in candidate.files),
                fingerprint=seen.fingerprint,
                complete=verdict.complete,
                epoch=track.named.epoch,
            )
        )

    def _track(self, seen: Sighted) -> _Track:
        """Return what is remembered, begun anew where the files changed since the last poll."""
        path = seen.candidate.path
        track = self._tracks.get(path)
        if track is None:
            track = self._tracks[path] = _Track(seen.watched, self._clock())
        elif track.prints != seen.watched:
            track.prints, track.since = seen.watched, self._clock()
            track.looks, track.proofs = 0, ()
            track.first_sight, track.is_judged = False, False
        track.looks += 1
        return track

    def _evidence(self, seen: Sighted, track: _Track) -> settling.Evidence:
        candidate = seen.candidate
        if candidate.held_back:
            track.looks = 1
        elif candidate.proof is not None:
            track.proofs = (candidate.proof,)
        elif not track.proofs or len(track.proofs) != len(candidate.files):
            track.proofs = tuple(prove(weight.real) for weight in candidate.files)
        newest_ns = max((p.mtime_ns for p in seen.watched), default=0)
        return settling.Evidence(
            age=self._wall() - newest_ns / 1e9,
            quiet=self._clock() - track.since,
            looks=track.looks,
            first_sight=track.first_sight,
            marker=_marker(candidate, seen.fingerprint.mtime_ns),
            proofs=track.proofs,
            held_back=candidate.held_back,
        )


class _Outcome:
    """Gathers what one poll has to say."""

    def __init__(self, ignored: list[Ignored]) -> None:
        self.ready: list[CheckpointRef] = []
        self.waiting: list[Waiting] = []
        self.broken: list[Broken] = []
        self.ignored = ignored

    def sight(self, present: frozenset[Path], note: str) -> Sight:
        ready = sorted(self.ready, key=lambda ref: (ref.step, ref.fingerprint.mtime_ns))
        return Sight(
            tuple(ready),
            tuple(self.waiting),
            tuple(self.ignored),
            tuple(self.broken),
            present,
            note,
        )


def _step_beside(candidate: Candidate, proofs: tuple[Proof, ...]) -> Named | None:
    """Return the step from the trainer's state file, then from the weights' own metadata."""
    if candidate.marker is not None:
        named = from_state(candidate.marker.parent)
        if named is not None:
            return named
    steps = [proof.step for proof in proofs if isinstance(proof, Whole) and proof.step is not None]
    return Named(steps[0]) if steps else None


def _marker(candidate: Candidate, newest_ns: int) -> settling.Marker:
    times = [_mtime(path) for path in (candidate.index, candidate.marker) if path is not None]
    required = 0 if candidate.index is not None else None
    return settling.marker_of(newest_ns, times, required=required)


def _mtime(path: Path) -> int | None:
    try:
        return path.lstat().st_mtime_ns
    except OSError:
        return None


def _note(kept: list[Sighted], ignored: list[Ignored]) -> str:
    if kept:
        return ""
    if not ignored:
        return f"empty: {LOOKS_FOR}"
    return f"no checkpoint that this version reads: {LOOKS_FOR}"
