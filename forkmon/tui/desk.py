"""What lies before the person: the scene, the view of it, and the small reads in between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from forkmon.tui import fetching, model, tree_view
from forkmon.tui.alert_groups import grouped
from forkmon.tui.scene import Scene, alike
from forkmon.tui.widgets.alerts import ordered
from forkmon.tui.widgets.layer_tree import Cell, change_of, window
from forkmon.tui.widgets.panel import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forkmon.stats.alert import Alert, Severity
    from forkmon.stats.reduced import Reduced
    from forkmon.stats.row import StatRow
    from forkmon.stats.series import Series
    from forkmon.tui.source import Source
    from forkmon.tui.tree_view import Pattern, Row

T = TypeVar("T")

SPARK_POINTS = 10
"""Checkpoints a sparkline samples: two for each of its characters."""

KEPT_COLUMNS = 32
"""Whole columns remembered: what sorting scrubs through."""

KEPT = 512
"""Small reads remembered; enough for every step of a scrub to and fro."""


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
        self.source: Source | None = None
        self.extra: tuple[Alert, ...] = ()
        """Live notices that are never stored."""
        self.top = 0
        """First row of the tree on screen."""
        self._shown: _Shown | None = None
        self._cursor: int | None = None
        self._alerts: tuple[Alert, ...] | None = None
        self._cells: dict[tuple[int, str, int | None, int | None, int], Cell] = {}
        self._columns: dict[tuple[int, str], Mapping[int, float | None]] = {}
        self._stats: dict[tuple[int, int], StatRow | None] = {}
        self._codes: dict[tuple[int, int], Reduced | None] = {}
        self._series: dict[tuple[int, int], Series] = {}
        self._known_alerts: set[tuple[str, str | None, int]] | None = None
        self.new_alerts = 0
        self.shelf = fetching.Shelf()
        self.visited = False
        """Whether an alert was gone to; the first `n` goes to the first one."""

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
        self._count_new(grouped(scene.alerts))
        for memory in (self._stats, self._codes, self._series, self._cells, self._columns):
            memory.clear()
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
        if not keep:
            self._alerts = None

    def notice(self, extra: tuple[Alert, ...]) -> bool:
        """Set the live notices; tell whether they changed."""
        if extra == self.extra:
            return False
        self.extra = extra
        self._alerts = None
        return True

    def seen_alerts(self) -> None:
        """Nothing is new any more: the person has looked."""
        self.new_alerts = 0

    def _count_new(self, alerts: Sequence[Alert]) -> None:
        keys = {alert.key for alert in alerts}
        if self._known_alerts is not None:
            self.new_alerts += len(keys - self._known_alerts)
            self.new_alerts = min(self.new_alerts, len(keys))
        self._known_alerts = keys | (self._known_alerts or set())

    # -- what is visible -------------------------------------------------------------------

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Return all alerts, worst and newest first, those of one event as one."""
        if self._alerts is None:
            self._alerts = grouped(ordered((*self.scene.alerts, *self.extra)))
        return self._alerts

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
        worst = tree_view.severities(tree, self.scene.alerts)
        found = tree_view.pattern(view.filter)
        keep = self._keep(found, worst)
        if view.sort == "name":
            rows = tree_view.visible(tree, view.closed or frozenset(), keep)
            if view.reverse:
                rows = tree_view.reversed_siblings(tree, rows)
        else:
            rows = tree_view.ranked(tree, self._ranks(), reverse=view.reverse, keep=keep)
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

    def _ranks(self) -> Mapping[int, float | None]:
        view, source = self.view, self.source
        if source is None or view.current is None:
            return {}
        now = self._column(source, view.current)
        if view.sort == "value":
            return now
        base = model.baseline_id(view, self.scene.timeline)
        before: Mapping[int, float | None] = {} if base is None else self._column(source, base)
        changes = {
            key: change_of(Cell(value, before.get(key)), view.statistic)
            for key, value in now.items()
        }
        return {key: None if c is None else abs(c) for key, c in changes.items()}

    def _column(self, source: Source, checkpoint: int) -> Mapping[int, float | None]:
        key = (checkpoint, self.view.statistic)
        if key not in self._columns:
            if len(self._columns) > KEPT_COLUMNS:
                self._columns.clear()
            self._columns[key] = source.column(*key)
        return self._columns[key]

    # -- small reads -----------------------------------------------------------------------

    def cells(self, rows: Sequence[Row]) -> dict[int, Cell]:
        """Return the numbers of some visible rows; only what is not remembered is read."""
        view = self.view
        base = model.baseline_id(view, self.scene.timeline)
        stamp = (view.statistic, view.current, base, len(self.scene.timeline))
        nodes = self.scene.tree.nodes
        ids = [entry for row in rows if (entry := nodes[row.node].entry) is not None]
        missing = [i for i in ids if (i, *stamp) not in self._cells]
        if missing and self.source is not None and view.current is not None:
            self._read_cells(missing, view.current, base, stamp)
        empty = Cell()
        return {i: self._cells.get((i, *stamp), empty) for i in ids}

    def _read_cells(
        self,
        ids: Sequence[int],
        current: int,
        base: int | None,
        stamp: tuple[str, int | None, int | None, int],
    ) -> None:
        if self.source is None:
            return
        if len(self._cells) > KEPT * 8:
            self._cells.clear()
        sampled = _sampled([row.id for row in self.scene.timeline], SPARK_POINTS)
        wanted = list(dict.fromkeys([*sampled, current, current if base is None else base]))
        found = self.source.sparks(ids, self.view.statistic, wanted)
        nothing = (None,) * len(wanted)
        for i in ids:
            at = dict(zip(wanted, found.get(i, nothing), strict=True))
            before = None if base is None else at[base]
            self._cells[(i, *stamp)] = Cell(at[current], before, tuple(at[c] for c in sampled))

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

    def stat(self, tensor: int, checkpoint: int) -> StatRow | None:
        """Return one row of numbers."""
        return self._read(self._stats, (tensor, checkpoint), lambda s: s.stat(tensor, checkpoint))

    def reduced(self, tensor: int, checkpoint: int) -> Reduced | None:
        """Return one histogram."""
        key = (tensor, checkpoint)
        return self._read(self._codes, key, lambda s: s.reduced(tensor, checkpoint))

    def series(self, tensor: int) -> Series | None:
        """Return one row's columns over the timeline."""
        timeline = self.scene.timeline
        return self._read(self._series, (tensor, 0), lambda s: s.series(tensor, timeline))

    def digest(self, tensor: int, checkpoint: int) -> int | None:
        """Return the content hash of a tensor at a checkpoint."""
        trace = None if self.source is None else self.source.trace(tensor, checkpoint)
        return None if trace is None else trace.digest

    def note(self, tensor: str) -> str:
        """Return what is to be said of a tensor: which one on disk it is a part of, say."""
        return "" if self.source is None else self.source.note(tensor)

    def _read(
        self,
        memory: dict[tuple[int, int], T],
        key: tuple[int, int],
        read: Callable[[Source], T],
    ) -> T | None:
        if key not in memory:
            if self.source is None:
                return None
            if len(memory) > KEPT:
                memory.clear()
            memory[key] = read(self.source)
        return memory[key]


def _sampled(ids: Sequence[int], points: int) -> list[int]:
    """Return at most `points` of the ids, evenly spread, the last one always among them."""
    if len(ids) <= points:
        return list(ids)
    last = len(ids) - 1
    return [ids[round(i * last / (points - 1))] for i in range(points)]
