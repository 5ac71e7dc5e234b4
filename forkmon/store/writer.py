"""The one writer of a store: attempts, their promotion, and what mirrors the run.

Whatever kills the process, the store holds whole checkpoints and attempts that can be dropped.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, Unpack

from forkmon.errors import StoreError
from forkmon.stats.alert import Alert
from forkmon.stats.reduced import Reduced
from forkmon.stats.row import StatRow
from forkmon.store import caches, motion_cache, retention
from forkmon.store.attempts import Attempts
from forkmon.store.beacon import Beacon, beacon_path
from forkmon.store.lock import Lock, acquire
from forkmon.store.opening import JournalMode, Opened, open_file, open_memory
from forkmon.store.reader import Reader
from forkmon.store.reading import open_source
from forkmon.store.records import CHECKPOINT_COLUMNS, Row, get_checkpoint
from forkmon.store.schema import migrate
from forkmon.store.transaction import store_error, transaction
from forkmon.store.values import (
    Candidate,
    KnownCheckpoint,
    LeftAttempt,
    QuarantineRow,
    StoredVerdict,
    TensorKey,
    Trace,
)

CAP_BYTES = 2 * 10**9
"""Beyond this a store gives up old histograms."""


class Writer:
    """The only connection that writes; used by one thread at a time."""

    def __init__(self, opened: Opened, path: Path | None, lock: Lock | None) -> None:
        self.connection = opened.connection
        self.path = path
        self.journal: JournalMode = opened.mode
        self.note = opened.note
        """What a person should know about how this store was opened; empty when all is well."""
        self.clock: Callable[[], float] = time.time
        self.cap_bytes = CAP_BYTES
        self._lock = lock
        self._beacon = Beacon(None if path is None else beacon_path(path))
        self._attempts = Attempts(opened.connection)

    @classmethod
    def open(cls, path: Path | None, *, run: Path, name: str, kernel: str) -> Self:
        """Open or create the store at `path` as its writer; in memory where that is None.

        StoreLockedError names the process that already writes it.
        """
        if path is None:
            writer = cls(open_memory(), None, None)
        else:
            lock = acquire(path)
            try:
                writer = cls(open_file(path), path, lock)
            except BaseException:
                lock.release()
                raise
        return writer._introduced(run, name, kernel)

    @classmethod
    def copy_of(cls, path: Path, *, run: Path, name: str, kernel: str) -> Self:
        """Return a writer in memory that knows all a store holds, attempts excepted."""
        source = open_source(path)
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        try:
            source.connection.backup(connection)
            migrate(connection, str(path))
        except sqlite3.Error as error:
            connection.close()
            raise store_error(str(path), error) from error
        finally:
            source.close()
        writer = cls(Opened(connection, "memory"), None, None)
        for left in writer.attempts_left():
            writer.drop(left.row.id)
        return writer._introduced(run, name, kernel)

    def _introduced(self, run: Path, name: str, kernel: str) -> Self:
        try:
            with self._writing():
                self.connection.execute(
                    "INSERT OR IGNORE INTO meta VALUES ('created', ?)", (self.clock(),)
                )
                for key, value in (("run", os.fspath(run)), ("name", name), ("kernel", kernel)):
                    caches.set_meta(self.connection, key, value)
        except BaseException:
            self.close()
            raise
        self._kernel = kernel
        return self

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
        """Fold the log into the file, close, and let the next writer in."""
        if self._lock is not None:
            with suppress(StoreError):
                if not self.attempts_left():
                    self._beacon.close()
        self._fold("TRUNCATE")
        self.connection.close()
        if self._lock is not None:
            self._lock.release()

    def beat(self) -> None:
        """Tell other hosts that the writer lives; call it at least once a minute."""
        if self._lock is not None:
            self._lock.beat()

    def reader(self) -> Reader:
        """Return a reader over this writer's connection."""
        return Reader.over(self.connection)

    def known(self) -> list[KnownCheckpoint]:
        """Return what need not be read again: complete, partial and failed checkpoints."""
        rows = self._rows(
            f"SELECT {CHECKPOINT_COLUMNS}, digest, content_digest, "  # noqa: S608
            "(SELECT parent FROM segment WHERE segment.id = checkpoint.segment) FROM checkpoint "
            "WHERE status <> 'attempt' ORDER BY generation, segment, step, version, id"
        )
        return [KnownCheckpoint(get_checkpoint(row[:-3]), *row[-3:]) for row in rows]

    def attempts_left(self) -> list[LeftAttempt]:
        """Return the attempts that nobody finished, and where the last one's worker died."""
        seen = self._beacon.seen()
        blamed = {} if seen is None else {seen[0]: seen[1]}
        rows = self._rows(
            f"SELECT {CHECKPOINT_COLUMNS}, digest FROM checkpoint "  # noqa: S608
            "WHERE status = 'attempt' ORDER BY id"
        )
        return [LeftAttempt(get_checkpoint(row[:-1]), row[-1], blamed.get(row[0])) for row in rows]

    def begin(self, **candidate: Unpack[Candidate]) -> int:
        """Store an attempt at a checkpoint and return its id.

        It takes the place of a failure of the same path and of an attempt left at the same
        (segment, step, version); a finished checkpoint there is an error.
        """
        with self._writing():
            return self._attempts.begin(candidate, self.clock(), self._kernel)

    def working_on(self, attempt: int, tensor_name: str) -> None:
        """Leave word of the tensor that would be to blame if the process died now."""
        self._beacon.show(attempt, tensor_name)

    def add(
        self,
        attempt: int,
        rows: Iterable[tuple[TensorKey, StatRow, Reduced | None]],
        traces: Iterable[tuple[TensorKey, Trace]] = (),
    ) -> None:
        """Store some tensors and blocks of an attempt, in place of what was stored of them.

        One transaction: better a few dozen rows at a time than one by one.
        """
        encoded = [
            (key, stat, None if reduced is None else reduced.encode())
            for key, stat, reduced in rows
        ]
        with self._writing():
            self._attempts.add(attempt, encoded)
            self._attempts.add_traces(attempt, traces)

    def promote(
        self,
        attempt: int,
        *,
        seconds: float,
        status: Literal["complete", "partial"] = "complete",
        reason: str | None = None,
        skipped: Sequence[tuple[str, str, str]] = (),
    ) -> None:
        """Make an attempt a checkpoint, for ever, in one transaction; then keep to the cap."""
        with self._writing():
            self._attempts.promote(attempt, seconds, status, reason, skipped)
        self._beacon.close()
        self._fold("PASSIVE")
        with suppress(StoreError):  # the promotion is stored already; the next one thins
            self.thin()

    def drop(self, attempt: int) -> None:
        """Remove everything of an attempt, also what only it brought in."""
        with self._writing():
            self._attempts.drop(attempt)

    def fail(self, *, reason: str, **candidate: Unpack[Candidate]) -> int:
        """Store that a checkpoint cannot be used, in place of an earlier failure of its path."""
        with self._writing():
            return self._attempts.fail(candidate, reason, self.clock(), self._kernel)

    def measure_motion(self, *, settled: bool = True) -> int:
        """Measure how far tensors moved where that is not known; return how many checkpoints.

        `settled`: no older checkpoint is still to come, so that the first is known.
        """
        timeline = self.reader().timeline()
        if not motion_cache.due(self.connection, timeline, settled=settled):
            return 0
        with self._writing():
            return motion_cache.refresh(self.connection, timeline, settled=settled)

    def replace_alerts(self, alerts: Iterable[Alert], of: str = "") -> None:
        """Make these the cached alerts, in this order; `of` tells the history that they are of."""
        with self._writing():
            caches.replace_alerts(self.connection, alerts)
            caches.set_meta(self.connection, "judged", of)

    def set_verdict(self, verdict: StoredVerdict) -> None:
        """Keep what the run as a whole is called, for whoever only reads."""
        with self._writing():
            caches.set_meta(self.connection, "verdict", verdict.encode())

    def set_ignored(self, rows: Iterable[tuple[str | os.PathLike[str], str]]) -> None:
        """Make these (path, reason) pairs the ignored things of the run directory."""
        with self._writing():
            caches.set_ignored(self.connection, rows)

    def set_notes(self, notes: Iterable[tuple[str, str]]) -> None:
        """Make these (tensor name, text) pairs what is said of tensors: parts, ties, layouts."""
        with self._writing():
            caches.set_notes(self.connection, notes)

    def set_metrics(self, metrics: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Make these the trainer's own curves."""
        with self._writing():
            caches.set_metrics(self.connection, metrics)

    def mark_present(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        """Remember which checkpoints' files are still on disk."""
        with self._writing():
            caches.mark_present(self.connection, paths)

    def quarantine(self, row: QuarantineRow) -> None:
        """Remember a death at a tensor, in place of what was known of it."""
        with self._writing():
            caches.quarantine(self.connection, row)

    def quarantined(self) -> tuple[QuarantineRow, ...]:
        """Return the tensors at which workers died, however often."""
        return self.reader().quarantined()

    def clear_quarantine(self, path: str | os.PathLike[str]) -> None:
        """Forget the deaths at a checkpoint's tensors."""
        with self._writing():
            caches.clear_quarantine(self.connection, path)

    def thin(self, cap_bytes: int | None = None) -> int:
        """Give up old histograms of a store beyond its cap; return how many checkpoints lost them.

        What is left afterwards may still be beyond the cap: moments are kept for ever.
        """
        cap = self.cap_bytes if cap_bytes is None else cap_bytes
        if retention.used_bytes(self.connection) <= cap:
            return 0
        reader = self.reader()
        stored = [row for row in reader.checkpoints() if row.status != "failed"]
        thinned = 0
        for number in retention.dispensable(stored, reader.alerts()):
            if retention.enough(self.connection, cap):
                break
            with self._writing():
                gone = self.connection.execute("DELETE FROM codes WHERE checkpoint = ?", (number,))
                thinned += gone.rowcount > 0
        return thinned

    def _rows(self, sql: str) -> list[Row]:
        try:
            return self.connection.execute(sql).fetchall()
        except sqlite3.Error as error:
            raise store_error(str(self.path or "in memory"), error) from error

    def _fold(self, how: str) -> None:
        """Sync the log and move it into the file; what is committed is safe in the log anyway."""
        if self.journal == "wal":
            with suppress(sqlite3.Error):
                self.connection.execute(f"PRAGMA wal_checkpoint({how})")

    @contextmanager
    def _writing(self) -> Generator[None]:
        try:
            with transaction(self.connection, str(self.path or "in memory")):
                yield
        except BaseException:
            self._attempts.forget()
            raise
