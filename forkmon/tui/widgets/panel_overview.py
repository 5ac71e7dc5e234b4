"""Panel 5: the whole model over steps, one statistic as shade."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.draw.cells import fit
from forkmon.draw.heat import Heat, HeatRow, heat
from forkmon.draw.ink import Ink, Span
from forkmon.draw.multiples import TITLES
from forkmon.tui.model import mapped
from forkmon.tui.overview import row_of
from forkmon.tui.widgets.panel_histogram import nothing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkmon.draw.ink import Line
    from forkmon.stats.alert import Severity
    from forkmon.tui.fetching import Overview
    from forkmon.tui.model import View
    from forkmon.tui.overview import MapRow
    from forkmon.tui.widgets.panel import Subject
    from forkmon.tui.widgets.words import Box

HEAD = 3
"""Lines above the first row of the map."""

TITLED = 8
"""Rows from which on a line names the statistic."""


def overview_lines(
    subject: Subject,
    rows: Sequence[MapRow],
    found: Overview | None,
    worst: Mapping[int, Severity],
    view: View,
    box: Box,
) -> list[Line]:
    """Return the panel's drawing, or what it waits for."""
    if not rows:
        return nothing("no tensor is shown: esc clears the filter", box)
    name = mapped(view)
    if found is None:
        return nothing(f"reading {TITLES.get(name, name)}", box)
    chosen = row_of(rows, subject.name)
    steps = [row.step for row in found.timeline]
    drawn = [
        HeatRow(
            row.layer,
            found.values.get(row.entry, (None,) * len(steps)),
            row.role,
            worst[row.node].word if row.node in worst else "",
        )
        for row in rows
    ]
    ids = [row.id for row in found.timeline]
    column = ids.index(subject.current.id) if subject.current.id in ids else len(ids) - 1
    room = max(1, box.height - HEAD)
    top = max(0, min(chosen - room // 2, len(rows) - room))
    shown = Heat(drawn, steps, chosen, column, top)
    title = [_title(TITLES.get(name, name), box)] if box.height >= TITLED else []
    drawn_map = heat(
        shown,
        width=box.width,
        height=box.height - len(title),
        glyphs=box.glyphs,
        by_group=view.map_scale == "each role",
    )
    return [*title, *drawn_map]


def _title(name: str, box: Box) -> Line:
    said = "   v another statistic   y shades by role or of the whole model   enter goes to the row"
    return fit((Span(name, Ink.TITLE), Span(said, Ink.MUTED)), box.width, box.glyphs)
