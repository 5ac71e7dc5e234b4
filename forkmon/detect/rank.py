"""RANK: the stable rank of a matrix leaves its path. Opt-in: the column is costly to fill."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forkmon.detect.cadence import clock
from forkmon.detect.cusum import crossings
from forkmon.detect.evidence import percent
from forkmon.detect.panel import Panel
from forkmon.detect.regime import Told, alert_of
from forkmon.detect.rule import Rule
from forkmon.stats.alert import Alert, Severity

KIND = "RANK"

COLUMN = "stable_rank"
"""Squared Frobenius norm over squared spectral norm."""

FALSE_ALARMS = 0.05
"""Expected in a healthy run of 300 tensors and 150 checkpoints: the rule of REGIME, wider."""


def rank(panel: Panel, rule: Rule) -> Iterator[Alert]:
    """Yield an alert for each crossing of the CUSUM of the log of the stable rank."""
    if not any(COLUMN in one.values for one in panel.series):
        return
    ranks = panel.column(COLUMN)
    with np.errstate(invalid="ignore", divide="ignore"):
        levels = np.log(ranks)
    count = panel.column("n")
    for crossing in crossings(levels, clock(panel.steps), rule):
        now = float(ranks[crossing.row, crossing.at])
        message = f"stable rank {now:.3g}, {percent(crossing.shift)} off its trend"
        told = Told(KIND, "CUSUM of log stable rank", message, FALSE_ALARMS, Severity.INFO)
        yield alert_of(panel, crossing, rule, told, count)
