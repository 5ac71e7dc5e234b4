"""From the desk to lines: every pane of the main screen at a size; no Textual, no effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import step
from forkmon.text import safe
from forkmon.tui import layout
from forkmon.tui.fetching import MOST_SKETCHES, sketches
from forkmon.tui.model import ESTIMATED, mapped, steps_shown
from forkmon.tui.trainer import logged
from forkmon.tui.widgets import alerts as alert_pane
from forkmon.tui.widgets import layer_tree, panel
from forkmon.tui.widgets.panel_channels import channels_lines, no_channels
from forkmon.tui.widgets.panel_fork import fork_lines
from forkmon.tui.widgets.panel_histogram import Layers, histogram_lines, nothing
from forkmon.tui.widgets.panel_overview import overview_lines
from forkmon.tui.widgets.panel_path import path_lines
from forkmon.tui.widgets.words import Box

if TYPE_CHECKING:
    from forkmon.draw.glyphs import Glyphs
    from forkmon.tui.desk import Desk
    from forkmon.tui.layout import Plan
    from forkmon.tui.widgets.panel import Subject


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
    return _set_in(histogram_lines(subject, _layers(desk, subject), desk.view, frame.box))


def _layers(desk: Desk, subject: Subject) -> Layers:
    """Return the row's distribution now, at the baseline, and at the checkpoint before."""
    entry = subject.entry
    if entry is None:
        return Layers(None)
    now = desk.reduced(entry.id, subject.current.id)
    base = subject.baseline
    baseline = None if base is None else desk.reduced(entry.id, base.id)
    at = desk.scene.index_of(subject.current.id)
    if not desk.view.previous or not at:
        return Layers(now, baseline)
    before = desk.scene.timeline[at - 1]
    if base is not None and before.id == base.id:
        return Layers(now, baseline)  # it is there already, as the baseline
    said = f"step {step(before.step)}"
    return Layers(now, baseline, desk.reduced(entry.id, before.id), said)


def fork_panel(desk: Desk, frame: Frame) -> list[Line]:
    """Return the drawing of panel 2."""
    subject = desk.subject
    if subject is None or subject.entry is None:
        return _set_in(nothing("this row only holds others: open it with enter", frame.box))
    history = desk.shelf.fork(subject, desk.view.fork_view)
    reason = no_channels(subject.entry) if desk.view.fork_view != "elements" else ""
    if reason:
        return _set_in(nothing(f"{reason}; c shows the values", frame.box))
    return _set_in(fork_lines(subject, history, desk.scene.alerts, desk.view, frame.box))


def path_panel(desk: Desk, frame: Frame) -> list[Line]:
    """Return the drawing of panel 6."""
    subject = desk.subject
    if subject is None:
        return _set_in(nothing("no checkpoint yet", frame.box))
    found = desk.shelf.path(desk.scene.timeline)
    return _set_in(path_lines(subject, found, frame.box))


def overview_panel(desk: Desk, frame: Frame) -> list[Line]:
    """Return the drawing of panel 5."""
    subject = desk.subject
    if subject is None:
        return _set_in(nothing("no tensor is shown: esc clears the filter", frame.box))
    rows = desk.map_rows
    ids = [row.entry for row in rows]
    found = desk.shelf.overview(desk.scene.timeline, mapped(desk.view), ids)
    return _set_in(overview_lines(subject, rows, found, desk.worst, desk.view, frame.box))


def curves_panel(desk: Desk, frame: Frame) -> list[Line]:
    """Return the drawing of panel 3."""
    from forkmon.tui.widgets.panel_curves import Shown, curves_lines  # after first paint

    subject = desk.subject
    series = None
    if subject is not None and subject.entry is not None:
        series = desk.series(subject.entry.id)
    if subject is None or series is None:
        return _set_in(nothing("this row has no numbers of its own", frame.box))
    if desk.view.estimate in ESTIMATED:
        many = sketches(desk.scene.tree, subject)
        if many > MOST_SKETCHES:
            text = f"{many:,} sketches are too many for a curve: choose a row with fewer tensors"
            return _set_in(nothing(text, frame.box))
        moved = desk.shelf.movement(subject)
        if moved is None:
            return _set_in(nothing(f"reading {many:,} sketches", frame.box))
        series = replace(series, values={**series.values, **moved.values})
    curves = logged(desk.scene.metrics)
    shown = Shown(subject.current.step, steps_shown(desk.view, desk.scene.timeline))
    return _set_in(curves_lines(series, curves, shown, desk.view, frame.box))


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
    metrics = logged(desk.scene.metrics)
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
        hidden=desk.hidden_alerts,
        marks=desk.marks,
    )
    lines, cursor = alert_pane.alert_lines(
        listing, frame.width, frame.plan.alerts, frame.glyphs, titled=frame.plan.alerts_titled
    )
    return lines, cursor if focused or desk.visited else -1


def _set_in(lines: list[Line]) -> list[Line]:
    gap = (Span(" "),)
    return [(*gap, *line) for line in lines]
