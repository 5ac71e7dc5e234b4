"""Run every detector over a stored history: the same history always gives the same alerts."""

from __future__ import annotations

from collections.abc import Iterable

from forkmon.detect.nonfinite import nonfinite
from forkmon.detect.unreadable import Failure, unreadable
from forkmon.stats.alert import Alert
from forkmon.stats.series import Series

STATISTICS: tuple[str, ...] = ("n", "nan", "inf")
"""The columns that detectors look at."""


def all_alerts(series: Iterable[Series], failures: Iterable[Failure]) -> tuple[Alert, ...]:
    """Return all alerts, newest onset first, worst first within a step, in name order."""
    found = [alert for one in series for alert in nonfinite(one)]
    found += unreadable(failures)
    return tuple(sorted(found, key=lambda a: (-a.onset, -a.severity, a.kind, a.tensor or "")))
