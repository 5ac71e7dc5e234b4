"""Alerts and the verdict from what is stored: run the pure detectors over the store."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import forkmon.detect
from forkmon.detect.settings import DEFAULT, Settings
from forkmon.detect.unreadable import Failure
from forkmon.stats.alert import Alert
from forkmon.store.reader import Reader
from forkmon.store.values import StoredVerdict, Timeline
from forkmon.store.writer import Writer
from forkmon.text import safe

if TYPE_CHECKING:
    from forkmon.detect.motion import Motion

# The detectors bring numpy: an unchanged history is answered without them.

PATIENCE = 10.0
"""While checkpoints wait, alerts are recomputed when this many times their cost has passed."""


@dataclass(slots=True)
class Judge:
    """Keeps the stored alerts those of the stored history.

    They are a pure function of it: what was computed on the way decides nothing, so it is enough
    to be right once nothing waits any more, and now and then before.
    """

    reader: Reader
    writer: Writer
    settings: Settings = DEFAULT
    clock: Callable[[], float] = time.monotonic
    _cost: float = field(init=False, default=0.0)
    _ended: float = field(init=False, default=0.0)

    def refresh(self, pending: Sequence[int] = ()) -> int:
        """Recompute the alerts and return how many there are; `pending`: steps that still wait.

        Of the history only what is new is read and measured, as far as memory goes.
        """
        history = "" if pending else self._history()
        if history and history == self.reader.judged():
            return len(self.reader.alerts())
        began = self.clock()
        if pending and began - self._ended < PATIENCE * self._cost:
            return len(self.reader.alerts())
        self.writer.measure_motion(settled=not pending)
        alerts = current_alerts(self.reader, pending, self.settings)
        self.writer.replace_alerts(alerts, of=history)
        self.writer.set_verdict(current_verdict(self.reader))
        self._ended = self.clock()
        self._cost = self._ended - began
        return len(alerts)

    def _history(self) -> str:
        """Return what tells this history, under these detectors, from any other."""
        told = (
            [(row.id, row.status) for row in self.reader.timeline()],
            [(row.id, row.reason) for row in self.reader.failed()],
            self.settings,
            _detectors(),
        )
        return hashlib.blake2b(repr(told).encode("utf-8", "replace"), digest_size=16).hexdigest()


@cache
def _detectors() -> tuple[tuple[str, int, int], ...]:
    """Return the detectors' files: another version of them may say something else."""
    found = sorted(Path(forkmon.detect.__file__).parent.glob("*.py"))
    return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in found)


def current_alerts(
    reader: Reader, pending: Sequence[int] = (), settings: Settings = DEFAULT
) -> tuple[Alert, ...]:
    """Return the alerts that the stored history gives, provisional from the first step pending."""
    from forkmon.detect import every

    timeline = reader.timeline()
    failures = [
        Failure(row.segment, row.step, safe(Path(row.path).name), row.reason or "unknown reason")
        for row in reader.failed()
    ]
    segment = timeline[-1].segment if timeline else 0
    series = reader.all_series(
        timeline, every.STATISTICS, digests=True, modality=True, channels=True
    )
    return every.all_alerts(series, failures, settings, [(segment, step) for step in pending])


def verdict(reader: Reader) -> StoredVerdict:
    """Return the verdict that goes with the stored alerts; that on the history if there is none."""
    return reader.verdict() or current_verdict(reader)


def current_verdict(reader: Reader) -> StoredVerdict:
    """Return the verdict that the stored history gives."""
    from forkmon.detect.verdict import judge

    timeline = reader.timeline()
    bad = 0
    if timeline:
        newest = timeline[-1].id
        nan, inf = (reader.column(newest, name, kind="tensor") for name in ("nan", "inf"))
        bad = sum(bool(nan[key] or inf[key]) for key in nan)
    tensors = timeline[-1].tensors if timeline else 0
    steps = [row.step for row in timeline]
    found = judge(steps, bad, reader.alerts(), _motion(reader, timeline), tensors)
    return StoredVerdict(found.state, found.reasons)


def _motion(reader: Reader, timeline: Timeline) -> Motion:
    """Return how the model as a whole moved: its block's distances are all tensors' together."""
    from forkmon.detect import crowd
    from forkmon.detect.motion import motion
    from forkmon.detect.panel import panels
    from forkmon.detect.verdict import UNMOVED

    root = reader.find("", "block")
    if root is None or not timeline:
        return UNMOVED
    whole = crowd.Gathering()
    for panel in panels(reader.all_series(timeline, crowd.COLUMNS, [root])):
        whole.add(panel)
    return motion(whole.crowd())
