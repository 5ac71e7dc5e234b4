"""The alerts: what is wrong, where and since when, worst and newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from forkmon.draw.cells import clip_middle, fit, pad
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import short, step
from forkmon.text import safe
from forkmon.tui.widgets.line_view import LineView
from forkmon.tui.widgets.words import SEVERITY_INK, badge, ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from forkmon.draw.glyphs import Glyphs
    from forkmon.stats.alert import Alert

WIDE = 100
"""From this many columns on, kinds and places stand in columns of their own."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The alerts pane: what to show and where the cursor is."""

    alerts: Sequence[Alert]
    chosen: int
    new: int
    focused: bool


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
    if listing.new:
        left.append(Span(f"  ({listing.new:,} new)", Ink.WARN))
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
        return [*lines, fit((Span(said, Ink.MUTED),), width, glyphs)], -1
    top = max(0, min(listing.chosen - room + 1, len(listing.alerts) - room))
    top = min(top, listing.chosen)
    shown = listing.alerts[top : top + room]
    lines += [alert_line(alert, width, glyphs) for alert in shown]
    return lines, 1 + listing.chosen - top


def _one_line(listing: Listing, width: int, glyphs: Glyphs) -> Line:
    if not listing.alerts:
        return fit((Span(f" {glyphs.nothing} no alerts", Ink.MUTED),), width, glyphs)
    many = len(listing.alerts)
    right = (Span(f" {listing.chosen + 1} of {many:,} ", Ink.MUTED),)
    return ends(alert_spans(listing.alerts[listing.chosen], width, glyphs), right, width, glyphs)


def explained(alert: Alert, width: int, glyphs: Glyphs) -> list[Line]:
    """Return everything known about an alert."""
    where = "the run" if alert.tensor is None else safe(alert.tensor) or "the whole model"
    ink = SEVERITY_INK[alert.severity]
    head = (Span(safe(alert.kind), ink), Span(f"  {where}", Ink.TITLE))
    since = f"onset {step(alert.onset, glyphs)}, detected {step(alert.step, glyphs)}"
    lines: list[Line] = [
        ends(
            head,
            (badge(alert.severity, glyphs), Span(f" {alert.severity.word}", ink)),
            width,
            glyphs,
        ),
        (Span(since, Ink.MUTED),),
        (),
        *((Span(part),) for part in _wrapped(safe(alert.message, 2000), width)),
        (),
    ]
    for name, value in alert.evidence.items():
        shown = safe(value) if isinstance(value, str) or value is None else short(value, 9, glyphs)
        if isinstance(value, int) and not isinstance(value, bool):
            shown = safe(f"{value:,}")
        said = pad(safe(name.replace("_", " "), 28), 30)
        lines.append(fit((Span(said, Ink.MUTED), Span(shown)), width, glyphs))
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    from textwrap import wrap

    return wrap(text, max(10, width)) or [""]


class AlertsPane(LineView):
    """Paints the alerts, and tells which line was clicked."""

    class Clicked(Message):
        """A line of the pane was clicked."""

        def __init__(self, line: int) -> None:
            super().__init__()
            self.line = line

    def on_click(self, event: events.Click) -> None:
        """Pass the clicked line on."""
        self.post_message(self.Clicked(event.y))
