"""Which alerts a person sees: grouped by event, not muted, of the filtered tensors, new or old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.tui import tree_view
from forkmon.tui.alert_groups import grouped
from forkmon.tui.marks import Marks
from forkmon.tui.widgets.alerts import ordered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.stats.alert import Alert
    from forkmon.tui.marks import AlertKey
    from forkmon.tui.scene import Scene


class Alarms:
    """Lists of alerts, computed again only where something in them may differ."""

    def __init__(self) -> None:
        self.marks = Marks()
        self.extra: tuple[Alert, ...] = ()
        """Live notices that are never stored."""
        self.new = 0
        self._known: set[AlertKey] | None = None
        self._every: tuple[Alert, ...] | None = None
        self._kept: tuple[Alert, ...] | None = None

    def forget(self) -> None:
        """Compute the lists again when they are asked for."""
        self._every = self._kept = None

    def forget_filter(self) -> None:
        """Filter again when the list is asked for."""
        self._kept = None

    def every(self, scene: Scene) -> tuple[Alert, ...]:
        """Return the alerts not muted, worst and newest first, those of one event as one.

        Acknowledged ones come last.
        """
        if self._every is None:
            found = grouped(ordered((*scene.alerts, *self.extra)))
            self._every = tuple(self.marks.heard(found))
        return self._every

    def kept(self, scene: Scene, text: str) -> tuple[Alert, ...]:
        """Return those of them that the tree's filter keeps."""
        if not text:
            return self.every(scene)
        if self._kept is None:
            found = [a for a in (*scene.alerts, *self.extra) if matches(scene, text, a)]
            self._kept = tuple(self.marks.heard(grouped(ordered(found))))
        return self._kept

    def count_new(self, alerts: Sequence[Alert]) -> None:
        """Count the alerts that were not there before; at first none is new."""
        keys = {alert.key for alert in grouped(alerts)}
        if self._known is not None:
            self.new = min(self.new + len(keys - self._known), len(keys))
        self._known = keys | (self._known or set())


def matches(scene: Scene, text: str, alert: Alert) -> bool:
    """Tell whether a filter keeps an alert; those of the whole run always stay."""
    found = tree_view.pattern(text)
    if found is None or alert.tensor is None:
        return True
    row = tree_view.row_of(scene.tree, alert.tensor)
    return found.matches(alert.tensor if row is None else scene.tree.nodes[row].path)


def members(scene: Scene, text: str, alert: Alert) -> tuple[Alert, ...]:
    """Return the alerts that one of an event stands for, as far as the filter keeps them."""
    event = (alert.kind, alert.segment, alert.onset)
    same = [a for a in scene.alerts if (a.kind, a.segment, a.onset) == event]
    return tuple(a for a in same if a.tensor is not None and matches(scene, text, a))
