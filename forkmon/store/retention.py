"""Which histograms to give up when a store grows beyond its cap; moments are kept for ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from forkmon.stats.alert import Alert
from forkmon.store.values import CheckpointRow

NEWEST_KEPT = 50
_ROOM = 0.9
"""Share of the cap that thinning aims at, so that it need not run at every checkpoint."""


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of a store that hold something (freed pages are used again)."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


def dispensable(checkpoints: Sequence[CheckpointRow], alerts: Iterable[Alert]) -> Iterator[int]:
    """Yield the ids whose histograms may go, oldest first.

    Kept are the newest, the first of every power of two of steps in a segment (what a curve over
    log steps shows), the steps of alerts, and the checkpoint before each onset.
    """
    ordered = sorted(checkpoints, key=lambda c: (c.generation, c.segment, c.step, c.version))
    kept = {row.id for row in ordered[-NEWEST_KEPT:]}
    octaves: set[tuple[int, int]] = set()
    for row in ordered:
        octave = (row.segment, row.step.bit_length())
        if octave not in octaves:
            octaves.add(octave)
            kept.add(row.id)
    for alert in alerts:
        kept |= _around(alert, ordered)
    for row in ordered:
        if row.id not in kept:
            yield row.id


def _around(alert: Alert, ordered: Sequence[CheckpointRow]) -> set[int]:
    of_segment = [row for row in ordered if row.segment == alert.segment]
    kept = {row.id for row in of_segment if row.step in (alert.onset, alert.step)}
    before = [row.id for row in of_segment if row.step < alert.onset]
    return kept | set(before[-1:])


def enough(connection: sqlite3.Connection, cap_bytes: int) -> bool:
    """Return whether a store that was beyond its cap has room again."""
    return used_bytes(connection) <= cap_bytes * _ROOM
