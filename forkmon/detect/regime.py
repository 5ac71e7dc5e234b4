"""REGIME: the scale of a tensor leaves its path, by a jump or by a new rate of growth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from forkmon.detect.cadence import clock
from forkmon.detect.cusum import Crossing, crossings
from forkmon.detect.evidence import evidence, percent
from forkmon.detect.panel import Panel
from forkmon.detect.robust import Array
from forkmon.detect.rule import Rule
from forkmon.stats.alert import Alert, Severity

KIND = "REGIME"

QUANTILES: tuple[str, ...] = ("q0.05", "q0.25", "q0.5", "q0.75", "q0.95")
"""The columns that say what the bulk of a tensor does."""

ALONE = 0.5
"""Share of a shift that may be due to the tails alone."""

FALSE_ALARMS = 0.01
"""Expected in a healthy run of 300 tensors and 150 checkpoints: `evaluate_limits` in the tests."""


def regime(panel: Panel, rule: Rule) -> Iterator[Alert]:
    """Yield an alert for each crossing of the CUSUM of log RMS that the bulk takes part in.

    Where tails are heavy, a handful of elements moves the RMS: that is SHAPE's affair.
    """
    levels, bulk = panel.log_rms(), bulk_level(panel)
    count = panel.column("n")
    for crossing in crossings(levels, clock(panel.steps), rule):
        change = _change(levels, crossing)
        alone = (change - _change(bulk, crossing)) / crossing.shift
        if alone > ALONE:
            continue
        told = Told(
            KIND,
            "CUSUM of log RMS",
            f"scale {percent(crossing.shift)} off its trend ({percent(change)} in all)",
            FALSE_ALARMS,
        )
        yield alert_of(panel, crossing, rule, told, count)


def bulk_level(panel: Panel) -> Array:
    """Return the log of the root mean square of five quantiles; NaN where they are not known."""
    squares = np.array([panel.column(name) ** 2 for name in QUANTILES])
    with np.errstate(divide="ignore", invalid="ignore"):
        level = 0.5 * np.log(squares.mean(axis=0))
    return np.where(np.isfinite(level), level, np.nan)


def _change(levels: Array, crossing: Crossing) -> float:
    return float(levels[crossing.row, crossing.at] - levels[crossing.row, crossing.before])


@dataclass(frozen=True, slots=True)
class Told:
    """How a crossing is put into words."""

    kind: str
    statistic: str
    message: str
    expected: float
    severity: Severity = Severity.WARN


def alert_of(panel: Panel, crossing: Crossing, rule: Rule, told: Told, count: Array) -> Alert:
    """Return the alert of a crossing."""
    tensor, segment, step = panel.where(crossing.row, crossing.at)
    n = count[crossing.row, crossing.at]
    return Alert(
        kind=told.kind,
        severity=told.severity,
        tensor=tensor,
        onset=panel.steps[crossing.onset],
        step=step,
        message=told.message,
        evidence=evidence(
            told.statistic,
            crossing.sum,
            rule.limit,
            window=rule.window,
            n=int(n) if np.isfinite(n) else 0,
            expected=told.expected,
            shift=crossing.shift,
            effect_gate=rule.effect,
            noise=crossing.scale,
        ),
        segment=segment,
    )
