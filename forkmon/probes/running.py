"""Running a probe in this process: the deadline is kept, errors become outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from forkmon.errors import CheckpointError
from forkmon.formats.reading import OpenFiles
from forkmon.probes.outcome import Done, Event, Failed, Job, Limits, Moved, Outcome, Why
from forkmon.probes.protocol import AnyProbe, Declined, Subject, find
from forkmon.runs.refs import CheckpointRef

Cancelled = Callable[[], bool]


class _StopError(BaseException):
    """Time is up, or nobody wants the result: unwind to the runner, past every `except`."""

    def __init__(self, why: Why, reason: str) -> None:
        self.why: Why = why
        self.reason = reason


def run(
    job: Job,
    limits: Limits,
    say: Callable[[Event], None],
    *,
    cancelled: Cancelled = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Outcome]:
    """Yield what becomes of each checkpoint, in order; `say` hears all of it, progress too.

    UsageError for an unknown probe or parameter, before anything is read.
    """
    probe = find(job.probe)
    for place in range(len(job.checkpoints)):
        watch = _Watch(place, limits, say, cancelled, clock)
        outcome = _one(probe, job, watch)
        say(outcome)
        yield outcome
        if isinstance(outcome, Failed) and outcome.why == "cancelled":
            return


class _Watch:
    """Keeps the time of one checkpoint and passes progress on."""

    def __init__(
        self,
        place: int,
        limits: Limits,
        say: Callable[[Event], None],
        cancelled: Cancelled,
        clock: Callable[[], float],
    ) -> None:
        self.place = place
        self.limits = limits
        self._say = say
        self._cancelled = cancelled
        self._clock = clock
        self._began = clock()

    @property
    def seconds(self) -> float:
        """Return how long it took so far."""
        return self._clock() - self._began

    def progress(self, share: float, what: str) -> None:
        """Tell how far the probe is; raises when it must stop."""
        if self._cancelled():
            raise _StopError("cancelled", "cancelled")
        if self.seconds > self.limits.seconds:
            raise _StopError("time", f"cancelled after {self.limits.seconds:g} s: the limit")
        self._say(Moved(self.place, min(max(share, 0.0), 1.0), what))


def _one(probe: AnyProbe, job: Job, watch: _Watch) -> Outcome:
    ref = job.checkpoints[watch.place]

    def failed(why: Why, reason: str) -> Failed:
        return Failed(watch.place, job.probe, str(ref.path), ref.step, why, reason)

    try:
        answer, bytes_read = _measured(probe, job, ref, watch.progress)
    except _StopError as stop:
        return failed(stop.why, stop.reason)
    except CheckpointError as error:
        return failed("unreadable", str(error))
    except MemoryError:
        return failed("memory", f"cancelled: it needs more than {watch.limits.memory_mb:,} MB")
    if isinstance(answer, Declined):
        return failed("declined", answer.reason)
    return Done(
        place=watch.place,
        probe=probe.name,
        version=probe.version,
        parameters=job.parameters,
        path=str(ref.path),
        step=ref.step,
        digest=ref.fingerprint.digest,
        seconds=watch.seconds,
        bytes_read=bytes_read,
        result=answer,
    )


def _measured(
    probe: AnyProbe, job: Job, ref: CheckpointRef, progress: Callable[[float, str], None]
) -> tuple[dict[str, object] | Declined, int]:
    with OpenFiles(ref) as files:
        subject = Subject(ref, files, job.root)
        answer = probe.answer(subject, job.parameters, progress)
        files.verify()
    return answer, subject.bytes_read
