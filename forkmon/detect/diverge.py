"""DIVERGE: the layers of a model part into two families at one place.

The other reading of a fork: not the weights of one tensor, but one statistic of many tensors.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forkmon.detect.crowd import Crowd
from forkmon.detect.evidence import counted, evidence
from forkmon.detect.peers import places_of
from forkmon.detect.robust import Array
from forkmon.detect.settings import Among
from forkmon.stats.alert import Alert, Severity

KIND = "DIVERGE"

FALSE_ALARMS = 0.01
"""Expected in a healthy run of 300 tensors and 150 checkpoints (`tests/bench/evaluate.py`)."""

_LEAST = 0.1
"""Least gap in log RMS."""

_STAY = 0.5
"""Share of the gap's limit above which two families stay two."""

_FLOOR = 1e-3
"""Least standard deviation within a family, in log RMS."""


def diverge(crowd: Crowd, rule: Among) -> Iterator[Alert]:
    """Yield an alert where the layers' log RMS at one place, one family before, becomes two."""
    for rows in places_of(crowd.names).values():
        if len(rows) < rule.layers:
            continue
        levels = crowd.columns["log_rms"][rows]
        places = np.flatnonzero(np.isfinite(levels).all(axis=0))
        if len(places) > rule.window:
            yield from _place(crowd, rows, levels[:, places], places, rule)


def _place(
    crowd: Crowd, rows: list[int], levels: Array, places: NDArray[np.int64], rule: Among
) -> Iterator[Alert]:
    gaps, widths, sizes = parting(levels, rule)
    two = (gaps >= rule.gap * widths) & (gaps >= _LEAST)
    one = (gaps < _STAY * rule.gap * widths) | (gaps < _STAY * _LEAST)
    state = "unknown"
    for i in range(rule.window - 1, len(places)):
        recent = np.arange(i - rule.window + 1, i + 1)
        if one[recent].sum() >= rule.enough:
            state = "one"
        if two[recent].sum() < rule.enough or state == "two":
            continue
        if state == "one":
            onset = int(recent[two[recent]][0])
            smaller = _smaller(rows, levels[:, i], int(sizes[i]))
            value = float(gaps[i] / widths[i])
            where = int(places[onset]), int(places[i])
            yield _alert(crowd, rows, smaller, value, where, rule)
        state = "two"


def parting(levels: Array, rule: Among) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return the best cut of each column: its gap, the width of the families, the lower's size.

    The cut with the largest gap in pooled standard deviations, of all that leave both families
    their share.
    """
    ordered = np.sort(levels, axis=0)
    count = len(ordered)
    least = max(3, int(np.ceil(rule.share * count)))
    cuts = np.arange(least, count - least + 1)
    size = cuts[:, None].astype(float)
    total, square = ordered.sum(axis=0), (ordered**2).sum(axis=0)
    low, low2 = np.cumsum(ordered, axis=0)[cuts - 1], np.cumsum(ordered**2, axis=0)[cuts - 1]
    inside = low2 - low**2 / size + (square - low2) - (total - low) ** 2 / (count - size)
    widths = np.maximum(np.sqrt(np.maximum(inside, 0) / (count - 2)), _FLOOR)
    gaps = ordered[cuts] - ordered[cuts - 1]
    best = (gaps / widths).argmax(axis=0)
    at = np.arange(levels.shape[1], dtype=np.int64)
    return gaps[best, at], widths[best, at], cuts[best]


def _smaller(rows: list[int], levels: Array, lower: int) -> list[int]:
    """Return the rows of the smaller family, in name order."""
    order = np.argsort(levels, kind="stable")
    chosen = order[:lower] if 2 * lower <= len(rows) else order[lower:]
    return [rows[i] for i in sorted(chosen)]


def _alert(
    crowd: Crowd,
    rows: list[int],
    smaller: list[int],
    value: float,
    where: tuple[int, int],
    rule: Among,
) -> Alert:
    onset, at = where
    segment, step = crowd.axis[at]
    return Alert(
        kind=KIND,
        severity=Severity.INFO,
        tensor=crowd.names[smaller[0]],
        onset=crowd.steps[onset],
        step=step,
        message=f"{counted(len(smaller), 'layer')} of {len(rows)} part from the others in scale",
        evidence=evidence(
            "gap between two families of layers",
            value,
            rule.gap,
            window=rule.window,
            n=len(rows),
            expected=FALSE_ALARMS,
            family=len(smaller),
        ),
        segment=segment,
    )
