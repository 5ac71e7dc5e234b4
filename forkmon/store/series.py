"""Numbers over steps: sparklines of many tensors, the series of one, and of all in a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from forkmon.stats.row import STATISTICS
from forkmon.stats.series import Series
from forkmon.store.records import QUANTILE_NAMES, Row, get_quantiles, scalar_column
from forkmon.store.values import TensorEntry, Timeline

Query = Callable[[str, Sequence[object]], list[Row]]
"""Runs one SELECT and returns all its rows."""

ALL_COLUMNS: tuple[str, ...] = (*STATISTICS, "n", *QUANTILE_NAMES)
"""Every column that a curve can show."""

_BATCH = 400
"""Values in one IN list; two lists fit the limit of every SQLite."""

_STREAMED = 512
"""Tensors held at once while all series are streamed."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns to read, and how a row becomes values in the order of `names`."""

    names: tuple[str, ...]
    sql: str
    levels: tuple[int, ...]

    def pick(self, row: Row) -> Row:
        if not self.levels:
            return row
        quantiles = get_quantiles(row[-1])
        return (*row[:-1], *(quantiles[level] for level in self.levels))


def _columns(statistics: Sequence[str]) -> _Columns:
    scalars = [name for name in statistics if name not in QUANTILE_NAMES]
    quantiles = [name for name in statistics if name in QUANTILE_NAMES]
    sql = [scalar_column(name) for name in scalars]
    if quantiles:
        sql.append("quantiles")
    levels = tuple(map(QUANTILE_NAMES.index, quantiles))
    return _Columns((*scalars, *quantiles), ", ".join(sql), levels)


def sparks(
    query: Query, tensors: Sequence[int], statistic: str, checkpoints: Sequence[int]
) -> dict[int, tuple[float | None, ...]]:
    """Return one statistic of some tensors at some checkpoints, in the order given."""
    column = scalar_column(statistic)
    at = {checkpoint: i for i, checkpoint in enumerate(checkpoints)}
    found: dict[int, list[float | None]] = {t: [None] * len(checkpoints) for t in tensors}
    for some in batches(checkpoints):
        for others in batches(tensors):
            rows = query(
                f"SELECT checkpoint, tensor, {column} FROM stat "  # noqa: S608 (a checked name)
                f"WHERE checkpoint IN ({marks(some)}) AND tensor IN ({marks(others)})",
                (*some, *others),
            )
            for checkpoint, tensor, value in rows:
                found[tensor][at[checkpoint]] = value
    return {tensor: tuple(values) for tensor, values in found.items()}


def series(query: Query, tensor: TensorEntry, timeline: Timeline) -> Series:
    """Return every column of one tensor over a timeline."""
    columns = _columns(ALL_COLUMNS)
    found: dict[int, Row] = {}
    for some in batches([row.id for row in timeline]):
        rows = query(
            f"SELECT checkpoint, {columns.sql} FROM stat "  # noqa: S608 (checked names)
            f"WHERE checkpoint IN ({marks(some)}) AND tensor = ?",
            (*some, tensor.id),
        )
        found |= {row[0]: columns.pick(row[1:]) for row in rows}
    return _series(tensor.name, timeline, columns, [found.get(row.id) for row in timeline])


def all_series(
    query: Query, tensors: Sequence[TensorEntry], timeline: Timeline, statistics: Sequence[str]
) -> Iterator[Series]:
    """Yield the series of each tensor (in id order) that has a number on the timeline."""
    columns = _columns(statistics)
    ordered = sorted(tensors, key=lambda tensor: tensor.id)
    for first in range(0, len(ordered), _STREAMED):
        batch = ordered[first : first + _STREAMED]
        found: dict[int, list[Row | None]] = {t.id: [None] * len(timeline) for t in batch}
        for i, checkpoint in enumerate(timeline):
            rows = query(
                f"SELECT tensor, {columns.sql} FROM stat "  # noqa: S608 (checked names)
                "WHERE checkpoint = ? AND tensor BETWEEN ? AND ?",
                (checkpoint.id, batch[0].id, batch[-1].id),
            )
            for row in rows:
                if row[0] in found:  # a block between two tensors
                    found[row[0]][i] = columns.pick(row[1:])
        for tensor in batch:
            numbers = found.pop(tensor.id)
            if any(row is not None for row in numbers):
                yield _series(tensor.name, timeline, columns, numbers)


def _series(name: str, timeline: Timeline, columns: _Columns, rows: Sequence[Row | None]) -> Series:
    missing = (None,) * len(columns.names)
    filled = [missing if row is None else row for row in rows]
    values = zip(*filled, strict=True) if filled else iter([()] * len(columns.names))
    return Series(
        tensor=name,
        steps=tuple(row.step for row in timeline),
        values=dict(zip(columns.names, values, strict=True)),
    )


def batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield numbers in lists that fit one SELECT."""
    for first in range(0, len(numbers), _BATCH):
        yield numbers[first : first + _BATCH]


def marks(values: Sequence[int]) -> str:
    """Return a question mark for each value."""
    return ",".join("?" * len(values))
