"""Where a checkpoint belongs in a run's history: segment, version and generation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forkmon.runs.refs import CheckpointRef

LATER_NS = 2_000_000_000
"""Clocks of file servers differ; less than this is not later, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A checkpoint already in the history."""

    segment: int
    generation: int
    step: int
    version: int
    mtime_ns: int
    present: bool
    """Whether its files are still on disk."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a new checkpoint goes."""

    segment: int
    version: int
    generation: int
    parent_segment: int | None = None
    """The segment that a newly opened one goes on from; None when none was opened or is known."""


def place(known: Sequence[Placed], ref: CheckpointRef, *, live: bool) -> Placement:
    """Return the place of a checkpoint whose path and fingerprint are not in the history yet.

    Whatever was there when forkmon came (`live` false) is one segment. In a live run a step that
    goes back in newer files opens a segment: a resume or a branch; in older files it is only late.
    """
    if not known:
        return Placement(segment=0, version=0, generation=0)
    generation = max(row.generation for row in known)
    current = [row for row in known if row.generation == generation]
    mtime_ns = ref.fingerprint.mtime_ns
    if _retrained(current, ref.step, mtime_ns):
        return Placement(_next_segment(known), 0, generation + 1)
    segment = max(row.segment for row in current)
    if live and _went_back([r for r in current if r.segment == segment], ref.step, mtime_ns):
        return Placement(_next_segment(known), 0, generation, parent_segment=segment)
    return Placement(segment, _next_version(known, segment, ref.step), generation)


def _retrained(current: Sequence[Placed], step: int, mtime_ns: int) -> bool:
    """Return whether the directory was emptied and a new training began in it."""
    return (
        not any(row.present for row in current)
        and step <= min(row.step for row in current)
        and mtime_ns > max(row.mtime_ns for row in current) + LATER_NS
    )


def _went_back(segment: Sequence[Placed], step: int, mtime_ns: int) -> bool:
    furthest = max(segment, key=lambda row: (row.step, row.version))
    return step < furthest.step and mtime_ns > furthest.mtime_ns + LATER_NS


def _next_segment(known: Sequence[Placed]) -> int:
    return max(row.segment for row in known) + 1


def _next_version(known: Sequence[Placed], segment: int, step: int) -> int:
    versions = [row.version for row in known if row.segment == segment and row.step == step]
    return max(versions, default=-1) + 1
