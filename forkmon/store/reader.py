"""Reads a store: what the UI, `scan` and the detectors ask of it; never writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import nan
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from forkmon.errors import StoreError
from forkmon.stats.alert import Alert
from forkmon.stats.reduced import Reduced, decode
from forkmon.stats.row import StatRow
from forkmon.stats.series import Series
from forkmon.store import motion, streams
from forkmon.store import series as columns
from forkmon.store.lineage import timeline
from forkmon.store.reading import Source, open_copy, open_source, store_print
from forkmon.store.records import (
    CHECKPOINT_COLUMNS,
    STAT_COLUMNS,
    TRACE_COLUMNS,
    Row,
    get_alert,
    get_checkpoint,
    get_stat,
    get_tensor,
    get_text,
    get_trace,
    put_text,
    scalar_column,
)
from forkmon.store.schema import version_of
from forkmon.store.transaction import store_error
from forkmon.store.values import (
    CheckpointRow,
    IgnoredRow,
    Kind,
    QuarantineRow,
    RunInfo,
    SkippedRow,
    StoredVerdict,
    TensorEntry,
    Timeline,
    Trace,
    decode_verdict,
)

_TENSOR = "SELECT tensor.id, name, kind, role, dtype, shape FROM tensor "


class Reader:
    """One read-only connection; used by one thread at a time."""

    def __init__(self, source: Source, path: Path | None, *, owned: bool) -> None:
        self._source = source
        self._path = path
        self._owned = owned
        self._renewed = 0
        self._memory = streams.Memory()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the store at `path`, or a copy of it where it cannot be opened in place."""
        return cls(open_source(path), path, owned=True)

    @classmethod
    def over(cls, connection: sqlite3.Connection) -> Self:
        """Read through a writer's connection, which stays the writer's to close."""
        return cls(Source(connection), None, owned=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, unless it is a writer's."""
        if self._owned:
            self._source.close()

    @property
    def copied(self) -> bool:
        """Return whether this reads a copy, because the store could not be opened in place."""
        return self._source.copy is not None

    def version(self) -> int:
        """Return a number that changes whenever somebody stored something."""
        if self._path is not None and self.copied and store_print(self._path) != self._source.seen:
            renewed = open_copy(self._path)
            self._source.close()
            self._source = renewed
            self._renewed += 1
        ((seen,),) = self._rows("PRAGMA data_version")
        return int(seen) + self._source.connection.total_changes + (self._renewed << 32)

    def run(self) -> RunInfo:
        """Return what the store says about its run."""
        meta: dict[str, Any] = dict(self._rows("SELECT key, value FROM meta"))
        return RunInfo(
            path=get_text(meta["run"]),
            name=get_text(meta["name"]),
            created=float(meta["created"]),
            schema=version_of(self._source.connection),
            kernel=get_text(meta["kernel"]),
        )

    def timeline(self) -> Timeline:
        """Return the checkpoints on the way to the newest one, oldest first."""
        parents: dict[int, int | None] = dict(self._rows("SELECT id, parent FROM segment"))
        return timeline(self._checkpoints("status IN ('complete', 'partial')"), parents)

    def attempt(self) -> CheckpointRow | None:
        """Return the checkpoint being analysed, with the number of its tensors done so far."""
        open_ones = self._checkpoints("status = 'attempt'")
        if not open_ones:
            return None
        row = open_ones[-1]
        ((done,),) = self._rows(
            "SELECT count(*) FROM stat JOIN tensor ON tensor.id = tensor "
            "WHERE checkpoint = ? AND kind = 'tensor'",
            row.id,
        )
        return replace(row, tensors=done)

    def checkpoints(self) -> tuple[CheckpointRow, ...]:
        """Return all checkpoints but attempts, of all generations, segments and versions."""
        return self._checkpoints("status <> 'attempt'")

    def failed(self) -> tuple[CheckpointRow, ...]:
        """Return the checkpoints that could not be read."""
        return self._checkpoints("status = 'failed'")

    def tensors(
        self, checkpoint_id: int | None = None, kind: Kind | None = None
    ) -> list[TensorEntry]:
        """Return the tensors and blocks (or one kind) of a checkpoint, or all ever seen; by id."""
        sql, values = _TENSOR + "JOIN form ON form.id = tensor.form WHERE 1", list[object]()
        if checkpoint_id is not None:
            sql = _TENSOR + (
                "JOIN stat ON stat.tensor = tensor.id JOIN form ON form.id = stat.form "
                "WHERE stat.checkpoint = ?"
            )
            values.append(checkpoint_id)
        if kind is not None:
            sql += " AND kind = ?"
            values.append(kind)
        return [get_tensor(row) for row in self._rows(sql + " ORDER BY tensor.id", *values)]

    def find(self, name: str, kind: Kind, role: str = "model") -> TensorEntry | None:
        """Return a tensor or block by name, with its newest type and shape."""
        rows = self._rows(
            _TENSOR + "JOIN form ON form.id = form WHERE name = ? AND kind = ? AND role = ?",
            put_text(name),
            kind,
            role,
        )
        return get_tensor(rows[0]) if rows else None

    def stat(self, tensor_id: int, checkpoint_id: int) -> StatRow | None:
        """Return the numbers of one tensor at one checkpoint (an attempt's too)."""
        rows = self._rows(
            f"SELECT {STAT_COLUMNS} FROM stat WHERE checkpoint = ? AND tensor = ?",  # noqa: S608
            checkpoint_id,
            tensor_id,
        )
        return get_stat(rows[0]) if rows else None

    def stats(self, checkpoint_id: int) -> dict[int, StatRow]:
        """Return the numbers of all tensors and blocks at one checkpoint, by tensor id."""
        rows = self._rows(
            f"SELECT tensor, {STAT_COLUMNS} FROM stat WHERE checkpoint = ?",  # noqa: S608
            checkpoint_id,
        )
        return {row[0]: get_stat(row[1:]) for row in rows}

    def column(
        self, checkpoint_id: int, statistic: str, kind: Kind | None = None
    ) -> dict[int, float | None]:
        """Return one statistic of all tensors and blocks (or of one kind) at one checkpoint."""
        sql = f"SELECT tensor, {scalar_column(statistic)} FROM stat WHERE checkpoint = ?"  # noqa: S608
        if kind is None:
            return dict(self._rows(sql, checkpoint_id))
        sql += " AND tensor IN (SELECT id FROM tensor WHERE kind = ?)"
        return dict(self._rows(sql, checkpoint_id, kind))

    def sparks(
        self, tensor_ids: Sequence[int], statistic: str, checkpoint_ids: Sequence[int]
    ) -> dict[int, tuple[float | None, ...]]:
        """Return one statistic of some tensors at some checkpoints, in the order given."""
        return columns.sparks(self._query, tensor_ids, statistic, checkpoint_ids)

    def series(self, tensor_id: int, timeline: Timeline) -> Series:
        """Return all statistics, `n` and the quantiles (`q0.5`) of one tensor over a timeline."""
        rows = self._rows(_TENSOR + "JOIN form ON form.id = form WHERE tensor.id = ?", tensor_id)
        if not rows:
            raise StoreError(f"no tensor has the number {tensor_id} any more; look it up again")
        return columns.series(self._query, get_tensor(rows[0]), timeline)

    def all_series(
        self,
        timeline: Timeline,
        statistics: Sequence[str],
        tensors: Sequence[TensorEntry] | None = None,
        *,
        digests: bool = False,
        modality: bool = False,
        channels: bool = False,
    ) -> Iterator[Series]:
        """Yield the series of some rows, or of every tensor of every role, a few in memory.

        Beside the names of `series` there are `update`, `drift` and `return_jump` (see `Series`),
        None where the writer has not measured them.
        """
        if tensors is None:
            tensors = self.tensors(kind="tensor")
        extras = streams.Extras(digests, modality, channels)
        yield from streams.all_series(
            self._query, tensors, timeline, statistics, extras, self._memory
        )

    def reduced(self, tensor_id: int, checkpoint_id: int) -> Reduced | None:
        """Return the histogram of one tensor at one checkpoint; None if none is kept."""
        rows = self._rows(
            "SELECT body FROM codes WHERE checkpoint = ? AND tensor = ?", checkpoint_id, tensor_id
        )
        return decode(rows[0][0]) if rows else None

    def trace(self, tensor_id: int, checkpoint_id: int) -> Trace | None:
        """Return hash, sketch, channels and modality of one tensor at one checkpoint."""
        rows = self._rows(
            f"SELECT {TRACE_COLUMNS} FROM trace WHERE checkpoint = ? AND tensor = ?",  # noqa: S608
            checkpoint_id,
            tensor_id,
        )
        return get_trace(rows[0]) if rows else None

    def movement(self, tensor: TensorEntry, timeline: Timeline) -> Series:
        """Return how a tensor or block moved: estimates from sketches, over a timeline.

        A few reads where the writer measured it between the same checkpoints, else slow.
        `update` is |w - w_prev| / |w_prev|, `drift` |w - w_first| / |w_first|, `cosine` the cosine
        to the first step. A block's distances are its tensors' added in quadrature.
        """
        return motion.movement(self._query, self.tensors(kind="tensor"), tensor, timeline)

    def skipped(self, checkpoint_id: int) -> tuple[SkippedRow, ...]:
        """Return the tensors of a checkpoint that were not analysed, and why."""
        rows = self._rows(
            "SELECT name, dtype, reason FROM skipped WHERE checkpoint = ? ORDER BY position",
            checkpoint_id,
        )
        return tuple(SkippedRow(*map(get_text, row)) for row in rows)

    def alerts(self) -> tuple[Alert, ...]:
        """Return the alerts in the order they were stored."""
        rows = self._rows(
            "SELECT kind, severity, tensor, onset, step, message, evidence, segment "
            "FROM alert ORDER BY position"
        )
        return tuple(get_alert(row) for row in rows)

    def judged(self) -> str:
        """Return what told the history that the stored alerts are of; empty where nobody said."""
        rows = self._rows("SELECT value FROM meta WHERE key = 'judged'")
        return get_text(rows[0][0]) if rows else ""

    def verdict(self) -> StoredVerdict | None:
        """Return the verdict that was stored with the alerts; None where there is none yet."""
        rows = self._rows("SELECT value FROM meta WHERE key = 'verdict'")
        return decode_verdict(get_text(rows[0][0])) if rows else None

    def note(self, tensor: str) -> str:
        """Return what is to be said of a tensor: what it is a part of, say; mostly nothing."""
        rows = self._rows("SELECT text FROM note WHERE tensor = ?", put_text(tensor))
        return get_text(rows[0][0]) if rows else ""

    def ignored(self) -> tuple[IgnoredRow, ...]:
        """Return what in the run directory is no checkpoint, and why."""
        rows = self._rows("SELECT path, reason FROM ignored ORDER BY path")
        return tuple(IgnoredRow(get_text(path), get_text(reason)) for path, reason in rows)

    def metrics(self) -> dict[str, tuple[tuple[int, float], ...]]:
        """Return the trainer's own curves; what was not finite is NaN."""
        found: dict[str, list[tuple[int, float]]] = {}
        for name, step, value in self._rows(
            "SELECT name, step, value FROM metric ORDER BY name, position"
        ):
            found.setdefault(get_text(name), []).append((step, nan if value is None else value))
        return {name: tuple(points) for name, points in found.items()}

    def quarantined(self) -> tuple[QuarantineRow, ...]:
        """Return the tensors at which workers died, however often."""
        rows = self._rows(
            "SELECT path, digest, tensor, signal, deaths, reason FROM quarantine "
            "ORDER BY path, tensor"
        )
        return tuple(
            QuarantineRow(get_text(path), digest, get_text(tensor), signal, deaths, get_text(why))
            for path, digest, tensor, signal, deaths, why in rows
        )

    def _checkpoints(self, which: str) -> tuple[CheckpointRow, ...]:
        rows = self._rows(
            f"SELECT {CHECKPOINT_COLUMNS} FROM checkpoint WHERE {which} "  # noqa: S608
            "ORDER BY generation, segment, step, version, id"
        )
        return tuple(get_checkpoint(row) for row in rows)

    def _rows(self, sql: str, *values: object) -> list[Row]:
        return self._query(sql, values)

    def _query(self, sql: str, values: Sequence[object]) -> list[Row]:
        try:
            return self._source.connection.execute(sql, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise store_error(str(self._path or "in memory"), error) from error
