"""A run being analysed: poll, place, queue, analyse, detect, tell."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from forkmon import wire
from forkmon.detect.settings import DEFAULT, Settings
from forkmon.detect.stalled import stalled
from forkmon.errors import CheckpointError, IncompleteError, TornError, VanishedError
from forkmon.runs.metrics import Logs
from forkmon.runs.order import Placed, Placement, place
from forkmon.runs.poll import Poller, Sight
from forkmon.runs.refs import Broken, CheckpointRef, Fingerprint
from forkmon.stats.roles import DEFAULT_ROLES
from forkmon.store.values import Candidate, KnownCheckpoint, QuarantineRow
from forkmon.store.writer import Writer
from forkmon.text import safe
from forkmon.worker.devices import Device
from forkmon.worker.judge import Judge

if TYPE_CHECKING:
    from forkmon.engines.protocol import Engine
    from forkmon.formats.logical_rules import Rule
    from forkmon.worker.analyse import Analysed, Tally
    from forkmon.worker.outward import Outward

MAX_DEATHS = 2
"""Workers that may die at one tensor before it is left out."""

Notify = Callable[[wire.Event], None]


class Session:
    """Analyses one run into one store; effects only through its collaborators."""

    def __init__(  # noqa: PLR0913 -- a composition: each of its collaborators by name
        self,
        root: Path,
        writer: Writer,
        poller: Poller,
        *,
        engine: Callable[[], Engine],
        device: Device,
        notify: Notify,
        interrupted: Callable[[], None] = lambda: None,
        rules: Sequence[Rule] = (),
        read_rate: float = 0.0,
        roles: frozenset[str] = DEFAULT_ROLES,
        alerts: Settings = DEFAULT,
        outward: Outward | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.focus: str | None = None
        """The tensor under the cursor (`stats.roles.qualified`)."""
        self._root = root
        self._writer = writer
        self._reader = writer.reader()
        self._judge = Judge(self._reader, writer, alerts)
        self._poller = poller
        self._open_engine = engine
        self._engine: Engine | None = None
        self._device = device
        self._notify = notify
        self._interrupted = interrupted
        self._rules = tuple(rules)
        self._read_rate = read_rate
        self._roles = roles
        self._outward = outward
        self._alerts = alerts
        self._wall = wall
        self._came = wall()
        """When we came: a run that ended before is over, not stalled."""
        self._rate: float | None = None
        """Bytes a second of the last analysis."""
        self._known = writer.known()
        self._came_ns = int(self._reader.run().created * 1e9)
        self._backlog: set[Path] | None = None
        """What was there at the first look and is still to be stored. Where it is older than the
        store it was there when forkmon came, also if a worker died since: one segment, in step
        order."""
        self._queue: dict[Path, CheckpointRef] = {}
        self._last_polled: wire.Polled | None = None
        self._ignored: tuple[tuple[str, str], ...] = ()
        base = Path(os.path.abspath(root))  # noqa: PTH100 -- links in it stay, as in the poller
        self._logs = Logs(base.parent if base.is_file() else base)

    @property
    def pending(self) -> int:
        """Return how many settled checkpoints wait for analysis."""
        return len(self._queue)

    @property
    def interval(self) -> float:
        """Return the seconds between two looks; network file systems are looked at less often."""
        return self._poller.interval

    @property
    def settle(self) -> float:
        """Return how long a checkpoint without a marker must not change here, in seconds."""
        return self._poller.settle

    def look(self) -> Sight:
        """Look at the run directory once; queue what settled, store what is broken."""
        sight = self._poller.poll()
        if self._backlog is None:
            self._backlog = set(sight.present)
        for ref in sight.ready:
            if not self._is_known(ref.path, ref.step, ref.fingerprint):
                self._queue[ref.path] = ref
        for path in [p for p in self._queue if p not in sight.present]:
            del self._queue[path]
        failures = [b for b in sight.broken if not self._is_known(b.path, b.step, b.fingerprint)]
        for broken in failures:
            self._fail_broken(broken)
        self._remember_surroundings(sight)
        if failures:
            self.refresh()
        elif self._logs.behind:
            self._read_logs()
        return sight

    def refresh(self) -> int:
        """Recompute alerts and curves from the store; return the number of alerts."""
        self._read_logs()
        found = self._judge.refresh([ref.step for ref in self._queue.values()])
        if self._outward is not None and not self._queue:
            self._outward.tell(self._reader.alerts())
        return found

    def read_all_logs(self) -> None:
        """Read what is left of logs so long that one look did not."""
        while self._logs.behind:
            self._read_logs()

    def _read_logs(self) -> None:
        """Store the trainer's curves; those of logs that are gone stay."""
        rows = self._reader.timeline()
        curves = self._logs.curves(Path(rows[-1].path) if rows else None)
        if curves:
            self._writer.set_metrics(curves)

    def analyse_next(self) -> bool:
        """Analyse the newest waiting checkpoint; False when none waits."""
        if not self._queue:
            self._tell_stall()
            return False
        path = max(self._queue, key=lambda p: (self._queue[p].step, str(p)))
        ref = self._queue.pop(path)
        placement = place(self._placed(ref), ref, live=self._is_live(path, ref.fingerprint))
        candidate = self._candidate(ref, placement)
        try:
            done = self._analyse(ref, candidate)
        except (TornError, IncompleteError) as error:
            self._poller.requeue(path)
            self._notify(wire.Log(safe(error)))
        except VanishedError as error:
            self._notify(wire.Log(f"{safe(path.name)} was rotated away: {safe(error)}"))
        except CheckpointError as error:
            self._fail(path, candidate, str(error))
        else:
            self._known = self._writer.known()
            if self._backlog is not None:
                self._backlog.discard(path)
            self._notify(wire.Stored(ref.step, self.refresh()))
            if done.partial:
                self._notify(wire.Log(f"step {ref.step:,}: {done.partial}"))
        if self._last_polled is not None:
            self._tell_polled(replace(self._last_polled, queued=self.pending))
        return True

    def _tell_stall(self) -> None:
        """Pass on that no checkpoint came for long; never stored, for it hangs on the clock."""
        if self._outward is None:
            return
        landed = [(row.step, row.mtime) for row in self._reader.timeline()]
        found = stalled(landed, self._wall(), self._alerts.stalled)
        self._outward.tell([found] if found is not None and landed[-1][1] > self._came else [])

    def retry(self) -> None:
        """Look at what failed as if it were new, tensors in quarantine included."""
        for known in self._known:
            if known.row.status == "failed":
                self._poller.forget(Path(known.row.path))
        for row in self._writer.quarantined():
            self._writer.clear_quarantine(row.path)
        self._known = [k for k in self._known if k.row.status != "failed"]

    def _analyse(self, ref: CheckpointRef, candidate: Candidate) -> Analysed:
        from forkmon.worker.analyse import Plan, analyse  # numpy: only when there is something

        deaths = [
            q for q in self._writer.quarantined()
            if q.path == str(ref.path) and q.digest == ref.fingerprint.digest
        ]  # fmt: skip
        plan = Plan(
            ref,
            candidate,
            focus=self.focus,
            quarantined=frozenset(q.tensor for q in deaths if q.deaths >= MAX_DEATHS and q.tensor),
            note_each=bool(deaths),
            root=self._root,
            rules=self._rules,
            read_rate=self._read_rate,
            roles=self._roles,
            rate=self._rate,
        )
        if self._engine is None:
            self._engine = self._open_engine()
        done = analyse(
            plan, self._writer, self._engine, self._reporter(ref.step, self._engine.note)
        )
        self._rate = done.rate
        return done

    def _reporter(self, step: int, note: str) -> Callable[[Tally], None]:
        def report(tally: Tally) -> None:
            self._interrupted()
            left = tally.standing.seconds_left
            self._notify(
                wire.Progress(
                    step, tally.tensors, tally.of, left, share=tally.standing.share,
                    rate=tally.standing.rate, note="" if tally.tensors else note,
                )
            )  # fmt: skip

        return report

    def _is_live(self, path: Path, seen: Fingerprint) -> bool:
        was_there = self._backlog is None or path in self._backlog
        return not (was_there and seen.mtime_ns <= self._came_ns)

    def _is_known(self, path: Path, step: int | None, seen: Fingerprint) -> bool:
        return any(
            (k.row.path == str(path) and k.digest == seen.digest) or self._moved_here(k, step, seen)
            for k in self._known
        )

    @staticmethod
    def _moved_here(known: KnownCheckpoint, step: int | None, seen: Fingerprint) -> bool:
        """Return whether a stored checkpoint's files now lie elsewhere: the run was moved."""
        return (
            known.row.step == step
            and known.row.status in ("complete", "partial")
            and known.content_digest == seen.content_digest
        )

    def _placed(self, ref: CheckpointRef) -> list[Placed]:
        """Return what is stored; what another step overwrote in place counts as gone."""
        last = {k.row.path: k.row for k in sorted(self._known, key=lambda k: k.row.id)}
        overwritten = last.get(str(ref.path))
        if overwritten is not None and overwritten.step != ref.step:
            del last[str(ref.path)]
        return [
            Placed(
                segment=k.row.segment,
                generation=k.row.generation,
                step=k.row.step,
                version=k.row.version,
                mtime_ns=int(k.row.mtime * 1e9),
                present=k.row.present and last.get(k.row.path) == k.row,
            )
            for k in self._known
        ]

    def _candidate(self, ref: CheckpointRef, at: Placement) -> Candidate:
        return Candidate(
            segment=at.segment,
            generation=at.generation,
            parent_segment=at.parent_segment,
            step=ref.step,
            version=at.version,
            path=str(ref.path),
            format=ref.format,
            digest=ref.fingerprint.digest,
            content_digest=ref.fingerprint.content_digest,
            bytes=ref.fingerprint.bytes,
            mtime=ref.fingerprint.mtime_ns / 1e9,
            epoch=ref.epoch,
            device=self._device.name,
        )

    def _fail_broken(self, broken: Broken) -> None:
        newest = max((k.row.step for k in self._known), default=0)
        step = newest if broken.step is None else broken.step
        ref = CheckpointRef(broken.path, step, "", (), broken.fingerprint, "heuristic")
        live = self._is_live(broken.path, broken.fingerprint)
        placement = place(self._placed(ref), ref, live=live)
        self._fail(broken.path, self._candidate(ref, placement), broken.reason)

    def _fail(self, path: Path, candidate: Candidate, reason: str) -> None:
        self._writer.fail(**candidate, reason=safe(reason))
        self._known = self._writer.known()
        self._notify(wire.Failed(safe(path.name), safe(reason)))

    def _remember_surroundings(self, sight: Sight) -> None:
        ignored = tuple((str(i.path), i.reason) for i in sight.ignored)
        if ignored != self._ignored:
            self._writer.set_ignored(ignored)
            self._ignored = ignored
        present = {os.fspath(path) for path in sight.present}
        if any(k.row.present != (k.row.path in present) for k in self._known):
            self._writer.mark_present(present)
            self._known = self._writer.known()
        note = sight.note or (_waiting(sight) if sight.waiting else "")
        self._tell_polled(wire.Polled(self.pending, len(sight.waiting), len(ignored), note))

    def _tell_polled(self, polled: wire.Polled) -> None:
        if polled != self._last_polled:
            self._last_polled = polled
            self._notify(polled)


def _waiting(sight: Sight) -> str:
    first = sight.waiting[0]
    more = f" and {len(sight.waiting) - 1} more" if len(sight.waiting) > 1 else ""
    return f"{safe(first.path.name)}: {safe(first.reason)}{more}"


def recover(writer: Writer, died_of: str) -> None:
    """Drop what a dead worker left; note the tensor it died at if its death was a crash.

    A worker that was killed from outside (SIGKILL, most often for memory) blames no tensor.
    """
    for left in writer.attempts_left():
        if died_of in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE"):
            deaths = 1 + sum(
                q.deaths for q in writer.quarantined()
                if (q.path, q.digest, q.tensor)
                == (left.row.path, left.digest, left.working_on or "")
            )  # fmt: skip
            writer.quarantine(
                QuarantineRow(
                    path=left.row.path,
                    digest=left.digest,
                    tensor=left.working_on or "",
                    signal=died_of,
                    deaths=deaths,
                    reason=f"the worker died of {died_of}",
                )
            )
        writer.drop(left.row.id)
