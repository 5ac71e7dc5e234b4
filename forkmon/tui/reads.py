"""The small reads of a key press: done at once, remembered until something new is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from forkmon.tui.widgets.layer_tree import Cell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forkmon.stats.reduced import Reduced
    from forkmon.stats.row import StatRow
    from forkmon.stats.series import Series
    from forkmon.store.values import Timeline
    from forkmon.tui.source import Source

T = TypeVar("T")

SPARK_POINTS = 10
"""Checkpoints a sparkline samples: two for each of its characters."""

KEPT_COLUMNS = 32
"""Whole columns remembered: what sorting scrubs through."""

KEPT = 512
"""Small reads remembered; enough for every step of a scrub to and fro."""

Stamp = tuple[str, int | None, int | None, int]
"""Statistic, current checkpoint, baseline, length of the timeline: what a cell depends on."""


class Reads:
    """Asks the store's reader, once for each thing."""

    def __init__(self) -> None:
        self.source: Source | None = None
        self._cells: dict[tuple[int, str, int | None, int | None, int], Cell] = {}
        self._columns: dict[tuple[int, str], Mapping[int, float | None]] = {}
        self._stats: dict[tuple[int, int], StatRow | None] = {}
        self._codes: dict[tuple[int, int], Reduced | None] = {}
        self._series: dict[tuple[int, int], Series] = {}

    def forget(self) -> None:
        """Forget everything: the store holds something new."""
        for memory in (self._stats, self._codes, self._series, self._cells, self._columns):
            memory.clear()

    def column(self, checkpoint: int | None, statistic: str) -> Mapping[int, float | None]:
        """Return one statistic of all rows at a checkpoint."""
        if self.source is None or checkpoint is None:
            return {}
        key = (checkpoint, statistic)
        if key not in self._columns:
            if len(self._columns) > KEPT_COLUMNS:
                self._columns.clear()
            self._columns[key] = self.source.column(*key)
        return self._columns[key]

    def cells(self, ids: Sequence[int], stamp: Stamp, timeline: Timeline) -> dict[int, Cell]:
        """Return the numbers of some rows; only what is not remembered is read."""
        missing = [i for i in ids if (i, *stamp) not in self._cells]
        if missing and stamp[1] is not None:
            self._read_cells(missing, stamp[1], stamp, timeline)
        empty = Cell()
        return {i: self._cells.get((i, *stamp), empty) for i in ids}

    def _read_cells(
        self, ids: Sequence[int], current: int, stamp: Stamp, timeline: Timeline
    ) -> None:
        if self.source is None:
            return
        if len(self._cells) > KEPT * 8:
            self._cells.clear()
        base = stamp[2]
        sampled = _sampled([row.id for row in timeline], SPARK_POINTS)
        wanted = list(dict.fromkeys([*sampled, current, current if base is None else base]))
        found = self.source.sparks(ids, stamp[0], wanted)
        nothing = (None,) * len(wanted)
        for i in ids:
            at = dict(zip(wanted, found.get(i, nothing), strict=True))
            before = None if base is None else at[base]
            self._cells[(i, *stamp)] = Cell(at[current], before, tuple(at[c] for c in sampled))

    def stat(self, tensor: int, checkpoint: int) -> StatRow | None:
        """Return one row of numbers."""
        return self._read(self._stats, (tensor, checkpoint), lambda s: s.stat(tensor, checkpoint))

    def reduced(self, tensor: int, checkpoint: int) -> Reduced | None:
        """Return one histogram."""
        key = (tensor, checkpoint)
        return self._read(self._codes, key, lambda s: s.reduced(tensor, checkpoint))

    def series(self, tensor: int, timeline: Timeline) -> Series | None:
        """Return one row's columns over the timeline."""
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
