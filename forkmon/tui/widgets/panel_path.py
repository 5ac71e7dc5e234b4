"""Panel 6: the run's path through weight space, branches included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.draw.cells import fit
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import share, step
from forkmon.draw.trajectory import Point, Track, trajectory
from forkmon.tui.widgets.panel_histogram import nothing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.tui.fetching import Path, Stop
    from forkmon.tui.widgets.panel import Subject
    from forkmon.tui.widgets.words import Box

FEWEST = 3
"""Checkpoints a path needs."""


def path_lines(subject: Subject, found: Path | None, box: Box) -> list[Line]:
    """Return the panel's drawing, or what it waits for."""
    if len(subject.timeline) < FEWEST:
        return nothing("a path needs three checkpoints", box)
    if found is None:
        return nothing("comparing the sketches of all checkpoints", box)
    if not found.stops:
        said = "too few finite checkpoints with sketches for a path"
        return nothing(said, box)
    drawn = trajectory(
        tracks(subject, found), width=box.width, height=box.height - 1, glyphs=box.glyphs
    )
    return [_title(found, box), *drawn]


def _title(found: Path, box: Box) -> Line:
    many = f"{found.tensors:,} tensors"
    if found.tensors < found.every:
        many = f"the {found.tensors:,} largest of {found.every:,} tensors"
    far = f"; {found.far:,} not finite or too far to show" if found.far else ""
    said = f"   est. distances of {many}; {share(found.kept)} of their squares kept{far}"
    return fit((Span("path of the run", Ink.TITLE), Span(said, Ink.MUTED)), box.width, box.glyphs)


def tracks(subject: Subject, found: Path) -> list[Track]:
    """Return the lineage shown and, for each other segment, its branch from where it left."""
    own = {row.id for row in subject.timeline}
    made = [Track(_points([s for s in found.stops if s.checkpoint in own], subject))]
    segments = dict.fromkeys(s.segment for s in found.stops if s.checkpoint not in own)
    for segment in segments:
        side = [s for s in found.stops if s.segment == segment and s.checkpoint not in own]
        before = [s for s in found.stops if s.segment <= segment and s.step < side[0].step]
        root = [s for s in before if s not in side][-1:]
        made.append(Track(_points([*root, *side], subject), side=True))
    return made


def _points(stops: Sequence[Stop], subject: Subject) -> tuple[Point, ...]:
    base = subject.baseline
    return tuple(
        Point(
            stop.x,
            stop.y,
            step(stop.step),
            marked=stop.checkpoint == subject.current.id,
            baseline=base is not None and stop.checkpoint == base.id,
        )
        for stop in stops
    )
