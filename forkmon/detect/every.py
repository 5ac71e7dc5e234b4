"""Run every detector over a stored history: the same history always gives the same alerts.

Each decision at a checkpoint rests on that one and earlier ones alone, in (segment, step) order:
more checkpoints never change it, and the order in which they arrived never matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from forkmon.detect import (
    crowd,
    dead_rows,
    diverge,
    drift,
    frozen,
    global_event,
    nonfinite,
    outlier_channels,
    peer,
    provenance,
    rank,
    regime,
    runaway,
    shape,
    sparsity,
    split,
    stalled,
    twin,
    unreadable,
)
from forkmon.detect.motion import Motion, motion
from forkmon.detect.panel import Panel, ordered, panels
from forkmon.detect.settings import DEFAULT, Settings
from forkmon.detect.unreadable import Failure
from forkmon.stats.alert import Alert
from forkmon.stats.series import Series

STATISTICS: tuple[str, ...] = (
    *("n", "nan", "inf", "zeros", "std", "kurtosis", "l2", "update", "return_jump"),
    *regime.QUANTILES,
)
"""The columns that detectors look at; besides them digests, modality, channels and, where it is
there, `rank.COLUMN`."""

KINDS: tuple[str, ...] = (
    nonfinite.KIND, unreadable.KIND, provenance.KIND, twin.KIND, frozen.KIND, dead_rows.KIND,
    split.SPLIT, split.MERGE, split.INIT_SPLIT, regime.KIND, runaway.KIND, shape.KIND,
    outlier_channels.KIND, sparsity.KIND, rank.KIND, diverge.KIND, peer.KIND, drift.KIND,
    global_event.KIND, stalled.KIND,
)  # fmt: skip
"""Every kind of alert there is."""

PROVISIONAL = "provisional"
"""Evidence of an alert that an older checkpoint, still to come, may change."""


@dataclass(frozen=True, slots=True)
class Study:
    """What the detectors say about a history."""

    alerts: tuple[Alert, ...]
    motion: Motion


def all_alerts(
    series: Iterable[Series],
    failures: Iterable[Failure],
    settings: Settings = DEFAULT,
    pending: Iterable[tuple[int, int]] = (),
) -> tuple[Alert, ...]:
    """Return all alerts, newest onset first, worst first within a step, in name order."""
    return study(series, failures, settings, pending).alerts


def study(
    series: Iterable[Series],
    failures: Iterable[Failure],
    settings: Settings = DEFAULT,
    pending: Iterable[tuple[int, int]] = (),
) -> Study:
    """Return all alerts and the motion of a history; series are let go batch by batch.

    `pending` are the (segment, step) of checkpoints still to be analysed: alerts at or after the
    oldest of them are provisional.
    """
    gathering = crowd.Gathering()
    found: list[Alert] = []
    for panel in panels(_lightened(series, found, settings)):
        found += _alone(panel, settings)
        gathering.add(panel)
    everybody = gathering.crowd()
    pairs = twin.pairs(everybody)
    found += _together(everybody, pairs, settings)
    found = twin.without_echoes(found, everybody, pairs)
    found = global_event.collapsed(found, everybody.axis, len(everybody.names), settings.whole)
    found = [*_provisional(found, pending), *unreadable.unreadable(failures)]
    told = [alert for alert in found if _heard(alert, settings)]
    ordered = sorted(
        told, key=lambda a: (-a.segment, -a.onset, -a.severity, a.kind, a.tensor or "")
    )
    return Study(tuple(ordered), motion(everybody))


def _lightened(
    series: Iterable[Series], found: list[Alert], settings: Settings
) -> Iterator[Series]:
    """Yield the series without modality and channels, once those have said what they say."""
    for unordered in series:
        one = ordered(unordered)
        if one.role == "model":
            found += split.forks(one, settings.fork)
            found += dead_rows.dead_rows(one, settings.channel)
            found += outlier_channels.outlier_channels(one, settings.channel)
        yield replace(one, modality={}, channels=())


def _alone(panel: Panel, settings: Settings) -> Iterator[Alert]:
    """Yield what tensors show by themselves; optimiser and averaged weights only NaN."""
    yield from nonfinite.nonfinite(panel)
    model = panel.of_model()
    if not model.series:
        return
    yield from runaway.runaway(model, settings.runaway)
    yield from sparsity.sparsity(model, settings.sparse)
    yield from regime.regime(model, settings.regime)
    yield from shape.shape(model, settings.shape)
    if drift.KIND not in settings.off:
        yield from drift.drift(model, settings.drift)
    if rank.KIND not in settings.off:
        yield from rank.rank(model, settings.rank)


def _together(
    everybody: crowd.Crowd, pairs: list[twin.Pair], settings: Settings
) -> Iterator[Alert]:
    yield from twin.twins(everybody, pairs)
    yield from provenance.provenance(everybody, settings.provenance)
    yield from frozen.frozen(everybody, settings.frozen)
    yield from diverge.diverge(everybody, settings.among)
    yield from peer.peer(everybody, settings.among)


def _provisional(alerts: Iterable[Alert], pending: Iterable[tuple[int, int]]) -> Iterator[Alert]:
    oldest = min(pending, default=None)
    for alert in alerts:
        if oldest is None or (alert.segment, alert.step) < oldest:
            yield alert
        else:
            yield replace(alert, evidence={**alert.evidence, PROVISIONAL: 1})


def _heard(alert: Alert, settings: Settings) -> bool:
    if alert.kind in settings.off:
        return False
    words = f"{alert.kind} {alert.tensor or ''}"
    return not any(pattern.search(words) for pattern in settings.mute)
