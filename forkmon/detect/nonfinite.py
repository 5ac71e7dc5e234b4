"""NONFINITE: a tensor holds NaN or infinities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forkmon.detect.evidence import evidence
from forkmon.detect.panel import Panel
from forkmon.stats.alert import Alert, Severity

KIND = "NONFINITE"


def nonfinite(panel: Panel) -> Iterator[Alert]:
    """Yield one alert for each run of steps at which a tensor has non-finite elements.

    No debounce: one NaN is enough. Onset and detection are the first step of the run; steps at
    which the tensor is missing do not end it.
    """
    nan, inf = np.nan_to_num(panel.column("nan")), np.nan_to_num(panel.column("inf"))
    count = panel.column("n")
    bad, known = nan + inf > 0, np.isfinite(count)
    for row in np.flatnonzero(bad.any(axis=1)):
        was_bad = False
        for place in np.flatnonzero(known[row]):
            if bad[row, place] and not was_bad:
                counts = (int(column[row, place]) for column in (count, nan, inf))
                yield _alert(panel, int(row), int(place), *counts)
            was_bad = bool(bad[row, place])


def _alert(panel: Panel, row: int, place: int, n: int, nan: int, inf: int) -> Alert:
    parts = [f"{count:,} {word}" for count, word in ((nan, "NaN"), (inf, "Inf")) if count]
    tensor, segment, step = panel.where(row, place)
    facts = evidence("nonfinite elements", nan + inf, 1, window=1, n=n, expected=0.0)
    return Alert(
        kind=KIND,
        severity=Severity.ERROR,
        tensor=tensor,
        onset=step,
        step=step,
        message=f"{' and '.join(parts)} of {n:,} elements",
        evidence={"nan": nan, "inf": inf, **facts},
        segment=segment,
    )
