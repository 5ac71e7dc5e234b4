"""NONFINITE: a tensor holds NaN or infinities."""

from __future__ import annotations

from collections.abc import Iterator

from forkmon.stats.alert import Alert, Severity
from forkmon.stats.series import Series

KIND = "NONFINITE"


def nonfinite(series: Series) -> Iterator[Alert]:
    """Yield one alert for each run of steps at which the tensor has non-finite elements.

    No debounce: one NaN is enough. Onset and detection are the first step of the run.
    """
    was_bad = False
    columns = (series.values[name] for name in ("n", "nan", "inf"))
    for step, n, nan, inf in zip(series.steps, *columns, strict=True):
        bad = bool(nan or inf)
        if bad and not was_bad:
            yield _alert(series.tensor, step, int(n or 0), int(nan or 0), int(inf or 0))
        if n is not None:
            was_bad = bad


def _alert(tensor: str, step: int, n: int, nan: int, inf: int) -> Alert:
    parts = [f"{count:,} {word}" for count, word in ((nan, "NaN"), (inf, "Inf")) if count]
    return Alert(
        kind=KIND,
        severity=Severity.ERROR,
        tensor=tensor,
        onset=step,
        step=step,
        message=f"{' and '.join(parts)} of {n:,} elements",
        evidence={"nan": nan, "inf": inf, "n": n},
    )
