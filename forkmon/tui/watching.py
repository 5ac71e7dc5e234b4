"""What is known about the watcher itself: worker, device, queue, progress, stall; pure values."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from forkmon.draw.numbers import duration
from forkmon.stats.alert import Alert, Severity
from forkmon.tui.supervisor import STARTING, WorkerState

if TYPE_CHECKING:
    from forkmon import wire
    from forkmon.store.values import Timeline

STALL_INTERVALS = 3.0
"""No checkpoint for so many usual intervals is a stall."""

STALL_CHECKPOINTS = 4
"""Fewer checkpoints than this have no usual interval."""

RECENT_INTERVALS = 10
"""The usual interval is the median of so many last ones."""

RECENT_SECONDS = 86_400.0
"""A run whose newest checkpoint is older was finished before anybody looked."""

SHORTEST_STALL = 60.0
"""Seconds; a burst of checkpoints must not make the next pause a stall."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Everything the worker has said so far, newest only."""

    viewer: bool = False
    """No worker at all: a look at a history."""
    worker: WorkerState = STARTING
    hello: wire.Hello | None = None
    polled: wire.Polled | None = None
    progress: wire.Progress | None = None
    store_problem: str = ""
    started: float = 0.0
    """When the watching began, in seconds since the epoch."""

    @property
    def live(self) -> bool:
        """Tell whether a worker watches the run now."""
        return not self.viewer and self.worker.phase in ("live", "waiting")


def stall(timeline: Timeline, watch: Watch, now: float) -> Alert | None:
    """Return the STALLED notice, or None: live only, never stored."""
    if not watch.live or watch.progress is not None or len(timeline) < STALL_CHECKPOINTS:
        return None
    newest = timeline[-1]
    if newest.seen_at < watch.started and now - newest.mtime > RECENT_SECONDS:
        return None
    times = [row.mtime for row in timeline[-RECENT_INTERVALS - 1 :]]
    usual = median(max(0.0, later - earlier) for earlier, later in pairwise(times))
    waited = now - max(newest.mtime, newest.seen_at + newest.seconds)
    if usual <= 0 or waited <= max(STALL_INTERVALS * usual, SHORTEST_STALL):
        return None
    minutes = waited if waited < 60 else 60 * (waited // 60)
    message = f"no checkpoint for {duration(minutes)}, usual interval {duration(usual)}"
    evidence = {"usual_interval_s": round(usual, 1), "waited_s": round(waited)}
    return Alert("STALLED", Severity.INFO, None, newest.step, newest.step, message, evidence)
