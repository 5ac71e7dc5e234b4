"""Looks at a run directory again and again: what is new, what waits, what is gone."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forkmon.errors import CheckpointError, VanishedError
from forkmon.formats.opening import GONE, explained
from forkmon.runs import beside, markers, settling
from forkmon.runs.candidates import Candidate
from forkmon.runs.contents import Place, Weight
from forkmon.runs.distinct import Sighted, apart, may_be_its_own, repeats
from forkmon.runs.filesystem import FileSystem, kind, windows
from forkmon.runs.finding import Finder
from forkmon.runs.found import Found
from forkmon.runs.looking import Looker, Stats
from forkmon.runs.refs import Broken, CheckpointRef, Fingerprint, Ignored, Waiting
from forkmon.runs.sighting import Sightings, confirmed
from forkmon.runs.steps import Named, from_name, is_alias
from forkmon.runs.tracks import Track, proofs_of
from forkmon.text import safe

LOOKS_FOR = "forkmon looks for checkpoint-N/ directories, step_N files, ckpt.pt and the like"
_NO_STEP = "no step in its name, its metadata or beside it: rename it to step_N.safetensors"
_ALIAS = "an alias without a step of its own"
_NUMBERED = "numbered by saves, not by steps: no step is written in them"


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
    runs: tuple[Path, ...] = ()
    """The runs in it, where it is no run itself."""


class Poller:
    """Finds the checkpoints of a run; its memory is what it saw before.

    `poll` never raises for what it finds. `clock` measures waits; `wall` is what modification
    times are held against. `interval` and `settle` are as asked for, longer on a network file
    system; `roles` with "optimizer" takes in the optimizer's files beside the weights.
    """

    def __init__(  # noqa: PLR0913 -- times, clocks and places, all by name
        self,
        root: Path,
        *,
        interval: float,
        settle: float,
        roles: frozenset[str] = frozenset({"model"}),
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        file_system: FileSystem | None = None,
    ) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - links in it must stay as given
        found = kind(self.root) if file_system is None else file_system
        self._windows = windows(found, interval=interval, settle=settle)
        self.interval = self._windows.interval
        self.settle = self._windows.settle
        self._clock = clock
        self._wall = wall
        self._stats = Stats()
        looker = Looker(wall, careful=self._windows.confirm)
        wanted = "optimizer" in roles
        self._finder = Finder(looker, self._stats, wall, with_optimizer=wanted)
        self._sightings = Sightings(self._stats, with_optimizer=wanted)
        self._tracks: dict[Path, Track] = {}
        self._present: frozenset[Path] = frozenset()

    def poll(self) -> Sight:
        """Return what one look finds; only what changed is looked at closely."""
        self._stats.clear()
        found = self._find()
        if found.error is not None:
            return self._closed(found.error)
        done = frozenset(path for path, track in self._tracks.items() if track.is_judged)
        sighted, no_weights = self._sightings.look(found.candidates, done)
        kept, aliases = apart(sighted, self.root)
        outcome = _Outcome([*found.ignored, *no_weights, *aliases])
        for seen in sorted(kept, key=lambda seen: seen.candidate.named is None):
            self._judge(seen, outcome, kept)
        self._present = frozenset(seen.candidate.path for seen in kept)
        for gone in self._tracks.keys() - self._present:
            del self._tracks[gone]
        note = found.note or _note(kept, outcome.ignored)
        return outcome.sight(self._present, note, found.runs)

    def forget(self, path: Path) -> None:
        """Look at a checkpoint as if it had never been seen: a retry."""
        self._tracks.pop(path, None)

    def requeue(self, path: Path) -> None:
        """Let a checkpoint settle again: it changed while it was read."""
        track = self._tracks.get(path)
        if track is not None:
            self._tracks[path] = Track(
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
        named = from_name(self.root.name)
        return Found([Candidate(self.root, (weight,), (real,), named, is_asked_for=True)])

    def _closed(self, error: OSError) -> Sight:
        """Say why the run directory cannot be looked into; what it held may come back."""
        if error.errno in GONE:
            self._tracks.clear()
            self._present = frozenset()
            return Sight(note=f"no such directory: {safe(self.root)}; waiting for it")
        reason = explained(error, self.root)
        return Sight(present=self._present, note=f"{safe(self.root)}: {reason}")

    def _judge(self, seen: Sighted, outcome: _Outcome, kept: Sequence[Sighted]) -> None:
        candidate = seen.candidate
        if seen.trouble:
            outcome.waiting.append(Waiting(candidate.path, seen.trouble))
            return
        track = self._track(seen)
        if track.is_judged:
            self._repeat(candidate, track, outcome, kept)
            return
        try:
            verdict = settling.judge(self._evidence(seen, track), self.settle)
            if isinstance(verdict, settling.Ready) and not self._confirmed(seen, track):
                verdict = settling.Wait("its file server showed a newer state: settling")
        except VanishedError:
            return
        except CheckpointError as error:
            verdict = settling.Wait(str(error))
        if isinstance(verdict, settling.Wait):
            outcome.waiting.append(Waiting(candidate.path, verdict.reason))
        elif isinstance(verdict, settling.Refuse):
            track.is_judged = True
            step = None if candidate.named is None else candidate.named.step
            outcome.broken.append(
                Broken(candidate.path, step, verdict.reason, Fingerprint(seen.watched))
            )
        else:
            self._settled(seen, track, verdict, outcome, kept)

    def _settled(
        self,
        seen: Sighted,
        track: Track,
        verdict: settling.Ready,
        outcome: _Outcome,
        kept: Sequence[Sighted],
    ) -> None:
        candidate = seen.candidate
        named = beside.resolved(candidate, track.proofs, track.named)
        if named is None and len(kept) > 1:
            reason = _ALIAS if is_alias(candidate.path.name) else _NO_STEP
            outcome.ignored.append(Ignored(candidate.path, reason))
            return
        track.named = named or Named(0)
        track.is_judged = True
        digest = seen.fingerprint.digest
        if self._repeat(candidate, track, outcome, kept) or digest == track.reported:
            return
        track.reported = digest
        outcome.ready.append(
            CheckpointRef(
                path=candidate.path,
                step=track.named.step,
                format=seen.format,
                files=tuple(weight.real for weight in candidate.files),
                fingerprint=seen.fingerprint,
                complete=verdict.complete,
                epoch=track.named.epoch,
            )
        )

    def _repeat(
        self, candidate: Candidate, track: Track, outcome: _Outcome, kept: Sequence[Sighted]
    ) -> bool:
        """Say what is odd about a settled candidate; return whether it repeats another one."""
        if track.named is not None and track.named.unit == "number" and candidate.directory:
            outcome.note = f"{safe(candidate.path.name)}: {_NUMBERED}"
        if track.reported or not may_be_its_own(candidate):
            return False
        named = [self._resolved(other.candidate) for other in kept if other.candidate.named]
        if not repeats(track.named, [other for other in named if other is not None]):
            return False
        reason = "an alias: its step is that of a checkpoint that is read"
        outcome.ignored.append(Ignored(candidate.path, reason))
        return True

    def _resolved(self, candidate: Candidate) -> Named | None:
        track = self._tracks.get(candidate.path)
        return candidate.named if track is None or track.named is None else track.named

    def _track(self, seen: Sighted) -> Track:
        """Return what is remembered, begun anew where the files changed since the last poll."""
        path = seen.candidate.path
        track = self._tracks.get(path)
        if track is None:
            track = self._tracks[path] = Track(seen.watched, self._clock())
        elif track.prints != seen.watched:
            track.prints, track.since = seen.watched, self._clock()
            track.looks, track.proofs = 0, ()
            track.first_sight, track.is_judged = False, False
        track.looks += 1
        return track

    def _confirmed(self, seen: Sighted, track: Track) -> bool:
        """Return whether the file server agrees with what its client said about the files."""
        if not self._windows.confirm or confirmed(seen):
            return True
        track.since, track.looks, track.first_sight = self._clock(), 0, False
        return False

    def _evidence(self, seen: Sighted, track: Track) -> settling.Evidence:
        candidate = seen.candidate
        if candidate.held_back:
            track.looks = 1
        elif candidate.proof is None and not track.proofs:
            track.proofs = proofs_of(seen, track)
        newest_ns = max((p.mtime_ns for p in seen.watched), default=0)
        return settling.Evidence(
            age=self._wall() - newest_ns / 1e9,
            quiet=self._clock() - track.since,
            looks=track.looks,
            first_sight=track.first_sight,
            marker=self._marker(seen),
            proofs=track.proofs if candidate.proof is None else (candidate.proof,),
            held_back=candidate.held_back,
            is_strict=candidate.is_strict,
            marked_quiet=self._windows.marked,
        )

    def _marker(self, seen: Sighted) -> settling.Marker:
        candidate = seen.candidate
        named = candidate.named
        calls = {candidate.path.name, "" if named is None else str(named.step)} - {""}
        files = [weight.real for weight in candidate.files]
        marks = (*candidate.must, *candidate.markers)
        return markers.state_of(
            markers.newest_data(files, seen.fingerprint.files, marks),
            markers=candidate.markers,
            must=candidate.must,
            trackers=candidate.trackers,
            names=lambda text: text in calls,
            stats=self._stats,
        )


class _Outcome:
    """Gathers what one poll has to say."""

    def __init__(self, ignored: list[Ignored]) -> None:
        self.ready: list[CheckpointRef] = []
        self.waiting: list[Waiting] = []
        self.broken: list[Broken] = []
        self.ignored = ignored
        self.note = ""

    def sight(self, present: frozenset[Path], note: str, runs: tuple[Path, ...] = ()) -> Sight:
        ready = sorted(self.ready, key=lambda ref: (ref.step, ref.fingerprint.mtime_ns))
        return Sight(
            tuple(ready),
            tuple(self.waiting),
            tuple(self.ignored),
            tuple(self.broken),
            present,
            note or self.note,
            runs,
        )


def _note(kept: list[Sighted], ignored: list[Ignored]) -> str:
    if kept:
        return ""
    if not ignored:
        return f"empty: {LOOKS_FOR}"
    return f"no checkpoint that this version reads: {LOOKS_FOR}"
