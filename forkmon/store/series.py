"""Numbers over steps: sparklines of many tensors, and the series of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forkmon.stats.row import STATISTICS
from forkmon.stats.series import Series
from forkmon.store.query import Query, batches, marks
from forkmon.store.records import QUANTILE_NAMES, Row, get_quantiles, scalar_column
from forkmon.store.values import TensorEntry, Timeline

ALL_COLUMNS: tuple[str, ...] = (*STATISTICS, "n", *QUANTILE_NAMES)
"""Every column that a curve can show."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns to read, and how a row becomes values in the order of `names`."""

    names: tuple[str, ...]
    sql: str
    levels: tuple[int, ...]

    def pick(self, row: Row) -> Row:
        """Return a row's values in the order of `names`."""
        if not self.levels:
            return row
        quantiles = get_quantiles(row[-1])
        return (*row[:-1], *(quantiles[level] for level in self.levels))


def columns_of(statistics: Sequence[str]) -> Columns:
    """Return how to read some statistics; ValueError for a name that is none."""
    scalars = [name for name in statistics if name not in QUANTILE_NAMES]
    quantiles = [name for name in statistics if name in QUANTILE_NAMES]
    sql = [scalar_column(name) for name in scalars]
    if quantiles:
        sql.append("quantiles")
    levels = tuple(map(QUANTILE_NAMES.index, quantiles))
    return Columns((*scalars, *quantiles), ", ".join(sql), levels)


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
    columns = columns_of(ALL_COLUMNS)
    found: dict[int, Row] = {}
    for some in batches([row.id for row in timeline]):
        rows = query(
            f"SELECT checkpoint, {columns.sql} FROM stat "  # noqa: S608 (checked names)
            f"WHERE checkpoint IN ({marks(some)}) AND tensor = ?",
            (*some, tensor.id),
        )
        found |= {row[0]: columns.pick(row[1:]) for row in rows}
    return joined(tensor, timeline, columns, [found.get(row.id) for row in timeline])


def joined(
    tensor: TensorEntry, timeline: Timeline, columns: Columns, rows: Sequence[Row | None]
) -> Series:
    """Return a tensor's rows, one a step (None where it has none), as a series."""
    missing = (None,) * len(columns.names)
    filled = [missing if row is None else row for row in rows]
    values = zip(*filled, strict=True) if filled else iter([()] * len(columns.names))
    return Series(
        tensor=tensor.name,
        steps=tuple(row.step for row in timeline),
        values=dict(zip(columns.names, values, strict=True)),
        segments=tuple(row.segment for row in timeline),
        shape=tensor.shape,
        dtype=tensor.dtype,
        role=tensor.role,
    )
