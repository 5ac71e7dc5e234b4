"""The alerts: what is wrong, where and since when, worst and newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.draw.cells import clip_middle, fit, pad
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import step
from forkmon.text import safe
from forkmon.tui.marks import Marks
from forkmon.tui.widgets.words import SEVERITY_INK, badge, ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.draw.glyphs import Glyphs
    from forkmon.stats.alert import Alert

NO_MARKS = Marks()

WIDE = 100
"""From this many columns on, kinds and places stand in columns of their own."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The alerts pane: what to show and where the cursor is."""

    alerts: Sequence[Alert]
    chosen: int
    new: int
    focused: bool
    hidden: int = 0
    """How many the tree's filter leaves out."""
    marks: Marks = NO_MARKS
    """Whose alerts are acknowledged, and which kinds are left out."""


def ordered(alerts: Sequence[Alert]) -> tuple[Alert, ...]:
    """Return the alerts worst first, then newest first."""
    return tuple(sorted(alerts, key=lambda a: (-a.severity, -a.segment, -a.step, a.tensor or "")))


def alert_spans(alert: Alert, width: int, glyphs: Glyphs) -> Line:
    """Return one alert in columns: badge, onset, tensor, kind, message; not yet cut to a width."""
    where = "run" if alert.tensor is None else safe(alert.tensor) or "model"
    at, place, kind = (8, 26, 12) if width >= WIDE else (6, 20, 0)
    return (
        Span(" "),
        badge(alert.severity, glyphs),
        Span(" "),
        Span(pad(step(alert.onset, glyphs), at)),
        Span(pad(clip_middle(where, place, glyphs), place) + " "),
        Span(pad(safe(alert.kind, 16), max(kind, len(alert.kind))), SEVERITY_INK[alert.severity]),
        Span(f" {safe(alert.message, 300)}"),
    )


def alert_line(alert: Alert, width: int, glyphs: Glyphs) -> Line:
    """Return one alert in exactly `width` cells."""
    return fit(alert_spans(alert, width, glyphs), width, glyphs)


def title_line(listing: Listing, width: int, glyphs: Glyphs) -> Line:
    """Return the line above the alerts."""
    many = len(listing.alerts)
    mark = Span(glyphs.right if listing.focused else " ", Ink.ACCENT)
    left = [mark, Span(f"alerts {many:,}", Ink.TITLE if listing.focused else Ink.MUTED)]
    if listing.hidden:
        left.append(Span(f" of {many + listing.hidden:,}, filtered", Ink.MUTED))
    if listing.new:
        left.append(Span(f"  ({listing.new:,} new)", Ink.WARN))
    seen = sum(alert.key in listing.marks.acknowledged for alert in listing.alerts)
    if seen:
        left.append(Span(f"  {seen:,} acknowledged", Ink.MUTED))
    if listing.marks.muted:
        kinds = ", ".join(safe(kind, 16) for kind in sorted(listing.marks.muted))
        left.append(Span(f"  muted: {kinds}", Ink.MUTED))
    gap = " · " if glyphs.minus != "-" else " - "
    right = [Span(f"n next{gap}e explain ", Ink.MUTED)] if many else []
    return ends(left, right, width, glyphs)


def alert_lines(
    listing: Listing, width: int, height: int, glyphs: Glyphs, *, titled: bool
) -> tuple[list[Line], int]:
    """Return the pane's lines, and which of them the chosen alert is on."""
    if not titled:
        return [_one_line(listing, width, glyphs)], 0 if listing.focused else -1
    lines = [title_line(listing, width, glyphs)]
    room = max(0, height - 1)
    if not listing.alerts:
        said = "   nothing to report"
        if listing.hidden:
            said = "   none of the filtered tensors has an alert; esc clears the filter"
        return [*lines, fit((Span(said, Ink.MUTED),), width, glyphs)], -1
    top = max(0, min(listing.chosen - room + 1, len(listing.alerts) - room))
    top = min(top, listing.chosen)
    shown = listing.alerts[top : top + room]
    lines += [_marked(alert, listing.marks, width, glyphs) for alert in shown]
    return lines, 1 + listing.chosen - top


def _marked(alert: Alert, marks: Marks, width: int, glyphs: Glyphs) -> Line:
    """Return an alert's line; an acknowledged one is told by its badge, not by colour alone."""
    line = alert_line(alert, width, glyphs)
    if alert.key not in marks.acknowledged:
        return line
    spans = [Span(span.text, Ink.MUTED) for span in line]
    return (spans[0], Span(glyphs.nothing, Ink.MUTED), *spans[2:])


def _one_line(listing: Listing, width: int, glyphs: Glyphs) -> Line:
    if not listing.alerts:
        said = "no alerts among the filtered tensors" if listing.hidden else "no alerts"
        return fit((Span(f" {glyphs.nothing} {said}", Ink.MUTED),), width, glyphs)
    many = len(listing.alerts)
    right = (Span(f" {listing.chosen + 1} of {many:,} ", Ink.MUTED),)
    return ends(alert_spans(listing.alerts[listing.chosen], width, glyphs), right, width, glyphs)
