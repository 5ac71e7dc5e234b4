"""What each key does to the view; every move answers with a short sentence, or with nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forkmon.draw.numbers import step
from forkmon.tui import alert_moves, look_moves, model
from forkmon.tui.overview import row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forkmon.tui.desk import Desk


def vertical(desk: Desk, by: int) -> str:
    """Move the cursor of the pane that has the focus."""
    view = desk.view
    if view.pane == "alerts":
        last = len(desk.alerts) - 1
        desk.look(replace(view, alert=max(0, min(last, view.alert + by))))
        return ""
    if view.pane == "panel" and view.panel == "overview":
        return _in_map(desk, by)
    return to_row(desk, desk.cursor + by)


def _in_map(desk: Desk, by: int) -> str:
    """Go to another tensor of the overview."""
    rows = desk.map_rows
    if rows and desk.subject is not None:
        at = row_of(rows, desk.subject.name) + by
        alert_moves.reveal(desk, rows[max(0, min(len(rows) - 1, at))].path)
    return ""


def to_row(desk: Desk, at: int) -> str:
    """Put the cursor on a visible row of the tree, the nearest one there is."""
    rows = desk.rows
    if rows:
        at = max(0, min(len(rows) - 1, at))
        desk.look(replace(desk.view, path=desk.scene.tree.nodes[rows[at].node].path))
    return ""


def _along(desk: Desk, by: int) -> str:
    """Move along the panel's horizontal axis: values in the histogram, else steps."""
    return look_moves.probe(desk, by) if desk.view.panel == "histogram" else scrub(desk, by)


def left(desk: Desk, _page: int) -> str:
    """Close the block, else go to its parent; in the panel, move what is read off."""
    if desk.view.pane == "panel":
        return _along(desk, -1)
    rows = desk.rows
    if desk.view.pane != "layers" or not rows:
        return ""
    row = rows[desk.cursor]
    node = desk.scene.tree.nodes[row.node]
    if row.opened and desk.pattern is None:
        return _set_closed(desk, (desk.view.closed or frozenset()) | {node.path}, node.path)
    if node.parent >= 0:
        parent = desk.scene.tree.nodes[node.parent].path
        desk.look(replace(desk.view, path=parent))
    return ""


def right(desk: Desk, _page: int) -> str:
    """Open the block, else go into it; in the panel, move what is read off."""
    if desk.view.pane == "panel":
        return _along(desk, 1)
    rows = desk.rows
    if desk.view.pane != "layers" or not rows:
        return ""
    row = rows[desk.cursor]
    if row.opened is False:
        path = desk.scene.tree.nodes[row.node].path
        return _set_closed(desk, (desk.view.closed or frozenset()) - {path}, path)
    return to_row(desk, desk.cursor + 1) if row.opened else ""


def open_row(desk: Desk, _page: int) -> str:
    """Open or close the block; in the alerts, go to the tensor and step."""
    if desk.view.pane == "alerts":
        return alert_moves.to_alert(desk, with_step=True)
    if desk.view.pane == "panel" and desk.view.panel == "overview":
        desk.look(replace(desk.view, panel="fork", pane="layers", zoom=False))
        return ""
    rows = desk.rows
    if not rows or rows[desk.cursor].opened is None or desk.pattern is not None:
        return ""
    path = desk.scene.tree.nodes[rows[desk.cursor].node].path
    closed = desk.view.closed or frozenset()
    return _set_closed(desk, closed - {path} if path in closed else closed | {path}, path)


def _set_closed(desk: Desk, closed: frozenset[str], path: str) -> str:
    desk.look(replace(desk.view, closed=closed, path=path))
    return ""


def scrub(desk: Desk, by: int) -> str:
    """Show another checkpoint."""
    desk.look(model.scrubbed(desk.view, desk.scene.timeline, by))
    return ""


def newest(desk: Desk, _page: int) -> str:
    """Show the newest checkpoint, and follow."""
    desk.look(model.landed(replace(desk.view, follow=True), desk.scene.timeline))
    return "following the newest checkpoint"


def pause(desk: Desk, _page: int) -> str:
    """Stop following, or follow again."""
    if not desk.view.follow:
        return newest(desk, 0)
    desk.look(replace(desk.view, follow=False))
    return "paused: new checkpoints are recorded, the view stays; p or > follows again"


