"""Opens a store for its writer: journal mode by file system, migrations, damaged files aside."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forkmon.errors import StoreError
from forkmon.runs.filesystem import kind
from forkmon.store.schema import APPLICATION_ID, PAGE_BYTES, check_version, migrate
from forkmon.store.transaction import primary_code, store_error
from forkmon.text import safe

JournalMode = Literal["wal", "truncate", "memory"]

BUSY_SECONDS = 10.0
_LOG_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection that may write, how it journals, and what a person should know about it."""

    connection: sqlite3.Connection
    mode: JournalMode
    note: str = ""


def open_memory() -> Opened:
    """Return an empty store in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    migrate(connection, "in memory")
    return Opened(connection, "memory")


def open_file(path: Path) -> Opened:
    """Open or create the store at `path`; what is damaged is moved aside, never deleted."""
    try:
        return _open(path)
    except OSError as error:
        raise StoreError(
            f"store {safe(path)}: {error.strerror}; choose another --store FILE"
        ) from error
    except sqlite3.Error as error:
        if primary_code(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise store_error(str(path), error) from error
        if not _was_ours(path):
            raise store_error(str(path), error) from error
        aside = _move_aside(path)
        opened = _open(path)
        note = f"the store was damaged ({safe(error)}); kept as {safe(aside.name)}, began anew"
        return Opened(opened.connection, opened.mode, note)


def _open(path: Path) -> Opened:
    fresh = not path.exists() or path.stat().st_size == 0
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        if fresh:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        check_version(connection)  # before anything is written to a file that may not be ours
        mode, note = _set_journal(connection, path.parent, probe=fresh)
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        connection.execute("PRAGMA temp_store = MEMORY")
        migrate(connection, str(path))
    except StoreError as error:
        connection.close()
        if isinstance(error.__cause__, sqlite3.Error):
            raise error.__cause__ from None
        raise type(error)(f"store {safe(path)}: {error}") from error
    except BaseException:
        connection.close()
        raise
    return Opened(connection, mode, note)


def _set_journal(
    connection: sqlite3.Connection, directory: Path, *, probe: bool
) -> tuple[JournalMode, str]:
    place = kind(directory)
    why = f"on {safe(place.name)}" if place.network else ""
    if not why and probe and not _log_works(directory):
        why = f"on {safe(place.name)}, which refuses a write-ahead log"
    if not why and _journal_mode(connection, "WAL") == "wal":
        # Each promotion syncs the log; without it a crash of the machine could only lose the
        # newest transactions, never damage the file.
        connection.execute("PRAGMA synchronous = NORMAL")
        return "wal", ""
    mode = _journal_mode(connection, "TRUNCATE")
    connection.execute("PRAGMA synchronous = FULL")
    return "truncate", f"store {why or 'refuses a write-ahead log'}: {mode} journal"


def _journal_mode(connection: sqlite3.Connection, wanted: str) -> str:
    try:
        return str(connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0])
    except sqlite3.OperationalError:  # in use, or the file system refuses
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _log_works(directory: Path) -> bool:
    """Try a throw-away store: some file systems accept the mode and fail at the first write."""
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=directory) as scratch:
        try:
            with closing(sqlite3.connect(Path(scratch) / "probe.db")) as connection:
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
                connection.execute("CREATE TABLE probe (x)")
        except sqlite3.Error:
            return False
    return str(mode) == "wal"


def _was_ours(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(72)
    return header[68:72] == APPLICATION_ID.to_bytes(4, "big")


def _move_aside(path: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.damaged-{stamp}-{os.getpid()}")
    for suffix in ("", "-wal", "-shm", "-journal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(aside.with_name(aside.name + suffix))
    return aside
