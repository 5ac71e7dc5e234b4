"""Moves among the alerts: which are listed, where they lead, what is done with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forkmon.draw.numbers import step
from forkmon.text import safe
from forkmon.tui.model import FORK_VIEWS
from forkmon.tui.tree_view import row_of

if TYPE_CHECKING:
    from forkmon.tui.desk import Desk
    from forkmon.tui.model import ForkView


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
    return to_alert(desk, with_step=False)


def to_alert(desk: Desk, *, with_step: bool) -> str:
    """Put the cursor on the chosen alert's tensor, and show the step where it was detected."""
    alert = desk.chosen_alert
    if alert is None:
        return "no alerts"
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


def acknowledge(desk: Desk, _page: int) -> str:
    """Mark the chosen alert as seen: it stays, last and muted."""
    alert = desk.chosen_alert
    if alert is None:
        return "no alerts"
    taken_back = alert.key in desk.marks.acknowledged
    desk.mark(desk.marks.acknowledge(alert.key))
    said = "no longer acknowledged" if taken_back else "acknowledged; a takes it back"
    return f"{safe(alert.kind, 16)} at {step(alert.onset)} {said}"


def mute(desk: Desk, _page: int) -> str:
    """Leave out alerts of the chosen alert's kind."""
    alert = desk.chosen_alert
    if alert is None:
        return "no alerts"
    kind = alert.kind
    desk.mark(desk.marks.mute(kind))
    desk.look(replace(desk.view, alert=0))
    return f"{safe(kind, 16)} muted; M hears all kinds again"


def to_onset(desk: Desk) -> str:
    """Open the fork diagram of the chosen alert's tensor at the step where it began."""
    alert = desk.chosen_alert
    if alert is None:
        return "no alerts"
    if alert.tensor is not None:
        reveal(desk, alert.tensor)
    own = [row for row in desk.scene.timeline if row.segment == alert.segment]
    at = next((row for row in own or desk.scene.timeline if row.step >= alert.onset), None)
    looked_at = alert.evidence.get("view")
    views: tuple[ForkView, ...] = FORK_VIEWS
    shown = next((view for view in views if str(view) == looked_at), views[0])
    view = replace(desk.view, panel="fork", pane="layers", fork_view=shown)
    if at is None:
        desk.look(view)
        return ""
    desk.look(replace(view, current=at.id, follow=False))
    return f"at step {step(at.step)}, where it began; > follows the newest again"


def unmute(desk: Desk, _page: int) -> str:
    """Hear every kind of alert again."""
    muted = sorted(desk.marks.muted)
    desk.mark(replace(desk.marks, muted=frozenset()))
    return (
        f"heard again: {', '.join(safe(kind, 16) for kind in muted)}" if muted else "none is muted"
    )


def reveal(desk: Desk, path: str) -> None:
    """Put the cursor on a tensor, opening what hides it."""
    tree = desk.scene.tree
    index = row_of(tree, path)
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
