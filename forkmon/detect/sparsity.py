"""SPARSITY: exact zeros appear in a tensor, or go away."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forkmon.detect.evidence import evidence
from forkmon.detect.panel import Panel
from forkmon.detect.robust import MAD_TO_SIGMA, Array, Truth
from forkmon.detect.settings import Sparse
from forkmon.stats.alert import Alert, Severity

KIND = "SPARSITY"

FALSE_ALARMS = 0.01
"""Expected in a healthy run of 300 tensors and 150 checkpoints."""

_FEWEST = 4
"""Checkpoints that make a past."""

_FLOOR = 1e-4
"""Least noise of a share of zeros."""


def sparsity(panel: Panel, rule: Sparse) -> Iterator[Alert]:
    """Yield an alert where the share of zeros leaves its own recent median for good.

    Tensors that were all zeros are initial states, and leaving those is no event.
    """
    zeros, count = panel.column("zeros"), panel.column("n")
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = zeros / count
    for row in np.flatnonzero(np.nanmax(shares, axis=1, initial=0.0) > rule.change):
        places = np.flatnonzero(np.isfinite(shares[row]) & (shares[row] < 1.0))
        values = shares[row, places]
        off, z = _against_past(values, rule)
        yield from _events(panel, int(row), places, (values, off, z, count[row, places]), rule)


def _against_past(values: Array, rule: Sparse) -> tuple[Array, Array]:
    """Return each value minus its past's median, and the same in standard deviations.

    The past ends before the checkpoints that must agree, so that they do not excuse themselves.
    """
    off, z = np.zeros_like(values), np.zeros_like(values)
    for i in range(_FEWEST + rule.consecutive - 1, len(values)):
        end = i - rule.consecutive + 1
        past = values[max(0, end - rule.window) : end]
        middle = float(np.median(past))
        wide = max(MAD_TO_SIGMA * float(np.median(np.abs(past - middle))), _FLOOR)
        off[i] = values[i] - middle
        z[i] = abs(off[i]) / wide
    return off, z


def _events(
    panel: Panel,
    row: int,
    places: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    known: tuple[Array, Array, Array, Array],
    rule: Sparse,
) -> Iterator[Alert]:
    values, off, z, count = known
    odd: Truth = np.asarray((np.abs(off) >= rule.change) & (z >= rule.z))
    quiet, streak = -1, 0
    for i in range(len(values)):
        streak = streak + 1 if odd[i] else 0
        if streak < rule.consecutive or i <= quiet:
            continue
        quiet, streak = i + rule.window, 0
        tensor, segment, step = panel.where(row, int(places[i]))
        yield Alert(
            kind=KIND,
            severity=Severity.WARN,
            tensor=tensor,
            onset=panel.steps[int(places[i - rule.consecutive + 1])],
            step=step,
            message=f"exact zeros {values[i] - off[i]:.1%} to {values[i]:.1%}".replace("%", " %"),
            evidence=evidence(
                "share of exact zeros", float(values[i]), float(values[i] - off[i]) + rule.change,
                window=rule.window, n=int(count[i]), expected=FALSE_ALARMS, z=float(z[i]),
            ),
            segment=segment,
        )  # fmt: skip
