"""From the desk to lines: every pane of the main screen at a size; no Textual, no effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkmon.draw.ink import Ink, Line, Span
from forkmon.text import safe
from forkmon.tui import layout
from forkmon.tui.fetching import MOST_SKETCHES, sketches
from forkmon.tui.widgets import alerts as alert_pane
from forkmon.tui.widgets import layer_tree, panel
from forkmon.tui.widgets.panel_channels import channels_lines, no_channels
from forkmon.tui.widgets.panel_histogram import histogram_lines, nothing
from forkmon.tui.widgets.words import Box

if TYPE_CHECKING:
    from forkmon.draw.glyphs import Glyphs
    from forkmon.tui.desk import Desk
    from forkmon.tui.layout import Plan


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of the screen and how it is divided now."""

    width: int
    height: int
    plan: Plan
    editing: bool
    glyphs: Glyphs

    @property
    def body(self) -> int:
        """Return the rows between the header and the alerts."""
        return self.height - 2 - self.plan.alerts - (1 if self.editing else 0)

    @property
    def panel_width(self) -> int:
        """Return the columns right of the rule."""
        return self.width - (self.plan.tree + 1 if self.plan.tree else 0)

    @property
    def box(self) -> Box:
        """Return the room of the drawing itself: below tabs and title, one cell off the edges."""
        height = max(1, self.body - 2 - self.plan.details)
        return Box(self.panel_width - 2, height, self.glyphs)


def frame_of(desk: Desk, width: int, height: int, glyphs: Glyphs, *, editing: bool) -> Frame:
    """Return the division of the screen for what lies on the desk."""
    plan = layout.divide(
        width,
        height,
        alerts=len(desk.alerts),
        zoom=desk.view.zoom,
        metrics=bool(desk.scene.metrics),
    )
    return Frame(width, height, plan, editing, glyphs)


def tree_lines(desk: Desk, frame: Frame) -> tuple[list[Line], int]:
    """Return the heading and the visible rows, and the line the cursor is on."""
    width, glyphs, view = frame.plan.tree, frame.glyphs, desk.view
    if width <= 0:
        return [], -1
    rows, top, below = desk.on_screen(frame.body - 1)
    head = layer_tree.Heading(
        title=_tree_title(desk, width),
        statistic=view.statistic,
        sort="" if view.sort == "name" else view.sort,
        reverse=view.reverse,
        focused=view.pane == "layers",
    )
    lines = [layer_tree.heading(head, width, glyphs)]
    if not rows:
        why = desk.view.filter or "an alert"
        return [*lines, layer_tree.no_match_line(why, width, glyphs)], -1
    cells = desk.cells(rows)
    lines += layer_tree.tree_lines(
        desk.scene.tree, rows, cells, desk.worst, view.statistic, Box(width, 1, glyphs)
    )
    if below > 0:
        lines.append(layer_tree.more_line(below, width, glyphs))
    return lines, 1 + desk.cursor - top


def _tree_title(desk: Desk, width: int) -> str:
    view = desk.view
    if view.alerts_only or desk.pattern is not None:
        found = sum(1 for row in desk.rows if row.opened is None)
        what = f"/{safe(view.filter.strip(), 12)} " if view.filter.strip() else "! "
        return f"{what}{found:,} of {desk.scene.tree.tensors:,}"
    if view.sort != "name":
        return "tensors"
    return "layers" if width >= layer_tree.NARROW else "layer"


def rule_lines(frame: Frame) -> list[Line]:
    """Return the rule between tree and panel."""
    return [(Span(frame.glyphs.divider, Ink.AXIS),)] * frame.body


def panel_head(desk: Desk, frame: Frame) -> list[Line]:
    """Return the tabs and the title of the panel."""
    width, glyphs = frame.panel_width, frame.glyphs
    lines = [panel.tabs_line(desk.view.panel, desk.view.pane == "panel", width, glyphs)]
    subject = desk.subject
    if subject is None:
        return [*lines, ()]
    now = None
    if subject.entry is not None:
        now = desk.stat(subject.entry.id, subject.current.id)
    preview = now is not None and now.preview
    return [*lines, panel.title_line(subject, width, glyphs, preview=preview)]


