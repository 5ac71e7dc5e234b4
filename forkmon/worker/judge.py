"""Alerts and the verdict from what is stored: run the pure detectors over the store."""

from __future__ import annotations

from pathlib import Path

from forkmon.detect import every
from forkmon.detect.unreadable import Failure
from forkmon.detect.verdict import Verdict, judge
from forkmon.stats.alert import Alert
from forkmon.store.reader import Reader
from forkmon.store.writer import Writer
from forkmon.text import safe


def refresh_alerts(reader: Reader, writer: Writer) -> int:
    """Replace the stored alerts by those of the present history; return how many there are."""
    alerts = current_alerts(reader)
    if alerts != reader.alerts():
        writer.replace_alerts(alerts)
    return len(alerts)


def current_alerts(reader: Reader) -> tuple[Alert, ...]:
    """Return the alerts that the stored history gives."""
    timeline = reader.timeline()
    failures = [
        Failure(row.segment, row.step, safe(Path(row.path).name), row.reason or "unknown reason")
        for row in reader.failed()
    ]
    return every.all_alerts(reader.all_series(timeline, every.STATISTICS), failures)


def verdict(reader: Reader) -> Verdict:
    """Return the verdict on the stored run."""
    timeline = reader.timeline()
    bad = 0
    if timeline:
        newest = timeline[-1].id
        nan, inf = (reader.column(newest, name, kind="tensor") for name in ("nan", "inf"))
        bad = sum(bool(nan[key] or inf[key]) for key in nan)
    return judge([row.step for row in timeline], bad, reader.alerts())
