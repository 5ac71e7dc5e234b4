"""What each key does to the view; every move answers with a short sentence, or with nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forkmon.draw.numbers import step
from forkmon.tui import model

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
    return to_row(desk, desk.cursor + by)


def to_row(desk: Desk, at: int) -> str:
    """Put the cursor on a visible row of the tree, the nearest one there is."""
    rows = desk.rows
    if rows:
        at = max(0, min(len(rows) - 1, at))
        desk.look(replace(desk.view, path=desk.scene.tree.nodes[rows[at].node].path))
    return ""


def left(desk: Desk, _page: int) -> str:
    """Close the block, else go to its parent; in the panel, one checkpoint back."""
    if desk.view.pane == "panel":
        return scrub(desk, -1)
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
    """Open the block, else go into it; in the panel, one checkpoint forward."""
    if desk.view.pane == "panel":
        return scrub(desk, 1)
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
        return _to_alert(desk, with_step=True)
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
    }[order]


def sort_reverse(desk: Desk, _page: int) -> str:
    """Turn the order round."""
    desk.look(replace(desk.view, reverse=not desk.view.reverse))
    return "order reversed" if desk.view.reverse else "order as usual"


def focus(desk: Desk, by: int) -> str:
    """Give another pane the arrow keys."""
    pane = model.cycled(model.PANES, desk.view.pane, by)
    desk.look(replace(desk.view, pane=pane, zoom=desk.view.zoom and pane == "panel"))
    if pane == "alerts":
        desk.seen_alerts()
    return ""


def histogram(desk: Desk, _page: int) -> str:
    """Show panel 1."""
    desk.look(replace(desk.view, panel="histogram"))
    return ""


def curves(desk: Desk, _page: int) -> str:
    """Show panel 3."""
    desk.look(replace(desk.view, panel="curves"))
    return ""


def channels(desk: Desk, _page: int) -> str:
    """Show panel 4."""
    desk.look(replace(desk.view, panel="channels"))
    return ""


def value_scale(desk: Desk, _page: int) -> str:
    """Change the scale of values (or counts) of the open panel."""
    view = desk.view
    if view.panel == "curves":
        desk.look(replace(view, log_values=not view.log_values))
        return f"{view.charted} on a log axis" if desk.view.log_values else "linear values"
    if view.panel == "channels":
        return "norms are always on a log axis"
    scale = model.cycled(model.COUNT_SCALES, view.count_scale)
    desk.look(replace(view, count_scale=scale))
    return {"linear": "linear", "symlog": "values on a symlog axis", "log count": "log density"}[
        scale
    ]


def step_scale(desk: Desk, _page: int) -> str:
    """Change the scale of steps of the curves."""
    desk.look(replace(desk.view, log_steps=not desk.view.log_steps))
    said = "log steps" if desk.view.log_steps else "linear steps"
    return said if desk.view.panel == "curves" else f"{said} (panel 3)"


def zoom(desk: Desk, _page: int) -> str:
    """Give the panel the whole screen, or take it back."""
    zoomed = not desk.view.zoom
    desk.look(replace(desk.view, zoom=zoomed, pane="panel" if zoomed else "layers"))
    return ""


def clear(desk: Desk, _page: int) -> str:
    """Undo the nearest of: full screen, filter, alerts only, the focus."""
    view = desk.view
    if view.zoom:
        return zoom(desk, 0)
    if view.filter:
        desk.look(replace(view, filter=""))
        return "filter cleared"
    if view.alerts_only:
        return alerts_only(desk, 0)
    desk.look(replace(view, pane="layers"))
    return ""


def alerts_only(desk: Desk, _page: int) -> str:
    """Show only layers with alerts, or all."""
    if not desk.view.alerts_only and not desk.worst:
        return "no layer has an alert"
    desk.look(replace(desk.view, alerts_only=not desk.view.alerts_only))
    return "only layers with alerts; ! or esc shows all" if desk.view.alerts_only else "all layers"


def next_alert(desk: Desk, by: int) -> str:
    """Choose another alert, and put the cursor on its tensor."""
    many = len(desk.alerts)
    if not many:
        return "no alerts"
    at = desk.view.alert
    at = (min(at, many - 1) + by) % many if desk.visited else 0 if by > 0 else many - 1
    desk.visited = True
    desk.look(replace(desk.view, alert=at))
    desk.seen_alerts()
    return _to_alert(desk, with_step=False)


def _to_alert(desk: Desk, *, with_step: bool) -> str:
    alerts = desk.alerts
    if not alerts:
        return "no alerts"
    alert = alerts[max(0, min(desk.view.alert, len(alerts) - 1))]
    if alert.tensor is not None:
        reveal(desk, alert.tensor)
    if with_step:
        there = [row for row in desk.scene.timeline if row.step == alert.step]
        row = next((row for row in there if row.segment == alert.segment), None)
        if row is None and there:
            row = there[-1]
        if row is not None:
            desk.look(replace(desk.view, current=row.id, follow=False, pane="layers"))
            return f"at step {step(row.step)}, where it was detected"
    return ""


def reveal(desk: Desk, path: str) -> None:
    """Put the cursor on a tensor, opening what hides it."""
    tree = desk.scene.tree
    index = tree.index.get(path)
    if index is None:
        return
    above = {tree.nodes[i].path for i in tree.ancestors(index)}
    view = replace(
        desk.view,
        path=tree.nodes[index].path,
        closed=(desk.view.closed or frozenset()) - above,
    )
    if not any(row.node == index for row in desk.rows) and (view.filter or view.alerts_only):
        view = replace(view, filter="", alerts_only=False)
    desk.look(view)


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
    "panel-histogram": histogram,
    "panel-curves": curves,
    "panel-channels": channels,
    "value-scale": value_scale,
    "step-scale": step_scale,
    "zoom": zoom,
    "alert-next": lambda desk, _: next_alert(desk, 1),
    "alert-previous": lambda desk, _: next_alert(desk, -1),
    "alerts-only": alerts_only,
}
"""Action id -> move; the other actions are the screen's own."""
