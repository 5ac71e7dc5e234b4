"""RUNAWAY: weights grow faster between two checkpoints than healthy training can make them.

An optimiser with bounded steps moves a weight at most linearly in the step, quadratically in a
warm-up: a tensor that begins at random values has no business growing by its fourth power.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forkmon.detect.cadence import clock
from forkmon.detect.evidence import evidence, rounded
from forkmon.detect.panel import Panel
from forkmon.detect.robust import Array, Truth
from forkmon.detect.settings import Runaway
from forkmon.stats.alert import Alert, Severity

KIND = "RUNAWAY"

REFRACTORY = 8
"""Checkpoints after which an explosion that goes on is told again."""


def runaway(panel: Panel, rule: Runaway) -> Iterator[Alert]:
    """Yield one alert where a tensor's RMS explodes, and more while it goes on."""
    levels, times = panel.log_rms(), clock(panel.steps)
    count = panel.column("n")
    last = np.full(len(levels), -REFRACTORY - 1)
    for place in range(1, len(times)):
        grown = levels[:, place] - levels[:, place - 1]
        span = times[place] - times[place - 1]
        if span <= 0:
            continue
        hot = explodes(grown, float(span), rule)
        for row in np.flatnonzero(hot & (place - last > REFRACTORY)):
            last[row] = place
            yield _alert(panel, int(row), place, float(grown[row]), count, rule)


def explodes(grown: Array, span: float, rule: Runaway) -> Truth:
    """Return which logarithms of growth over a span of the clock are too large; NaN is not."""
    with np.errstate(invalid="ignore"):
        return np.asarray((grown >= np.log(rule.growth)) & (grown >= rule.exponent * span))


def _alert(panel: Panel, row: int, place: int, grown: float, count: Array, rule: Runaway) -> Alert:
    tensor, segment, step = panel.where(row, place)
    before = panel.steps[place - 1]
    factor = float(np.exp(min(grown, 700.0)))
    return Alert(
        kind=KIND,
        severity=Severity.WARN,
        tensor=tensor,
        onset=step,
        step=step,
        message=f"RMS grew by a factor of {factor:,.3g} since step {before:,}",
        evidence=evidence(
            "growth of RMS",
            factor,
            rule.growth,
            window=2,
            n=int(count[row, place]),
            expected=0.0,
            log_change=rounded(grown),
        ),
        segment=segment,
    )
