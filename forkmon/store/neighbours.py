"""Between which checkpoints distances were measured, and whether they hold on a timeline."""

from __future__ import annotations

from forkmon.store.query import Query, batches, marks
from forkmon.store.values import Timeline

MOTION: tuple[str, ...] = ("update", "drift", "return_jump")
"""Distances of a checkpoint: from the one before, from the first, between before and after."""

Ends = tuple[int | None, int | None, int | None]
"""Ids of the checkpoints before and after, and of the first."""

Holds = tuple[bool, bool, bool]
"""Whether each of `MOTION` was measured between the neighbours that a timeline has."""


def neighbours(timeline: Timeline, *, settled: bool = True) -> dict[int, Ends]:
    """Return the ends of each checkpoint by id; the first is not known unless `settled`."""
    ids = [row.id for row in timeline]
    first = ids[0] if ids and settled else None
    around = zip([None, *ids[:-1]], ids, [*ids[1:], None], strict=True) if ids else ()
    return {here: (before, after, first) for before, here, after in around}


def holding(query: Query, timeline: Timeline) -> dict[int, Holds]:
    """Return which distances hold on a timeline, for each of its measured checkpoints."""
    wanted = neighbours(timeline)
    found: dict[int, Holds] = {}
    for some in batches(list(wanted)):
        rows = query(
            'SELECT checkpoint, "before", "after", "first" FROM neighbour '  # noqa: S608
            f"WHERE checkpoint IN ({marks(some)})",
            some,
        )
        for number, *ends in rows:
            before, after, first = (a == b for a, b in zip(ends, wanted[number], strict=True))
            found[number] = (before, first, before and after)
    return found
