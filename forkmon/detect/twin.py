"""TWIN: two tensors of one checkpoint are bit-equal, and stay so.

What two twins say is said once: their agreement proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forkmon.detect.crowd import NO_DIGEST, Crowd
from forkmon.detect.evidence import evidence
from forkmon.stats.alert import Alert, Severity
from forkmon.text import safe

KIND = "TWIN"

CONSECUTIVE = 2
"""Checkpoints at which two tensors must be equal."""

_NAMED = 3
"""Twins that a message names, at most."""

_SHOWN = 60
"""Characters of a twin's name in a message."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor and the one it equals: the first in name order of all that are equal."""

    row: int
    leader: int
    onset: int
    """Place from which on they are equal."""
    at: int
    """Place at which that is certain."""


def pairs(crowd: Crowd) -> list[Pair]:
    """Return each tensor that became a twin, once a leader, in the order of detection."""
    leaders = _leaders(crowd)
    told: set[tuple[int, int]] = set()
    found: list[Pair] = []
    for row in np.flatnonzero((leaders >= 0).any(axis=1)):
        streak: list[int] = []
        last = -1
        for place in np.flatnonzero(leaders[row] != _MISSING):
            leader = int(leaders[row, place])
            streak = [*streak, int(place)] if leader == last else [int(place)]
            last = leader
            if leader >= 0 and len(streak) >= CONSECUTIVE and (int(row), leader) not in told:
                told.add((int(row), leader))
                found.append(Pair(int(row), leader, streak[-CONSECUTIVE], int(place)))
    return sorted(found, key=lambda pair: (pair.at, pair.leader, pair.row))


_ALONE, _MISSING = -1, -2


def _leaders(crowd: Crowd) -> NDArray[np.int64]:
    """Return the first row that equals each row, by place; _ALONE, or _MISSING where unknown."""
    out = np.full(crowd.digests.shape, _MISSING, np.int64)
    known = (crowd.digests != NO_DIGEST) & (crowd.columns["std"] > 0)
    for place in range(len(crowd.axis)):
        rows = np.flatnonzero(known[:, place])
        _, first, group = np.unique(
            crowd.digests[rows, place], return_index=True, return_inverse=True
        )
        leader = rows[first[group]]
        out[rows, place] = np.where(leader == rows, _ALONE, leader)
    return out


def twins(crowd: Crowd, found: Iterable[Pair]) -> Iterator[Alert]:
    """Yield one alert for each group of twins that is found at one step."""
    groups: dict[tuple[int, int, int], list[int]] = {}
    for pair in found:
        groups.setdefault((pair.leader, pair.onset, pair.at), []).append(pair.row)
    for (leader, onset, at), rows in groups.items():
        segment, step = crowd.axis[at]
        named = ", ".join(safe(crowd.names[row], _SHOWN) for row in rows[:_NAMED])
        more = f" and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else ""
        yield Alert(
            kind=KIND,
            severity=Severity.INFO,
            tensor=crowd.names[leader],
            onset=crowd.steps[onset],
            step=step,
            message=f"bit-equal to {named}{more}",
            evidence=evidence(
                "equal content hashes", len(rows) + 1, 2, window=CONSECUTIVE,
                n=int(crowd.columns["n"][leader, at]), expected=0.0, twins=named + more,
            ),
            segment=segment,
        )  # fmt: skip


def without_echoes(alerts: Iterable[Alert], crowd: Crowd, found: Iterable[Pair]) -> list[Alert]:
    """Return the alerts without those that a tensor's known twin raises at the same steps."""
    since = {
        (crowd.names[pair.row], crowd.names[pair.leader]): crowd.axis[pair.at] for pair in found
    }
    leaders: dict[str, list[str]] = {}
    for row, leader in since:
        leaders.setdefault(row, []).append(leader)
    kept = list(alerts)
    if not leaders:
        return kept
    said = {(a.kind, a.tensor, a.segment, a.onset, a.step) for a in kept}

    def echo(alert: Alert) -> bool:
        return any(
            since[alert.tensor or "", leader] <= (alert.segment, alert.step)
            and (alert.kind, leader, alert.segment, alert.onset, alert.step) in said
            for leader in leaders.get(alert.tensor or "", ())
        )

    return [alert for alert in kept if alert.kind == KIND or not echo(alert)]
