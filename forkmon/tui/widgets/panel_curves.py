"""Panel 3: the moments of the selected row over steps, and beside them what the trainer logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.draw.bands import Bands, bands
from forkmon.draw.cells import fit
from forkmon.draw.curves import Curve, curves
from forkmon.draw.ink import Ink, Span
from forkmon.draw.multiples import MOST_LOGGED, TITLES, Beside, column, moment_panel
from forkmon.draw.numbers import short, step
from forkmon.stats.row import QUANTILES
from forkmon.tui.model import BANDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.draw.ink import Line
    from forkmon.stats.series import Series
    from forkmon.tui.model import View
    from forkmon.tui.trainer import Logged
    from forkmon.tui.widgets.words import Box


NAMED = frozenset({0.001, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999})
"""Levels whose quantiles are written in numbers."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The step that is marked, and the steps that are shown where not all are."""

    mark: int | None
    span: tuple[int, int] | None = None


def curves_lines(
    series: Series, trainer: Sequence[Logged], shown: Shown, view: View, box: Box
) -> list[Line]:
    """Return the panel's drawing: all moments, or one on a log axis where `y` asked for it."""
    if view.estimate == BANDS:
        return _bands(series, shown, view, box)
    mark = shown.mark
    at = None if mark is None else float(mark)
    picked = next((curve for curve in trainer if curve.name == view.metric), None)
    if view.log_values:
        return _one_log(series, picked, shown, view, box)
    ordered = trainer if picked is None else [picked, *(c for c in trainer if c is not picked)]
    return moment_panel(
        series,
        width=box.width,
        height=box.height,
        log_x=view.log_steps,
        mark=at,
        span=shown.span,
        selected=view.charted,
        beside=[Beside(c.label, c.name, c.steps, c.values) for c in ordered[:MOST_LOGGED]],
        lead=picked is not None,
        glyphs=box.glyphs,
    )


def _one_log(
    series: Series, picked: Logged | None, shown: Shown, view: View, box: Box
) -> list[Line]:
    mark = shown.mark
    if picked is not None:
        name, value = picked.label, picked.at(mark)
        curve = Curve(name, picked.steps, picked.values, Ink.PREVIOUS)
    else:
        name, values = TITLES.get(view.charted, view.charted), column(series, view.charted)
        value = dict(zip(series.steps, values, strict=True)).get(mark or 0)
        curve = Curve(name, series.steps, values, Ink.ACCENT)
    title = fit(
        (
            Span(name, Ink.TITLE),
            Span(f"  {short(value, 8, box.glyphs)}"),
            Span("   logarithmic; y shows all moments, v another statistic", Ink.MUTED),
        ),
        box.width,
        box.glyphs,
    )
    chart = curves(
        [curve],
        width=box.width,
        height=box.height - 1,
        log_x=view.log_steps,
        log_y=True,
        mark=mark,
        span=shown.span,
        glyphs=box.glyphs,
    )
    return [title, *chart]


def _bands(series: Series, shown: Shown, view: View, box: Box) -> list[Line]:
    """Return the quantile bands over steps, and in numbers those of the marked step."""
    columns = [series.values.get(f"q{level}", ()) for level in QUANTILES]
    span = shown.span or (min(series.steps, default=0), max(series.steps, default=0))
    found = [
        Bands(at, tuple(values))
        for at, *values in zip(series.steps, *columns, strict=False)
        if span[0] <= at <= span[1]
    ]
    now = next((item for item in reversed(found) if item.step == shown.mark), None)
    said = [Span("quantiles", Ink.TITLE)]
    if now is not None:
        said.append(Span(f"  at {step(now.step, box.glyphs)}:", Ink.MUTED))
        for level, value in zip(QUANTILES, now.values, strict=True):
            if level in NAMED:
                said.append(Span(f"  {100 * level:g} % ", Ink.MUTED))
                said.append(Span(short(value, 7, box.glyphs)))
    drawn = bands(
        found,
        width=box.width,
        height=box.height - 1,
        glyphs=box.glyphs,
        log_x=view.log_steps,
        log_y=view.log_values,
        mark=None if view.follow else shown.mark,
    )
    return [fit(said, box.width, box.glyphs), *drawn]
