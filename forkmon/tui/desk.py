"""What lies before the person: the scene, the view of it, and the small reads in between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkmon.tui import fetching, model, tree_view
from forkmon.tui.alarms import Alarms, members
from forkmon.tui.overview import MapRow, map_rows
from forkmon.tui.reads import Reads
from forkmon.tui.scene import Scene, alike
from forkmon.tui.widgets.layer_tree import Cell, change_of, window
from forkmon.tui.widgets.panel import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forkmon.stats.alert import Alert, Severity
    from forkmon.stats.reduced import Reduced
    from forkmon.stats.row import StatRow
    from forkmon.stats.series import Series
    from forkmon.tui.marks import Marks
    from forkmon.tui.source import Source
    from forkmon.tui.tree_model import Tree
    from forkmon.tui.tree_view import Pattern, Row


@dataclass(slots=True)
class _Shown:
    """The visible rows and what they were computed from."""

    rows: list[Row]
    worst: dict[int, Severity]
    pattern: Pattern | None


class Desk:
    """Holds the view and answers what the panes ask; the only caller of the store's reader."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.view = model.View()
        self.reads = Reads()
        self.alarms = Alarms()
        self.top = 0
        """First row of the tree on screen."""
        self._shown: _Shown | None = None
        self._cursor: int | None = None
        self._map: tuple[list[Row], Tree, tuple[MapRow, ...]] | None = None
        self.shelf = fetching.Shelf()
        self.visited = False
        """Whether an alert was gone to; the first `n` goes to the first one."""

    @property
    def source(self) -> Source | None:
        """Return the connection of the small reads."""
        return self.reads.source

    @source.setter
    def source(self, source: Source | None) -> None:
        self.reads.source = source

    # -- changes ---------------------------------------------------------------------------

    def arrive(self, scene: Scene) -> None:
        """Take a new scene; the view follows the newest checkpoint if it is to."""
        same = alike(self.scene, scene)
        self.scene = scene
        if same and scene.timeline:
            return
        view = model.landed(self.view, scene.timeline)
        if view.closed is None and scene.tree.nodes:
            view = replace(view, closed=scene.tree.initially_closed())
        self.alarms.count_new(scene.alerts)
        self.reads.forget()
        self.shelf.retry()
        self.look(view, keep=False)

    def look(self, view: model.View, *, keep: bool = True) -> None:
        """Change the view; rows are computed again only where they may differ."""
        old = self.view
        self.view = view
        self._cursor = None
        rows_same = keep and (
            (old.closed, old.filter, old.alerts_only, old.sort, old.reverse)
            == (view.closed, view.filter, view.alerts_only, view.sort, view.reverse)
        )
        ranked = view.sort != "name" and (
            (old.current, old.baseline, old.statistic)
            != (view.current, view.baseline, view.statistic)
        )
        if not rows_same or ranked:
            self._shown = None
        if old.filter != view.filter:
            self.alarms.forget_filter()
        if not keep:
            self.alarms.forget()

    def notice(self, extra: tuple[Alert, ...]) -> bool:
        """Set the live notices; tell whether they changed."""
        if extra == self.alarms.extra:
            return False
        self.alarms.extra = extra
        self.alarms.forget()
        return True

    def seen_alerts(self) -> None:
        """Nothing is new any more: the person has looked."""
        self.alarms.new = 0

    # -- what is visible -------------------------------------------------------------------

    @property
    def marks(self) -> Marks:
        """Return what the person acknowledged and muted; the screen keeps it in their file."""
        return self.alarms.marks

    @property
    def new_alerts(self) -> int:
        """Return how many alerts came since the person looked."""
        return self.alarms.new

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Return the alerts not muted that the filter keeps, worst and newest first."""
        return self.alarms.kept(self.scene, self.view.filter)

    @property
    def open_alerts(self) -> tuple[Alert, ...]:
        """Return the alerts of the whole run that nobody acknowledged yet, filter or not."""
        every = self.alarms.every(self.scene)
        return tuple(a for a in every if a.key not in self.marks.acknowledged)

    @property
    def hidden_alerts(self) -> int:
        """Return how many alerts the filter leaves out."""
        return max(0, len(self.alarms.every(self.scene)) - len(self.alerts))

    @property
    def chosen_alert(self) -> Alert | None:
        """Return the alert that the pane's cursor is on."""
        alerts = self.alerts
        return alerts[max(0, min(self.view.alert, len(alerts) - 1))] if alerts else None

    def choose_alert(self, at: int) -> None:
        """Put the cursor of the alerts on another one."""
        self.look(replace(self.view, alert=at))

    def members(self, alert: Alert) -> tuple[Alert, ...]:
        """Return the alerts that one of `alerts` stands for."""
        return members(self.scene, self.view.filter, alert)

    def mark(self, marks: Marks) -> None:
        """Take other marks; what they hide or show is computed again."""
        self.alarms.marks = marks
        self.alarms.forget()
        self._shown = None

    @property
    def rows(self) -> list[Row]:
        """Return the visible rows of the tree, on screen or not."""
        return self._visible().rows

    @property
    def worst(self) -> dict[int, Severity]:
        """Return the worst severity of each row of the tree."""
        return self._visible().worst

    @property
    def pattern(self) -> Pattern | None:
        """Return the filter, understood."""
        return self._visible().pattern

    @property
    def cursor(self) -> int:
        """Return which visible row the cursor is on."""
        if self._cursor is None:
            self._cursor = self._find_cursor()
        return self._cursor

    def _find_cursor(self) -> int:
        rows = self.rows
        if not rows:
            return 0
        node = self.scene.tree.index.get(self.view.path, 0)
        found = tree_view.find(rows, node)
        if found is not None:
            return found
        for above in self.scene.tree.ancestors(node):
            found = tree_view.find(rows, above)
            if found is not None:
                return found
        return 0

    def on_screen(self, height: int) -> tuple[Sequence[Row], int, int]:
        """Return the rows that fit, the index of the first, and how many are below."""
        rows = self.rows
        self.top, shown = window(len(rows), self.top, self.cursor, height)
        part = rows[self.top : self.top + shown]
        return part, self.top, len(rows) - self.top - len(part)

    def _visible(self) -> _Shown:
        if self._shown is None:
            self._shown = self._compute()
        return self._shown

    def _compute(self) -> _Shown:
        tree, view = self.scene.tree, self.view
        muted = self.marks.muted
        worst = tree_view.severities(tree, [a for a in self.scene.alerts if a.kind not in muted])
        found = tree_view.pattern(view.filter)
        keep = self._keep(found, worst)
        if view.sort == "name":
            rows = tree_view.visible(tree, view.closed or frozenset(), keep)
            if view.reverse:
                rows = tree_view.reversed_siblings(tree, rows)
        else:
            rank = self._ranks(worst)
            rows = tree_view.ranked(tree, rank, reverse=view.reverse, keep=keep)
        return _Shown(rows, worst, found)

    def _keep(
        self, found: Pattern | None, worst: Mapping[int, Severity]
    ) -> Callable[[int], bool] | None:
        nodes = self.scene.tree.nodes
        only = self.view.alerts_only
        if found is None and not only:
            return None

        def keep(index: int) -> bool:
            if only and index not in worst:
                return False
            return found is None or found.matches(nodes[index].path)

        return keep

    def _ranks(self, worst: Mapping[int, Severity]) -> Mapping[int, float | None]:
        view = self.view
        now = self.reads.column(view.current, view.statistic)
        if view.sort == "value":
            return now
        changes = self._changes(now)
        if view.sort == "change":
            return changes
        return tree_view.abnormality(self.scene.tree, worst, changes)

    def _changes(self, now: Mapping[int, float | None]) -> dict[int, float | None]:
        """Return how much each row differs from the baseline, without the direction."""
        base = model.baseline_id(self.view, self.scene.timeline)
        before = self.reads.column(base, self.view.statistic)
        changes = {
            key: change_of(Cell(value, before.get(key)), self.view.statistic)
            for key, value in now.items()
        }
        return {key: None if c is None else abs(c) for key, c in changes.items()}

    # -- what the panels are about ---------------------------------------------------------

    @property
    def subject(self) -> Subject | None:
        """Return what the panel is about; None before the first checkpoint."""
        scene, view = self.scene, self.view
        current = scene.checkpoint(view.current)
        rows = self.rows
        if current is None or not rows:
            return None
        node = scene.tree.nodes[rows[self.cursor].node]
        baseline = scene.checkpoint(model.baseline_id(view, scene.timeline))
        name = node.path or scene.title
        entry = scene.entry(node.entry)
        return Subject(name, entry, current, baseline, scene.timeline, view.follow)

    @property
    def map_rows(self) -> tuple[MapRow, ...]:
        """Return the rows of the overview: all tensors, or those that the filter keeps."""
        kept = (self.rows, self.scene.tree)
        if self._map is None or self._map[0] is not kept[0] or self._map[1] is not kept[1]:
            tree = self.scene.tree
            keep = self._keep(self.pattern, self.worst)
            shown = (i for i in range(len(tree.nodes)) if keep is None or keep(i))
            self._map = (*kept, map_rows(tree, shown))
        return self._map[2]

    def cells(self, rows: Sequence[Row]) -> dict[int, Cell]:
        """Return the numbers of some visible rows."""
        view, timeline = self.view, self.scene.timeline
        base = model.baseline_id(view, timeline)
        nodes = self.scene.tree.nodes
        ids = [entry for row in rows if (entry := nodes[row.node].entry) is not None]
        stamp = (view.statistic, view.current, base, len(timeline))
        return self.reads.cells(ids, stamp, timeline)

    def stat(self, tensor: int, checkpoint: int) -> StatRow | None:
        """Return one row of numbers."""
        return self.reads.stat(tensor, checkpoint)

    def reduced(self, tensor: int, checkpoint: int) -> Reduced | None:
        """Return one histogram."""
        return self.reads.reduced(tensor, checkpoint)

    def series(self, tensor: int) -> Series | None:
        """Return one row's columns over the timeline."""
        return self.reads.series(tensor, self.scene.timeline)
