"""What every panel has around it: the tabs, the title of the row, the numbers under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.draw.cells import clip_middle, line_width
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import count, share, short, step
from forkmon.draw.sparkline import sparkline
from forkmon.text import safe
from forkmon.tui.model import PANELS
from forkmon.tui.widgets.words import ends, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.draw.glyphs import Glyphs
    from forkmon.stats.row import StatRow
    from forkmon.stats.series import Series
    from forkmon.store.values import CheckpointRow, TensorEntry, Timeline
    from forkmon.tui.model import Panel
    from forkmon.tui.trainer import Logged

PREVIEW = "preview 1 %"
"""What stands beside numbers of a strided sample, until the exact ones replace them."""

ROOMY = 64
"""Columns from which on the names of the panels are written in full."""

METRIC_SPARK = 12
MOST_METRICS = 8


@dataclass(frozen=True, slots=True)
class Subject:
    """The row, checkpoint and baseline a panel is about."""

    name: str
    entry: TensorEntry | None
    current: CheckpointRow
    baseline: CheckpointRow | None
    timeline: Timeline
    following: bool


def tabs_line(panel: Panel, focused: bool, width: int, glyphs: Glyphs) -> Line:  # noqa: FBT001
    """Return the tab strip: the panels that exist, the open one in bold between bars."""
    spans = [Span(f"{glyphs.right if focused else ' '}", Ink.ACCENT)]
    for key, name, brief in PANELS:
        word = name if width >= ROOMY else brief
        on = name == panel
        spans.append(Span(f"{key} {word}", Ink.TITLE if on else Ink.MUTED))
        spans.append(Span("  " if width >= ROOMY else " "))
    return ends(spans, (), width, glyphs)


def title_line(subject: Subject, width: int, glyphs: Glyphs, *, preview: bool = False) -> Line:
    """Return the name of the row, its type and shape, and which step is shown."""
    newest = subject.timeline[-1]
    first = subject.timeline[0]
    at = step(subject.current.step, glyphs)
    span = f"{step(first.step, glyphs)}{glyphs.ellipsis}{step(newest.step, glyphs)}"
    marks = [Span(f"step {at}", Ink.ACCENT)]
    if subject.current.id != newest.id:
        marks.append(Span(f" of {span}", Ink.MUTED))
    elif not subject.following:
        marks.append(Span(" paused", Ink.MUTED))
    if subject.current.segment != first.segment:
        marks.append(Span(f" segment {subject.current.segment}", Ink.MUTED))
    if preview:
        marks.append(Span(f" {PREVIEW}", Ink.WARN))
    if subject.current.status == "partial":
        marks.append(Span(" partial", Ink.WARN))
    what = "" if subject.entry is None else shape_text(subject.entry, glyphs)
    name = safe(subject.name)
    for extra in (f"   {what}" if what else "", ""):
        room = width - line_width(marks) - len(extra) - 5
        if room >= len(name):
            break
    left = (Span(f" {clip_middle(name, max(4, room), glyphs)}", Ink.TITLE), Span(extra, Ink.MUTED))
    return ends(left, (Span("   "), *marks, Span(" ")), width, glyphs)


def shape_text(entry: TensorEntry, glyphs: Glyphs) -> str:
    """Return `f32 [512, 128]`, or what kind of row it is."""
    if entry.kind == "block":
        return "block" if entry.name else "whole model"
    shape = (f" {glyphs.times} ").join(str(n) for n in entry.shape) or "scalar"
    return f"{safe(entry.dtype, 12)} [{shape}]"


def numbers_line(row: StatRow | None, width: int, glyphs: Glyphs) -> Line:
    """Return the numbers of the row at the current step; bad values come first."""
    if row is None:
        return ends((Span(" not in this checkpoint", Ink.MUTED),), (), width, glyphs)
    parts: list[Line] = []
    if row.preview:
        parts.append((Span(PREVIEW, Ink.WARN),))
    for name, many in (("nan", row.nan), ("inf", row.inf)):
        if many:
            parts.append((Span(f"{name} {count(many, glyphs)}", Ink.ERROR),))
    pairs: list[tuple[str, str]] = [
        ("std", short(row.std, 7, glyphs)),
        ("mean", short(row.mean, 7, glyphs)),
        ("skew", short(row.skew, 7, glyphs)),
        ("ex.kurtosis", short(row.kurtosis, 7, glyphs)),
        ("zeros", share(row.zeros, row.n) if row.zeros else "0"),
        ("min", short(row.min, 7, glyphs)),
        ("max", short(row.max, 7, glyphs)),
        ("n", count(row.n, glyphs)),
    ]
    if row.modes is not None:
        pairs.insert(4, ("modes", str(row.modes)))
    parts += [(Span(f"{name} ", Ink.MUTED), Span(text)) for name, text in pairs]
    return fitting(parts, width, glyphs)


def norms_line(
    row: StatRow | None,
    before: StatRow | None,
    moved: Sequence[Line],
    width: int,
    glyphs: Glyphs,
) -> Line:
    """Return norms and spread, how far the row moved, and what the baseline had."""
    if row is None:
        return ()
    low, middle, high = row.quantiles[2], row.quantiles[4], row.quantiles[6]
    pairs = [
        ("l2", short(row.l2, 7, glyphs)),
        ("5 %", short(low, 7, glyphs)),
        ("median", short(middle, 7, glyphs)),
        ("95 %", short(high, 7, glyphs)),
    ]
    parts: list[Line] = [(Span(f"{name} ", Ink.MUTED), Span(text)) for name, text in pairs]
    parts += moved
    if before is not None:
        was = f"baseline std {short(before.std, 7, glyphs)}"
        parts.append((Span(was, Ink.BASELINE),))
    return fitting(parts, width, glyphs)


def moved_parts(moved: Series | None, glyphs: Glyphs) -> list[Line]:
    """Return how far the row moved since the step before and since the first, as estimates."""
    if moved is None or len(moved.steps) < 2:
        return []
    norm = glyphs.norm
    named = (
        ("update", f"{norm}{glyphs.delta}w{norm}/{norm}w{norm}"),
        ("drift", "drift"),
        ("cosine", "cosine"),
    )
    parts: list[Line] = []
    for name, shown in named:
        value = moved.values[name][-1]
        if value is not None:
            text = short(value, 7, glyphs)
            parts.append((Span(f"{shown} ", Ink.MUTED), Span(text), Span(" est.", Ink.MUTED)))
    return parts


def metrics_line(curves: Sequence[Logged], upto: int, width: int, glyphs: Glyphs) -> Line:
    """Return the trainer's own curves up to the current step, the most telling first."""
    parts: list[Line] = []
    for curve in curves[:MOST_METRICS]:
        values = [value for at, value in curve.points if at <= upto]
        if not values:
            continue
        drawn = sparkline(values, METRIC_SPARK, glyphs).strip()
        parts.append(
            (
                Span(f"{safe(curve.label, 16)} ", Ink.MUTED),
                Span(f"{short(values[-1], 7, glyphs)} "),
                Span(drawn, Ink.PREVIOUS),
            )
        )
    return fitting(parts, width, glyphs)


def fitting(parts: Sequence[Line], width: int, glyphs: Glyphs) -> Line:
    """Return as many whole parts as fit, so that no number is ever cut."""
    kept: list[Line] = []
    for part in parts:
        if line_width(joined([*kept, part])) > width - 2:
            break
        kept.append(part)
    return ends((Span(" "), *joined(kept)), (), width, glyphs)
