"""Which checkpoints lie on the way to the newest one: those of its segment and its ancestors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

from forkmon.store.values import CheckpointRow, Timeline


def timeline(rows: Iterable[CheckpointRow], parents: Mapping[int, int | None]) -> Timeline:
    """Return the lineage of the newest segment of the newest generation, oldest step first.

    Only checkpoints with numbers count, and of a step only the latest version. A segment
    contributes its own steps; its ancestors those below the first step of every descendant.
    """
    segments: dict[int, dict[int, CheckpointRow]] = {}
    newest = (-1, -1)
    for row in rows:
        if row.status not in ("complete", "partial"):
            continue
        newest = max(newest, (row.generation, row.segment))
        steps = segments.setdefault(row.segment, {})
        if row.step not in steps or steps[row.step].version < row.version:
            steps[row.step] = row
    chosen: list[CheckpointRow] = []
    below = inf
    for segment in _line(newest[1], parents):
        steps = segments.get(segment, {})
        chosen += [row for step, row in steps.items() if step < below]
        below = min([below, *steps])
    return tuple(sorted(chosen, key=lambda row: row.step))


def _line(segment: int, parents: Mapping[int, int | None]) -> Iterable[int]:
    """Yield a segment and its ancestors; a circle (no store of ours has one) ends it."""
    seen: set[int] = set()
    at: int | None = segment
    while at is not None and at not in seen:
        seen.add(at)
        yield at
        at = parents.get(at)
