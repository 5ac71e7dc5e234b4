"""The difference of two checkpoints: the most changed tensors first, distances as estimates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.draw.cells import clip_middle, fit, pad
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import count, percent, short, step
from forkmon.tui.widgets.words import ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.draw.glyphs import Glyphs
    from forkmon.store.values import CheckpointRow
    from forkmon.tui.fetching import Difference, Differing
    from forkmon.tui.scene import Scene
    from forkmon.tui.tree_model import Node

MOST_LISTED = 400
"""Tensors in the sheet: the most changed ones."""

NARROW = 90
"""Below this many columns the last two are left out."""

Ends = tuple["CheckpointRow", "CheckpointRow"]

DISTANCE, SPREAD, CHANGE, TAILS, ZEROS = 13, 16, 8, 13, 8


def difference_head(
    found: Difference | None, between: Ends, width: int, glyphs: Glyphs
) -> list[Line]:
    """Return what stands above the tensors: which steps, how much of it is estimated."""
    before, after = (step(row.step, glyphs) for row in between)
    title = (
        Span("difference", Ink.TITLE),
        Span("   step "),
        Span(after, Ink.ACCENT),
        Span(" against "),
        Span(f"baseline {before}", Ink.BASELINE),
    )
    many = 0 if found is None else len(found.rows)
    said = f"{many:,} tensors, most changed first" if many else ""
    if many > MOST_LISTED:
        said += f"; {MOST_LISTED} listed"
    if width < NARROW:
        said = f"{many:,} tensors" if many else ""
    norm = glyphs.norm
    name = f"{norm}{glyphs.delta}w{norm}/{norm}w{norm} est."
    heading = (
        Span(pad("tensor", _room(width))),
        Span(pad(name, DISTANCE, "right", glyphs)),
        Span(pad("std", SPREAD, "right", glyphs)),
        Span(pad("change", CHANGE, "right", glyphs)),
        *(_wide_heading(glyphs) if width >= NARROW else ()),
    )
    muted = tuple(Span(span.text, Ink.MUTED) for span in heading)
    return [
        ends(title, (Span(said, Ink.MUTED),), width, glyphs),
        fit(muted, width, glyphs),
    ]


def _wide_heading(glyphs: Glyphs) -> tuple[Span, ...]:
    return (
        Span(pad("ex.kurtosis", TAILS, "right", glyphs)),
        Span(pad(f"{glyphs.delta}zeros", ZEROS, "right", glyphs)),
    )


def difference_lines(
    found: Difference | None, scene: Scene, width: int, glyphs: Glyphs
) -> list[Line]:
    """Return one line a tensor, or what is waited for."""
    if found is None:
        return [fit((Span("comparing sketches", Ink.MUTED),), width, glyphs)]
    lines = [_line(row, node, width, glyphs) for row, node in _listed(found, scene)]
    return lines or [fit((Span("no tensor is in both", Ink.MUTED),), width, glyphs)]


def differing(found: Difference | None, scene: Scene) -> list[str]:
    """Return the paths of the tensors, one for each of the lines."""
    return [] if found is None else [node.path for _, node in _listed(found, scene)]


def _listed(found: Difference, scene: Scene) -> Sequence[tuple[Differing, Node]]:
    nodes = {node.entry: node for node in scene.tree.nodes if node.entry is not None}
    return [(row, nodes[row.entry]) for row in found.rows if row.entry in nodes][:MOST_LISTED]


def _room(width: int) -> int:
    taken = DISTANCE + SPREAD + CHANGE + (TAILS + ZEROS if width >= NARROW else 0)
    return max(12, width - taken)


def _line(row: Differing, node: Node, width: int, glyphs: Glyphs) -> Line:
    room = _room(width)
    one, other = row.std
    ratio = other / one - 1 if one and other is not None else None
    arrow = ">" if glyphs.minus == "-" else "→"
    spread = f"{short(one, 7, glyphs)} {arrow} {short(other, 6, glyphs)}"
    if row.distance == 0:
        distance, ink = "equal", Ink.MUTED
    else:
        distance, ink = short(row.distance, 7, glyphs), Ink.TEXT
    spans = [
        Span(pad(clip_middle(node.full, room - 1, glyphs), room)),
        Span(pad(distance, DISTANCE, "right", glyphs), ink),
        Span(pad(spread, SPREAD, "right", glyphs)),
        Span(pad(percent(ratio, glyphs), CHANGE, "right", glyphs)),
    ]
    if width >= NARROW:
        spans += [
            Span(pad(_moved(row.kurtosis, glyphs), TAILS, "right", glyphs)),
            Span(pad(_counted(row.zeros, glyphs), ZEROS, "right", glyphs), Ink.MUTED),
        ]
    return fit(spans, width, glyphs)


def _counted(pair: tuple[float | None, float | None], glyphs: Glyphs) -> str:
    """Return a signed difference of counts."""
    one, other = pair
    if one is None or other is None:
        return glyphs.dash
    moved = int(other - one)
    return ("+" if moved > 0 else "") + count(moved, glyphs)


def _moved(pair: tuple[float | None, float | None], glyphs: Glyphs) -> str:
    """Return a signed difference."""
    one, other = pair
    if one is None or other is None:
        return glyphs.dash
    moved = other - one
    return ("+" if moved > 0 else "") + short(moved, 6, glyphs)
