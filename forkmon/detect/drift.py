"""DRIFT: the form of a distribution leaves its path, scale and place taken out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from forkmon.detect.cadence import clock
from forkmon.detect.cusum import crossings
from forkmon.detect.panel import Panel
from forkmon.detect.regime import QUANTILES, Told, alert_of
from forkmon.detect.robust import Array, Truth
from forkmon.detect.rule import Rule
from forkmon.stats.alert import Alert, Severity

KIND = "DRIFT"

STEP_OF_TYPE = {"bf16": 2.0**-7, "f16": 2.0**-10, "f8_e4m3": 2.0**-3, "f8_e5m2": 2.0**-2}
"""Relative distance of neighbouring values just above a power of two."""

_STEPS = 64
"""Steps of the type, at the largest value, that the middle 90 % must span."""

_SHOULDERS_OF_NORMAL = 2.4387
"""Middle 90 % of a normal law over its middle half."""

FALSE_ALARMS = 0.05
"""Expected in a healthy run of 300 tensors and 150 checkpoints (`tests/bench/evaluate.py`)."""


def drift(panel: Panel, rule: Rule) -> Iterator[Alert]:
    """Yield an alert where the skew or the shoulders of the bulk cross.

    Quantiles do not see the far tails: those are SHAPE's.
    """
    count = panel.column("n")
    quantiles = [panel.column(name) for name in QUANTILES]
    seen = resolved([one.dtype for one in panel.series], quantiles[0], quantiles[-1])
    for name, known in forms(*quantiles).items():
        levels = np.where(seen, known, np.nan)
        for crossing in crossings(levels, clock(panel.steps), rule):
            message = f"{name} of the bulk {crossing.shift:+.2f} off its trend"
            told = Told(KIND, f"CUSUM of the {name}", message, FALSE_ALARMS, Severity.INFO)
            yield alert_of(panel, crossing, rule, told, count)


def resolved(dtypes: Sequence[str], least: Array, most: Array) -> Truth:
    """Return where rounding is too fine to move the quantiles from one value to the next.

    The middle 90 % must span many steps of the type; types that are not listed are fine enough.
    """
    steps = np.array([STEP_OF_TYPE.get(dtype, 0.0) for dtype in dtypes])[:, None]
    with np.errstate(invalid="ignore"):
        largest = np.maximum(np.abs(least), np.abs(most))
        return np.asarray(most - least >= _STEPS * steps * largest)


def forms(least: Array, low: Array, middle: Array, high: Array, most: Array) -> dict[str, Array]:
    """Return two numbers on the form of a law, from its 5, 25, 50, 75 and 95 % quantiles.

    Both are 0 for a normal law: Kelley's skewness (between -1 and 1), and the log of the middle
    90 % over the middle half.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        skew = (most + least - 2 * middle) / (most - least)
        shoulders = np.log((most - least) / (high - low) / _SHOULDERS_OF_NORMAL)
    return {"skew": skew, "shoulders": shoulders}