def histogram_panel(desk: Desk, frame: Frame) -> list[Line]:
    """Return the drawing of panel 1."""
    subject = desk.subject
    if subject is None:
        return _set_in(nothing("nothing is selected", frame.box))
    if subject.entry is None:
        text = "this row only holds others: open it with enter"
        return _set_in(nothing(text, frame.box))
    now = desk.reduced(subject.entry.id, subject.current.id)
    before = None
    if subject.baseline is not None:
        before = desk.reduced(subject.entry.id, subject.baseline.id)
    scale = desk.view.count_scale
    return _set_in(histogram_lines(subject, now, before, scale, frame.box))


def curves_panel(desk: Desk, frame: Frame) -> list[Line]:
    """Return the drawing of panel 3."""
    from forkmon.tui.widgets.panel_curves import curves_lines  # plotext, after first paint

    subject = desk.subject
    series = None
    if subject is not None and subject.entry is not None:
        series = desk.series(subject.entry.id)
    if subject is None or series is None:
        return _set_in(nothing("this row has no numbers of its own", frame.box))
    if desk.view.estimate:
        many = sketches(desk.scene.tree, subject)
        if many > MOST_SKETCHES:
            text = f"{many:,} sketches are too many for a curve: choose a row with fewer tensors"
            return _set_in(nothing(text, frame.box))
        moved = desk.shelf.movement(subject)
        if moved is None:
            return _set_in(nothing(f"reading {many:,} sketches", frame.box))
        series = replace(series, values={**series.values, **moved.values})
    return _set_in(curves_lines(series, subject.current.step, desk.view, frame.box))


def channels_panel(desk: Desk, frame: Frame) -> list[Line]:
    """Return the drawing of panel 4."""
    subject = desk.subject
    if subject is None or subject.entry is None:
        return _set_in(nothing("this row has no numbers of its own", frame.box))
    reason = no_channels(subject.entry)
    if reason:
        return _set_in(nothing(reason, frame.box))
    history = desk.shelf.channels(subject)
    return _set_in(channels_lines(subject.entry, history, frame.box))


def detail_lines(desk: Desk, frame: Frame) -> list[Line]:
    """Return the numbers under the panel."""
    width, glyphs, rows = frame.panel_width, frame.glyphs, frame.plan.details
    subject = desk.subject
    if subject is None or subject.entry is None:
        return [()] * rows
    now = desk.stat(subject.entry.id, subject.current.id)
    same = subject.baseline is None or subject.baseline.id == subject.current.id
    before = None
    if not same and subject.baseline is not None:
        before = desk.stat(subject.entry.id, subject.baseline.id)
    lines = [panel.numbers_line(now, width, glyphs)]
    metrics = desk.scene.metrics or {}
    tall = rows >= 3
    if tall or (rows == 2 and not metrics):
        moved = panel.moved_parts(desk.shelf.moved(subject), glyphs)
        lines.append(panel.norms_line(now, before, () if tall else moved, width, glyphs))
        if tall:
            lines.append(panel.fitting(moved, width, glyphs))
    if metrics:
        lines.append(panel.metrics_line(metrics, subject.current.step, width, glyphs))
    return lines[:rows]


def alert_lines(desk: Desk, frame: Frame) -> tuple[list[Line], int]:
    """Return the alerts pane and the line its cursor is on; -1 while it has no focus."""
    many = len(desk.alerts)
    focused = desk.view.pane == "alerts"
    listing = alert_pane.Listing(
        alerts=desk.alerts,
        chosen=max(0, min(desk.view.alert, many - 1)),
        new=desk.new_alerts,
        focused=focused,
    )
    lines, cursor = alert_pane.alert_lines(
        listing, frame.width, frame.plan.alerts, frame.glyphs, titled=frame.plan.alerts_titled
    )
    return lines, cursor if focused or desk.visited else -1


def _set_in(lines: list[Line]) -> list[Line]:
    gap = (Span(" "),)
    return [(*gap, *line) for line in lines]
