"""Panel 2: the fork diagram of one row, its splits and merges marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.draw.cells import fit
from forkmon.draw.fork import Branch, Event, Slice, fork
from forkmon.draw.ink import Ink, Span
from forkmon.draw.numbers import share, short, step
from forkmon.stats.alert import Severity
from forkmon.text import safe
from forkmon.tui.model import steps_shown
from forkmon.tui.widgets.panel_histogram import nothing
from forkmon.tui.widgets.words import SEVERITY_INK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkmon.draw.ink import Line
    from forkmon.stats.alert import Alert
    from forkmon.stats.modality import Modality
    from forkmon.tui.fetching import ForkHistory, ForkSlice
    from forkmon.tui.model import View
    from forkmon.tui.widgets.panel import Subject
    from forkmon.tui.widgets.words import Box

TITLED = 10
"""Rows from which on a line says in words what the diagram shows at the current step."""

MOST_EVENTS = 12
"""Events marked on the axis: the worst, then the newest."""


def fork_lines(
    subject: Subject, history: ForkHistory | None, alerts: Iterable[Alert], view: View, box: Box
) -> list[Line]:
    """Return the panel's drawing, or what it waits for."""
    if history is None:
        return nothing("reading histograms", box)
    span = steps_shown(view, subject.timeline)
    slices = [
        item for item in _slices(history.at) if span is None or span[0] <= item.step <= span[1]
    ]
    if not slices:
        return nothing("no histogram is kept of this row", box)
    title = [_title(subject.current.step, history, box)] if box.height >= TITLED else []
    drawn = fork(
        slices,
        width=box.width,
        height=box.height - len(title),
        glyphs=box.glyphs,
        log_x=view.log_steps,
        scale="symlog" if view.count_scale == "symlog" else "linear",
        events=_events(subject.name, [a for a in alerts if _of_view(a, view)], span, box),
        mark=None if view.follow else subject.current.step,
    )
    return [*title, *drawn]


def _slices(found: Sequence[ForkSlice]) -> list[Slice]:
    """Return what is drawn; branches stay while the looser gates hold, as alerts do."""
    slices: list[Slice] = []
    several = False
    for item in found:
        several = _several(item.modality, several=several)
        if item.reduced is not None:
            branches = _branches(item.modality) if several else ()
            slices.append(Slice(item.step, item.reduced, branches))
    return slices


def _several(modality: Modality | None, *, several: bool) -> bool:
    if modality is None or modality.state != "peaks":
        return False
    return modality.modes > 1 or (several and modality.held > 1)


def _branches(modality: Modality | None) -> tuple[Branch, ...]:
    if modality is None:
        return ()
    return tuple(Branch(peak.position, peak.mass) for peak in modality.peaks)


def _title(at: int, history: ForkHistory, box: Box) -> Line:
    """Return in words what the diagram shows at the current step."""
    glyphs = box.glyphs
    now = next((item for item in reversed(history.at) if item.step <= at), None)
    names = {"elements": "values", "rows": "row norms", "columns": "column norms"}
    spans = [Span(names[history.view], Ink.TITLE)]
    spans.append(Span(f"  at {step(at, glyphs)}: ", Ink.MUTED))
    spans += _modes_words(None if now is None else now.modality, box)
    if history.coarse:
        spans.append(Span("   shades between stored quantiles", Ink.MUTED))
    spans.append(Span("   c other views", Ink.MUTED))
    return fit(spans, box.width, glyphs)


def _modes_words(found: Modality | None, box: Box) -> list[Span]:
    if found is None:
        return [Span("modes are measured of single tensors", Ink.MUTED)]
    if found.state == "flat":
        return [Span("one value")]
    if found.state == "qlim":
        return [Span("too few distinct values to tell modes")]
    if found.modes < 2:
        held = "; a second one passes only the looser gates" if found.held > 1 else ""
        return [Span("one mode"), Span(held, Ink.MUTED)]
    peaks = ", ".join(
        f"{short(peak.position, 7, box.glyphs)} ({share(peak.mass)})" for peak in found.peaks[:4]
    )
    said = f"   {short(found.separation, 5, box.glyphs)} sd apart, dip p {short(found.p, 6)}"
    return [Span(f"{found.modes} modes: {peaks}", Ink.ACCENT), Span(said)]


def _of_view(alert: Alert, view: View) -> bool:
    """Tell whether an alert is about what is shown; most are about the tensor as such."""
    return alert.evidence.get("view", view.fork_view) == view.fork_view


def _events(
    name: str, alerts: Iterable[Alert], span: tuple[int, int] | None, box: Box
) -> list[Event]:
    """Return this row's alerts by onset, each kind and step once."""
    own = {
        (alert.onset, alert.kind): alert
        for alert in alerts
        if alert.tensor == name and (span is None or span[0] <= alert.onset <= span[1])
    }
    worst = sorted(own.values(), key=lambda alert: (-alert.severity, -alert.onset))[:MOST_EVENTS]
    return [
        Event(
            alert.onset,
            f"{safe(alert.kind, 16)} {alert.onset:,}",
            box.glyphs.severity(Severity(alert.severity).word),
            SEVERITY_INK[alert.severity],
        )
        for alert in sorted(worst, key=lambda alert: alert.onset)
    ]