def baseline(desk: Desk, _page: int) -> str:
    """Compare with the checkpoint shown; again on the same one: with the first."""
    view, scene = desk.view, desk.scene
    row = scene.checkpoint(view.current)
    if row is None:
        return "no checkpoint yet"
    if view.baseline == row.id:
        desk.look(replace(view, baseline=None))
        return "baseline is the first checkpoint again"
    desk.look(replace(view, baseline=row.id))
    return f"baseline is step {step(row.step)}"


def sort(desk: Desk, _page: int) -> str:
    """Order by name, by value, by change."""
    order = model.cycled(model.SORTS, desk.view.sort)
    desk.look(replace(desk.view, sort=order))
    return {
        "name": "ordered by name",
        "value": f"all tensors, largest {desk.view.statistic} first",
        "change": "all tensors, largest change from the baseline first",
        "abnormal": "all tensors, worst alert first, then largest change",
    }[order]


def sort_reverse(desk: Desk, _page: int) -> str:
    """Turn the order round."""
    desk.look(replace(desk.view, reverse=not desk.view.reverse))
    return "order reversed" if desk.view.reverse else "order as usual"


def focus(desk: Desk, by: int) -> str:
    """Give another pane the arrow keys."""
    pane = model.cycled(model.PANES, desk.view.pane, by)
    zoomed = desk.view.zoom and pane == "panel"
    desk.look(replace(desk.view, pane=pane, zoom=zoomed, probe=None))
    if pane == "alerts":
        desk.seen_alerts()
    return ""


def clear(desk: Desk, _page: int) -> str:
    """Undo the nearest of: full screen, reading off, filter, alerts only, the focus."""
    view = desk.view
    if view.zoom:
        return look_moves.zoom(desk, 0)
    if view.probe is not None:
        desk.look(replace(view, probe=None))
        return ""
    if view.filter:
        desk.look(replace(view, filter=""))
        return "filter cleared"
    if view.alerts_only:
        return alert_moves.alerts_only(desk, 0)
    desk.look(replace(view, pane="layers"))
    return ""


MOVES: Mapping[str, Callable[[Desk, int], str]] = {
    "up": lambda desk, _: vertical(desk, -1),
    "down": lambda desk, _: vertical(desk, 1),
    "page-up": lambda desk, page: vertical(desk, -page),
    "page-down": vertical,
    "top": lambda desk, _: vertical(desk, -(10**9)),
    "bottom": lambda desk, _: vertical(desk, 10**9),
    "left": left,
    "right": right,
    "open": open_row,
    "focus-next": lambda desk, _: focus(desk, 1),
    "focus-previous": lambda desk, _: focus(desk, -1),
    "clear": clear,
    "sort": sort,
    "sort-reverse": sort_reverse,
    "step-back": lambda desk, _: scrub(desk, -1),
    "step-forward": lambda desk, _: scrub(desk, 1),
    "step-first": lambda desk, _: scrub(desk, -(10**9)),
    "step-newest": newest,
    "baseline": baseline,
    "pause": pause,
    "panel-histogram": look_moves.open_panel("histogram"),
    "panel-fork": look_moves.open_panel("fork"),
    "panel-curves": look_moves.open_panel("curves"),
    "panel-channels": look_moves.open_panel("channels"),
    "panel-overview": look_moves.overview,
    "panel-path": look_moves.open_panel("path"),
    "value-scale": look_moves.value_scale,
    "step-scale": look_moves.step_scale,
    "closer": lambda desk, _: look_moves.zoom_steps(desk, 1),
    "wider": lambda desk, _: look_moves.zoom_steps(desk, -1),
    "previous": look_moves.previous,
    "fork-view": look_moves.fork_view,
    "zoom": look_moves.zoom,
    "alert-next": lambda desk, _: alert_moves.next_alert(desk, 1),
    "alert-previous": lambda desk, _: alert_moves.next_alert(desk, -1),
    "alerts-only": alert_moves.alerts_only,
    "acknowledge": alert_moves.acknowledge,
    "mute": alert_moves.mute,
    "unmute": alert_moves.unmute,
}
"""Action id -> move; the other actions are the screen's own."""
