"""The series of all tensors, a few at a time: what detectors see of a history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkmon.stats.modality import VIEWS, Modality, View
from forkmon.stats.modality import decode as decode_modality
from forkmon.stats.roles import qualified
from forkmon.stats.series import Series
from forkmon.store.neighbours import MOTION, Holds, holding
from forkmon.store.query import Query
from forkmon.store.records import Row, get_digest
from forkmon.store.series import Columns, columns_of, joined
from forkmon.store.values import TensorEntry, Timeline

if TYPE_CHECKING:
    from forkmon.stats.channels import Channels

_ROWS = 60_000
"""Tensors times steps held at once, numbers only; with channels and modality a tenth of them."""

REMEMBERED = 24_000
"""Traces (tensors times steps) kept decoded between two looks at a history: about 100 MB."""


@dataclass(frozen=True, slots=True)
class Extras:
    """What a series holds beside numbers, where asked for."""

    digests: bool = False
    modality: bool = False
    channels: bool = False

    @property
    def any(self) -> bool:
        """Return whether anything is asked for."""
        return self.digests or self.modality or self.channels


def all_series(
    query: Query,
    tensors: Sequence[TensorEntry],
    timeline: Timeline,
    statistics: Sequence[str],
    extras: Extras,
    memory: Memory,
) -> Iterator[Series]:
    """Yield the series of each tensor (in id order) that has a number on the timeline."""
    columns = columns_of([name for name in statistics if name not in MOTION])
    moved = [name for name in statistics if name in MOTION]
    holds = holding(query, timeline) if moved else {}
    ordered = sorted(tensors, key=lambda tensor: tensor.id)
    memory.begin(extras, [row.id for row in timeline])
    held = _batch(len(timeline), extras)
    for first in range(0, len(ordered), held):
        batch = ordered[first : first + held]
        ends = (batch[0].id, batch[-1].id)
        steps = [_Step(query, row.id, ends, columns, holds.get(row.id)) for row in timeline]
        for step in steps if extras.any else ():
            step.traces = memory.traces(step)
        for tensor in batch:
            if any(tensor.id in step.numbers for step in steps):
                yield _joined(tensor, timeline, columns, moved, extras, steps)


class _Step:
    """What is stored of a range of tensors at one checkpoint."""

    def __init__(
        self,
        query: Query,
        checkpoint: int,
        ends: tuple[int, int],
        columns: Columns,
        holds: Holds | None,
    ) -> None:
        self.key = (checkpoint, *ends)
        self.traces: Traces = {}
        self._query = query
        self.numbers = {row[0]: columns.pick(row[1:]) for row in self.rows(columns.sql, "stat")}
        self.motion: dict[int, Row] = {}
        if holds is not None:
            self.motion = {
                row[0]: tuple(v if ok else None for v, ok in zip(row[1:], holds, strict=True))
                for row in self.rows('"update", drift, return_jump', "motion")
            }

    def rows(self, sql: str, table: str) -> list[Row]:
        """Return (tensor, columns...) of a table."""
        return self._query(
            f"SELECT tensor, {sql} FROM {table} "  # noqa: S608 (checked names)
            "WHERE checkpoint = ? AND tensor BETWEEN ? AND ?",
            self.key,
        )


@dataclass(frozen=True, slots=True)
class _Beside:
    """What a trace adds to a row of numbers."""

    digest: int | None = None
    modality: Mapping[View, Modality] | None = None
    channels: Channels | None = None


_NOTHING = _Beside()

Traces = dict[int, _Beside]
"""By tensor."""


class Memory:
    """Decoded traces of checkpoints, which never change: a new one alone has to be read."""

    def __init__(self, rows: int = REMEMBERED) -> None:
        """Keep at most so many rows; what does not fit is read every time."""
        self._room = rows
        self._extras = Extras()
        self._kept: dict[tuple[int, int, int], Traces] = {}

    def begin(self, extras: Extras, checkpoints: Iterable[int]) -> None:
        """Forget what this look at a history does not need."""
        if extras != self._extras:
            self._kept.clear()
        self._extras = extras
        wanted = frozenset(checkpoints)
        self._kept = {key: found for key, found in self._kept.items() if key[0] in wanted}

    def traces(self, step: _Step) -> Traces:
        """Return the traces of a step."""
        found = self._kept.get(step.key)
        if found is None:
            rows = step.rows("hash, modality, channels", "trace")
            found = {row[0]: _beside(row[1:], self._extras) for row in rows}
            if len(found) + sum(map(len, self._kept.values())) <= self._room:
                self._kept[step.key] = found
        return found


def _batch(steps: int, extras: Extras) -> int:
    """Return how many tensors to hold at once; it changes rarely, so that memories stay of use."""
    most = (_ROWS // 10 if extras.any else _ROWS) // max(1, steps)
    return 1 << max(0, most.bit_length() - 1)


def _beside(row: Row, extras: Extras) -> _Beside:
    digest, modality, channels = row
    return _Beside(
        get_digest(digest) if extras.digests else None,
        decode_modality(modality) if extras.modality and modality is not None else None,
        _channels(channels) if extras.channels and channels is not None else None,
    )


def _channels(blob: bytes) -> Channels:
    from forkmon.stats.channels import decode  # numpy: only where channels are asked for

    return decode(blob)


def _joined(
    tensor: TensorEntry,
    timeline: Timeline,
    columns: Columns,
    moved: Sequence[str],
    extras: Extras,
    steps: Sequence[_Step],
) -> Series:
    series = joined(tensor, timeline, columns, [step.numbers.get(tensor.id) for step in steps])
    motion = [step.motion.get(tensor.id, (None,) * len(MOTION)) for step in steps]
    values = dict(series.values)
    for name in moved:
        at = MOTION.index(name)
        values[name] = tuple(row[at] for row in motion)
    beside = [step.traces.get(tensor.id, _NOTHING) for step in steps]
    seen = {view for one in beside if one.modality for view in one.modality}
    return replace(
        series,
        tensor=qualified(tensor.name, tensor.role),
        values=values,
        digests=tuple(one.digest for one in beside) if extras.digests else (),
        channels=tuple(one.channels for one in beside) if extras.channels else (),
        modality={
            view: tuple(one.modality.get(view) if one.modality else None for one in beside)
            for view in VIEWS
            if view in seen
        },
    )
