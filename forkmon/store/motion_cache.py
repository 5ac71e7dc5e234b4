"""Measures how far tensors and blocks moved, once for each pair of neighbours on a timeline.

Reading a whole history of sketches takes seconds on large models; distances are three numbers a
row. They hold for the neighbours they were measured between: where a checkpoint came in between,
whatever the order of arrival, its neighbours are measured anew and no others.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forkmon.stats.names import ancestors
from forkmon.store.neighbours import Ends, neighbours
from forkmon.store.records import get_text
from forkmon.store.values import Timeline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 4096
"""Tensors whose sketches are held at once: 4 MB a checkpoint."""


def refresh(connection: sqlite3.Connection, timeline: Timeline, *, settled: bool) -> int:
    """Measure what is not known yet on a timeline; return how many checkpoints were measured.

    The caller holds the transaction. While older checkpoints are still to come (not `settled`)
    the first one is not known, and drift from it is left out.
    """
    wanted = neighbours(timeline, settled=settled)
    stale = due(connection, timeline, settled=settled)
    _measure(connection, stale, wanted)
    connection.executemany(
        "INSERT OR REPLACE INTO neighbour VALUES (?, ?, ?, ?)",
        [(number, *wanted[number]) for number in stale],
    )
    return len(stale)


def due(connection: sqlite3.Connection, timeline: Timeline, *, settled: bool) -> list[int]:
    """Return the ids of the checkpoints that were not measured between their neighbours."""
    stored: dict[int, Ends] = {
        row[0]: row[1:]
        for row in connection.execute(
            'SELECT checkpoint, "before", "after", "first" FROM neighbour'
        )
    }
    return [
        number
        for number, (before, after, first) in neighbours(timeline, settled=settled).items()
        if number not in stored
        or stored[number][:2] != (before, after)
        or (settled and stored[number][2] != first)
    ]


def _measure(connection: sqlite3.Connection, stale: Sequence[int], wanted: dict[int, Ends]) -> None:
    connection.executemany("DELETE FROM motion WHERE checkpoint = ?", [(n,) for n in stale])
    families = _Families(connection)
    blocks = {number: _Sums() for number in stale}
    for low, high in _ranges(connection):
        sketches = _Sketches(connection, low, high)
        for number in stale:
            before, after, first = wanted[number]
            sketches.keep(number, before, after, first)
            rows = _Rows(
                sketches.distances(before, number),
                sketches.distances(first, number),
                sketches.distances(before, after),
            )
            _store(connection, number, rows.by_tensor())
            blocks[number].add(rows, families)
    for number, sums in blocks.items():
        _store(connection, number, sums.by_block())


def _store(
    connection: sqlite3.Connection, number: int, rows: dict[int, list[float | None]]
) -> None:
    connection.executemany(
        'INSERT INTO motion (checkpoint, tensor, "update", drift, return_jump) '
        "VALUES (?, ?, ?, ?, ?)",
        [(number, tensor, *values) for tensor, values in rows.items()],
    )


def _ranges(connection: sqlite3.Connection) -> Iterator[tuple[int, int]]:
    ids = [row[0] for row in connection.execute(
        "SELECT id FROM tensor WHERE kind = 'tensor' ORDER BY id"
    )]  # fmt: skip
    for first in range(0, len(ids), _BATCH):
        some = ids[first : first + _BATCH]
        yield some[0], some[-1]


class _Families:
    """The blocks that each tensor is in."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._blocks: dict[tuple[str, str], int] = {}
        self._tensors: dict[int, tuple[str, str]] = {}
        for number, name, kind, role in connection.execute(
            "SELECT id, name, kind, role FROM tensor"
        ):
            if kind == "block":
                self._blocks[role, get_text(name)] = number
            else:
                self._tensors[number] = (role, get_text(name))

    def of(self, tensor: int) -> Iterator[int]:
        """Yield the ids of the blocks around a tensor."""
        role, name = self._tensors[tensor]
        for block in ancestors(name):
            if (role, block) in self._blocks:
                yield self._blocks[role, block]


Distances = dict[int, float | None]
"""By tensor that either checkpoint holds; None where one of them has no sketch of it."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is stored of one checkpoint's tensors."""

    update: Distances
    drift: Distances
    return_jump: Distances

    def by_tensor(self) -> dict[int, list[float | None]]:
        """Return the three numbers of each tensor that has one."""
        columns = (self.update, self.drift, self.return_jump)
        found = {t: [c.get(t) for c in columns] for t in sorted({t for c in columns for t in c})}
        return {t: values for t, values in found.items() if values != [None] * 3}


@dataclass(slots=True)
class _Sums:
    """Squares of a checkpoint's distances added up by block."""

    squares: tuple[dict[int, float | None], ...] = field(
        default_factory=lambda: tuple(dict[int, "float | None"]() for _ in range(3))
    )

    def add(self, rows: _Rows, families: _Families) -> None:
        """Add some tensors; a tensor without a distance leaves its blocks without one."""
        for squares, column in zip(
            self.squares, (rows.update, rows.drift, rows.return_jump), strict=True
        ):
            for tensor, distance in column.items():
                for block in families.of(tensor):
                    squares[block] = _added(squares.get(block, 0.0), distance)

    def by_block(self) -> dict[int, list[float | None]]:
        """Return the three distances of each block."""
        blocks = sorted({block for squares in self.squares for block in squares})
        return {b: [_root(squares.get(b)) for squares in self.squares] for b in blocks}


def _added(square: float | None, distance: float | None) -> float | None:
    return None if square is None or distance is None else square + distance * distance


def _root(square: float | None) -> float | None:
    return None if square is None else float(square**0.5)


class _Sketches:
    """The sketches of a range of tensors at the few checkpoints in hand."""

    def __init__(self, connection: sqlite3.Connection, low: int, high: int) -> None:
        self._connection = connection
        self._range = (low, high)
        self._read: dict[int, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}

    def keep(self, *checkpoints: int | None) -> None:
        """Forget all checkpoints but these."""
        self._read = {number: read for number, read in self._read.items() if number in checkpoints}

    def distances(self, a: int | None, b: int | None) -> Distances:
        """Return the distance of each tensor between two checkpoints."""
        if a is None or b is None:
            return {}
        import numpy as np  # only where there is something to measure: scan of a known run is fast

        (one, x), (other, y) = self._of(a), self._of(b)
        common, at_x, at_y = np.intersect1d(one, other, assume_unique=True, return_indices=True)
        moved = x[at_x].astype(np.float64) - y[at_y]
        lengths = np.sqrt((moved * moved).sum(axis=1))
        found: Distances = dict.fromkeys([*one.tolist(), *other.tolist()])
        found.update(zip(common.tolist(), lengths.tolist(), strict=True))
        return found

    def _of(self, checkpoint: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        import numpy as np

        if checkpoint not in self._read:
            rows: list[tuple[Any, ...]] = self._connection.execute(
                "SELECT tensor, sketch FROM trace WHERE checkpoint = ? AND tensor BETWEEN ? AND ? "
                "AND sketch IS NOT NULL ORDER BY tensor",
                (checkpoint, *self._range),
            ).fetchall()
            ids = np.array([row[0] for row in rows], np.int64)
            sums = np.frombuffer(b"".join(row[1] for row in rows), "<f4")
            self._read[checkpoint] = (ids, sums.reshape(len(ids), -1 if len(ids) else 256))
        return self._read[checkpoint]
