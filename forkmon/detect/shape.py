"""SHAPE: the tails of a tensor leave their path: they get heavier or lighter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from forkmon.detect.cadence import clock
from forkmon.detect.cusum import crossings
from forkmon.detect.panel import Panel
from forkmon.detect.regime import Told, alert_of
from forkmon.detect.rule import Rule
from forkmon.stats.alert import Alert

KIND = "SHAPE"

FALSE_ALARMS = 0.05
"""Expected in a healthy run of 300 tensors and 150 checkpoints (`tests/bench/evaluate.py`)."""

_NORMAL = 3.0
"""Kurtosis of a normal law, which excess kurtosis is counted from."""


def shape(panel: Panel, rule: Rule) -> Iterator[Alert]:
    """Yield an alert where log kurtosis crosses and the excess kurtosis changed by the effect.

    The logarithm, because its sampling noise is about the same for light and heavy tails.
    """
    excess = panel.column("kurtosis")
    with np.errstate(invalid="ignore", divide="ignore"):
        levels = np.log(excess + _NORMAL)
    count = panel.column("n")
    for crossing in crossings(levels, clock(panel.steps), replace(rule, effect=0.0)):
        before = float(excess[crossing.row, crossing.before])
        now = float(excess[crossing.row, crossing.at])
        if not abs(now - before) >= rule.effect:
            continue
        how = "heavier" if now > before else "lighter"
        message = f"tails get {how}: excess kurtosis {before:.2f} to {now:.2f}"
        told = Told(KIND, "CUSUM of log kurtosis", message, FALSE_ALARMS)
        yield alert_of(panel, crossing, rule, told, count)
