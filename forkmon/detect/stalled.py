"""STALLED: no checkpoint for several usual intervals. Live only: it hangs on the clock."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from forkmon.detect.evidence import evidence
from forkmon.detect.settings import Stalled
from forkmon.stats.alert import Alert, Severity

KIND = "STALLED"

_FEWEST = 3
"""Intervals that make something usual."""


def stalled(landed: Sequence[tuple[int, float]], now: float, rule: Stalled) -> Alert | None:
    """Return the alert of a run that has gone quiet, from (step, time of landing) and the time.

    Times in seconds of one clock. What is usual is the median of the newest intervals; a run with
    fewer than three, or one copied here in a moment, has nothing usual.
    """
    times = sorted(time for _, time in landed)
    intervals = [b - a for a, b in pairwise(times)][-rule.recent :]
    if len(intervals) < _FEWEST:
        return None
    usual, waited = median(intervals), now - times[-1]
    limit = max(rule.intervals * usual, rule.least_seconds)
    if usual <= 0 or waited < limit:
        return None
    step = max(landed, key=lambda one: one[1])[0]
    return Alert(
        kind=KIND,
        severity=Severity.WARN,
        tensor=None,
        onset=step,
        step=step,
        message=f"no checkpoint for {waited / usual:.0f} usual intervals",
        evidence=evidence(
            "seconds since the newest checkpoint",
            waited,
            limit,
            window=len(intervals),
            n=len(times),
            expected=0.0,
            usual_seconds=usual,
        ),
    )
