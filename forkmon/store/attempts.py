"""The life of an attempt in the tables: begun, filled, promoted or dropped without a trace.

The writer holds the transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from forkmon.errors import StoreError
from forkmon.stats.row import StatRow
from forkmon.store.records import (
    STAT_COLUMNS,
    TRACE_COLUMNS,
    put_shape,
    put_stat,
    put_text,
    put_trace,
)
from forkmon.store.values import Candidate, Status, TensorKey, Trace

_STAT = (
    f"INSERT OR REPLACE INTO stat (checkpoint, tensor, form, {STAT_COLUMNS}) "  # noqa: S608
    f"VALUES ({', '.join('?' * 19)})"
)
_CHECKPOINT = (
    "INSERT INTO checkpoint (segment, generation, step, version, path, format, status, "  # noqa: S608
    "reason, bytes, mtime, epoch, device, digest, content_digest, seen_at, kernel) "
    f"VALUES ({', '.join('?' * 16)})"
)


class Attempts:
    """The tables an attempt touches, and the numbers of the tensors met so far."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tensors: dict[tuple[str, str, str], int] = {}
        self._forms: dict[tuple[str, tuple[int, ...]], int] = {}

    def forget(self) -> None:
        """Look numbers up again: a transaction that gave some was rolled back."""
        self._tensors.clear()
        self._forms.clear()

    def begin(self, candidate: Candidate, now: float, kernel: str) -> int:
        """Insert an attempt and return its id."""
        self._forget_failure(candidate)
        there = self._connection.execute(
            "SELECT id, status FROM checkpoint "
            "WHERE segment = ? AND step = ? AND version = ? AND status <> 'failed'",
            (candidate["segment"], candidate["step"], candidate["version"]),
        ).fetchone()
        if there is not None and there[1] != "attempt":
            raise StoreError(
                f"step {candidate['step']} version {candidate['version']} of segment "
                f"{candidate['segment']} is stored already; store it as the next version"
            )
        if there is not None:
            self.drop(there[0])
        return self._insert(candidate, "attempt", None, (now, kernel))

    def fail(self, candidate: Candidate, reason: str, now: float, kernel: str) -> int:
        """Insert a failure in place of an earlier one of the same path, and return its id."""
        self._forget_failure(candidate)
        return self._insert(candidate, "failed", reason, (now, kernel))

    def add(self, attempt: int, rows: Iterable[tuple[TensorKey, StatRow, bytes | None]]) -> None:
        """Insert or replace rows of an open attempt."""
        self._check_open(attempt)
        stats: list[tuple[object, ...]] = []
        kept: list[tuple[int, int, bytes]] = []
        gone: list[tuple[int, int]] = []
        for key, stat, body in rows:
            form = self._form(key)
            tensor = self._tensor(key, form, attempt)
            stats.append((attempt, tensor, form, *put_stat(stat)))
            if body is None:
                gone.append((attempt, tensor))
            else:
                kept.append((attempt, tensor, body))
        execute = self._connection.executemany
        execute(_STAT, stats)
        execute("INSERT OR REPLACE INTO codes VALUES (?, ?, ?)", kept)
        execute("DELETE FROM codes WHERE checkpoint = ? AND tensor = ?", gone)

    def add_traces(self, attempt: int, traces: Iterable[tuple[TensorKey, Trace]]) -> None:
        """Insert or replace traces of tensors whose rows were added."""
        self._check_open(attempt)
        self._connection.executemany(
            f"INSERT OR REPLACE INTO trace (checkpoint, tensor, {TRACE_COLUMNS}) "  # noqa: S608
            "VALUES (?, ?, ?, ?, ?, ?)",
            [
                (attempt, self._tensor(key, self._form(key), attempt), *put_trace(trace))
                for key, trace in traces
            ],
        )

    def promote(
        self,
        attempt: int,
        seconds: float,
        status: Status,
        reason: str | None,
        skipped: Sequence[tuple[str, str, str]],
    ) -> None:
        """Turn an open attempt into a checkpoint that stays."""
        self._check_open(attempt)
        execute = self._connection.execute
        self._connection.executemany(
            "INSERT INTO skipped VALUES (?, ?, ?, ?, ?)",
            [(attempt, i, *map(put_text, row)) for i, row in enumerate(skipped)],
        )
        execute(
            "UPDATE checkpoint SET status = ?, reason = ?, seconds = ?, skipped = ?, tensors = "
            "(SELECT count(*) FROM stat JOIN tensor ON tensor.id = stat.tensor "
            "WHERE stat.checkpoint = checkpoint.id AND kind = 'tensor') WHERE id = ?",
            (status, None if reason is None else put_text(reason), seconds, len(skipped), attempt),
        )
        execute(
            "UPDATE tensor SET form = stat.form FROM stat "
            "WHERE stat.checkpoint = ? AND stat.tensor = tensor.id AND stat.form <> tensor.form",
            (attempt,),
        )

    def drop(self, attempt: int) -> None:
        """Delete an attempt, its rows, and the tensors and the segment that only it brought in."""
        self._check_open(attempt)
        execute = self._connection.execute
        for table in ("stat", "codes", "trace"):
            execute(f"DELETE FROM {table} WHERE checkpoint = ?", (attempt,))  # noqa: S608
        execute(
            "DELETE FROM tensor WHERE born = ?1 AND NOT EXISTS (SELECT 1 FROM stat "
            "WHERE stat.checkpoint IN (SELECT id FROM checkpoint WHERE id > ?1) "
            "AND stat.tensor = tensor.id)",
            (attempt,),
        )
        self.forget()
        execute("DELETE FROM checkpoint WHERE id = ?", (attempt,))
        self._prune_segments()

    def _forget_failure(self, candidate: Candidate) -> None:
        self._connection.execute(
            "DELETE FROM checkpoint WHERE path = ? AND status = 'failed'",
            (put_text(candidate["path"]),),
        )

    def _insert(
        self,
        candidate: Candidate,
        status: Status,
        reason: str | None,
        made: tuple[float, str],
    ) -> int:
        c, execute = candidate, self._connection.execute
        execute(
            "INSERT OR IGNORE INTO segment VALUES (?, ?, ?)",
            (c["segment"], c["generation"], c["parent_segment"]),
        )
        cursor = execute(
            _CHECKPOINT,
            (
                c["segment"], c["generation"], c["step"], c["version"], put_text(c["path"]),
                c["format"], status, None if reason is None else put_text(reason), c["bytes"],
                c["mtime"], c["epoch"], c["device"], c["digest"], c["content_digest"], *made,
            ),
        )  # fmt: skip
        self._prune_segments()
        return _new_id(cursor)

    def _prune_segments(self) -> None:
        """Delete the segments that no checkpoint and no later segment needs."""
        self._connection.execute(
            "DELETE FROM segment WHERE id NOT IN (SELECT segment FROM checkpoint) "
            "AND id NOT IN (SELECT parent FROM segment WHERE parent IS NOT NULL)"
        )

    def _check_open(self, attempt: int) -> None:
        row = self._connection.execute(
            "SELECT 1 FROM checkpoint WHERE id = ? AND status = 'attempt'", (attempt,)
        ).fetchone()
        if row is None:
            raise StoreError(f"attempt {attempt} was finished or dropped; begin another")

    def _tensor(self, key: TensorKey, form: int, attempt: int) -> int:
        identity = (key.name, key.kind, key.role)
        number = self._tensors.get(identity)
        if number is None:
            number = self._number(
                "SELECT id FROM tensor WHERE name = ? AND kind = ? AND role = ?",
                "INSERT INTO tensor (name, kind, role, form, born) VALUES (?, ?, ?, ?, ?)",
                (put_text(key.name), key.kind, key.role),
                (form, attempt),
            )
            self._tensors[identity] = number
        return number

    def _form(self, key: TensorKey) -> int:
        identity = (key.dtype, key.shape)
        number = self._forms.get(identity)
        if number is None:
            number = self._number(
                "SELECT id FROM form WHERE dtype = ? AND shape = ?",
                "INSERT INTO form (dtype, shape) VALUES (?, ?)",
                (key.dtype, put_shape(key.shape)),
            )
            self._forms[identity] = number
        return number

    def _number(
        self, select: str, insert: str, key: tuple[object, ...], rest: tuple[object, ...] = ()
    ) -> int:
        row = self._connection.execute(select, key).fetchone()
        if row is not None:
            return int(row[0])
        return _new_id(self._connection.execute(insert, (*key, *rest)))


def _new_id(cursor: sqlite3.Cursor) -> int:
    number = cursor.lastrowid
    assert number is not None  # noqa: S101 (an INSERT gave it)
    return number
