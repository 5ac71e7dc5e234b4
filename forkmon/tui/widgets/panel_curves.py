"""Panel 3: the moments of the selected row over steps, as charts with axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.draw.cells import fit
from forkmon.draw.curves import Curve, curves
from forkmon.draw.ink import Ink, Span
from forkmon.draw.multiples import TITLES, column, moment_panel
from forkmon.draw.numbers import short

if TYPE_CHECKING:
    from forkmon.draw.ink import Line
    from forkmon.stats.series import Series
    from forkmon.tui.model import View
    from forkmon.tui.widgets.words import Box


def curves_lines(series: Series, mark: int | None, view: View, box: Box) -> list[Line]:
    """Return the panel's drawing: all moments, or one on a log axis where `y` asked for it."""
    at = None if mark is None else float(mark)
    if view.log_values:
        return _one_log(series, at, view, box)
    return moment_panel(
        series,
        width=box.width,
        height=box.height,
        log_x=view.log_steps,
        mark=at,
        selected=view.charted,
        glyphs=box.glyphs,
    )


def _one_log(series: Series, mark: float | None, view: View, box: Box) -> list[Line]:
    name = view.charted
    values = column(series, name)
    title = fit(
        (
            Span(TITLES.get(name, name), Ink.TITLE),
            Span(f"  {short(values[-1] if values else None, 8, box.glyphs)}"),
            Span("   logarithmic; y shows all moments, v another statistic", Ink.MUTED),
        ),
        box.width,
        box.glyphs,
    )
    chart = curves(
        [Curve(name, series.steps, values, Ink.ACCENT)],
        width=box.width,
        height=box.height - 1,
        log_x=view.log_steps,
        log_y=True,
        mark=mark,
        glyphs=box.glyphs,
    )
    return [title, *chart]
