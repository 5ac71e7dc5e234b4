"""A batch of series as arrays: one row a tensor, one column a checkpoint, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import lt
from typing import TypeVar

import numpy as np

from forkmon.detect.robust import Array
from forkmon.stats.series import Series

Axis = tuple[tuple[int, int], ...]
"""(segment, step) of each column."""

T = TypeVar("T")

BATCH = 2048
"""Series held at once while all are streamed; their modality and channels are let go before."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Series of one axis."""

    series: tuple[Series, ...]
    axis: Axis
    known: dict[str, Array] = field(default_factory=dict[str, Array], compare=False)
    """Columns that have been asked for."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Return the step of each column."""
        return tuple(step for _, step in self.axis)

    def column(self, name: str) -> Array:
        """Return a statistic (tensors, checkpoints); NaN where it is missing or not asked for."""
        if name not in self.known:
            missing = (None,) * len(self.axis)
            rows = [one.values.get(name, missing) for one in self.series]
            self.known[name] = np.array(rows, np.float64).reshape(len(rows), len(self.axis))
        return self.known[name]

    def of_model(self) -> Panel:
        """Return the rows that are weights: no averages, no optimiser state."""
        rows = [i for i, one in enumerate(self.series) if one.role == "model"]
        if len(rows) == len(self.series):
            return self
        return Panel(tuple(self.series[i] for i in rows), self.axis)

    def log_rms(self) -> Array:
        """Return the logarithm of the root mean square of the finite elements; NaN at 0."""
        count = self.column("n") - self.column("nan") - self.column("inf")
        with np.errstate(divide="ignore", invalid="ignore"):
            level = np.log(self.column("l2")) - 0.5 * np.log(count)
        return np.where(np.isfinite(level), level, np.nan)

    def where(self, row: int, place: int) -> tuple[str, int, int]:
        """Return the tensor of a row and the segment and step of a column."""
        return (self.series[row].tensor, *self.axis[place])


def panels(series: Iterable[Series]) -> Iterator[Panel]:
    """Yield all series in batches of one axis each, in (segment, step) order."""
    stream = iter(series)
    while batch := list(islice(stream, BATCH)):
        by_axis: dict[Axis, list[Series]] = {}
        for one in batch:
            straight = ordered(one)
            by_axis.setdefault(axis_of(straight), []).append(straight)
        for axis, together in by_axis.items():
            yield Panel(tuple(together), axis)


def axis_of(series: Series) -> Axis:
    """Return the (segment, step) of each place."""
    segments = series.segments or (0,) * len(series.steps)
    return tuple(zip(segments, series.steps, strict=True))


def ordered(series: Series) -> Series:
    """Return the series in (segment, step) order, whatever order its columns came in."""
    axis = axis_of(series)
    if all(map(lt, axis, axis[1:])):
        return series
    order = sorted(range(len(axis)), key=axis.__getitem__)
    return replace(
        series,
        steps=_picked(series.steps, order),
        segments=_picked(series.segments, order),
        digests=_picked(series.digests, order),
        channels=_picked(series.channels, order),
        values={name: _picked(column, order) for name, column in series.values.items()},
        modality={view: _picked(column, order) for view, column in series.modality.items()},
    )


def _picked(column: Sequence[T], order: Sequence[int]) -> tuple[T, ...]:
    return tuple(column[i] for i in order) if column else ()
