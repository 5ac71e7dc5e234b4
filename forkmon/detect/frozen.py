"""FROZEN: a tensor stands still while the others move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from forkmon.detect.crowd import Crowd
from forkmon.detect.evidence import evidence
from forkmon.detect.peers import places_of
from forkmon.detect.robust import Array
from forkmon.detect.settings import Frozen
from forkmon.detect.streak import lengths
from forkmon.stats.alert import Alert, Severity

KIND = "FROZEN"

STOPPED = "has stopped"


def frozen(crowd: Crowd, rule: Frozen) -> Iterator[Alert]:
    """Yield an alert for each time a tensor stops while at least half of all move.

    One that never moved is told as information: it may be meant so. Moving once ends it.
    """
    speed = relative_updates(crowd)
    known = np.isfinite(speed)
    usual = _usual(crowd, speed)
    with np.errstate(invalid="ignore"):
        moved = known & (speed > rule.ratio * usual)
        others = moved.sum(axis=0) >= rule.moving * np.maximum(known.sum(axis=0), 1)
    judged = known & others[None, :] & (usual > 0)
    streak = lengths(judged & ~moved, known & (moved | others[None, :]))
    ever = np.cumsum(moved, axis=1) > 0
    for row, place in np.argwhere((streak == rule.consecutive) & judged & ~moved):
        speeds = speed[row, : place + 1], float(usual[row, place])
        told = _alert(crowd, (int(row), int(place)), speeds, rule)
        yield told if ever[row, place] else _never_moved(told)


def relative_updates(crowd: Crowd) -> Array:
    """Return the norm of each change over the norm of what changed; NaN where unknown."""
    update, size = crowd.columns["update"], crowd.columns["l2"]
    with np.errstate(invalid="ignore", divide="ignore"):
        speed = update / size
    return np.where(np.isfinite(speed), speed, np.where(update == 0, 0.0, np.nan))


def _usual(crowd: Crowd, speed: Array) -> Array:
    """Return the median of each tensor's peers, of all tensors where it has fewer than two."""
    everybody = _median(speed)
    usual = np.broadcast_to(everybody, speed.shape).copy()
    for rows in places_of(crowd.names).values():
        if len(rows) > 2:
            own = _median(speed[rows])
            usual[rows] = np.where(own > 0, own, everybody)
    return usual


def _median(speed: Array) -> Array:
    """Return the median of the known speeds of each column; 0 where none is known."""
    ordered = np.sort(speed, axis=0)  # NaN last
    count = np.isfinite(speed).sum(axis=0)
    middle = np.take_along_axis(
        ordered, (np.maximum(count, 1) // 2)[None, :].clip(max=len(speed) - 1), axis=0
    )[0]
    return np.where(count > 0, np.nan_to_num(middle), 0.0)


def _alert(
    crowd: Crowd,
    at: tuple[int, int],
    speeds: tuple[Array, float],
    rule: Frozen,
) -> Alert:
    row, place = at
    segment, step = crowd.axis[place]
    now, others = float(speeds[0][-1]), speeds[1]
    first = int(np.flatnonzero(np.isfinite(speeds[0]))[-rule.consecutive])
    by = "not at all" if now == 0 else f"by {now:.1e} of its norm"
    return Alert(
        kind=KIND,
        severity=Severity.WARN,
        tensor=crowd.names[row],
        onset=crowd.steps[first],
        step=step,
        message=f"{STOPPED}: it moves {by}, its peers by {others:.1e}",
        evidence=evidence(
            "relative update",
            now,
            rule.ratio * others,
            window=rule.consecutive,
            n=int(np.nan_to_num(crowd.columns["n"][row, place])),
            expected=0.0,
            peers_median=others,
        ),
        segment=segment,
    )


def _never_moved(alert: Alert) -> Alert:
    message = alert.message.replace(STOPPED, "has never moved", 1)
    return replace(alert, severity=Severity.INFO, message=message)
