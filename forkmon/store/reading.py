"""Opens a store for reading only: in place, or a copy of it where that cannot be done."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkmon.errors import StoreError
from forkmon.store.schema import MIGRATIONS, check_version, migrate
from forkmon.store.transaction import primary_code, store_error
from forkmon.text import safe

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

BUSY_SECONDS = 1.0
_PARTS = ("", "-wal", "-journal")
_TRIES = 5

Print = tuple[tuple[int, int], ...]
"""Sizes and times of a store's files."""


@dataclass(frozen=True, slots=True)
class Source:
    """A read-only connection, and the temporary directory of the copy it reads (if it is one)."""

    connection: sqlite3.Connection
    copy: TemporaryDirectory[str] | None = None
    seen: Print = ()
    """The store's files when they were copied."""

    def close(self) -> None:
        """Close the connection and delete the copy."""
        self.connection.close()
        if self.copy is not None:
            self.copy.cleanup()


def open_source(path: Path) -> Source:
    """Open a store without ever writing to it; StoreError says why where it cannot be."""
    if not path.is_file():
        raise StoreError(f"no store at {safe(path)}; run forkmon on the run's directory first")
    try:
        connection = _in_place(path)
    except sqlite3.Error as error:
        if primary_code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_BUSY):
            raise store_error(str(path), error) from error
        return open_copy(path)
    return open_copy(path) if connection is None else Source(connection)


def _in_place(path: Path) -> sqlite3.Connection | None:
    """Return a connection to a store of today's schema; None if it is older."""
    name = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"file:{name}?mode=ro",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA query_only = ON")
        version = _checked(connection, path)
    except BaseException:
        connection.close()
        raise
    if version == len(MIGRATIONS):
        return connection
    connection.close()
    return None


def _checked(connection: sqlite3.Connection, path: Path) -> int:
    try:
        version = check_version(connection)
    except StoreError as error:
        raise type(error)(f"store {safe(path)}: {error}") from error
    if version == 0:
        raise StoreError(f"store {safe(path)} is empty yet; try again in a moment")
    return version


def open_copy(path: Path) -> Source:
    """Copy a store with its log to a temporary directory and open the copy, migrated there."""
    from tempfile import TemporaryDirectory

    failure: sqlite3.Error | OSError | None = None
    for _ in range(_TRIES):
        directory = TemporaryDirectory(prefix="forkmon-store-")
        try:
            before = store_print(path)
            copied = _copied(path, Path(directory.name))
            if before == store_print(path):
                return Source(_open_copied(copied, path), directory, before)
        except (sqlite3.Error, OSError) as error:
            failure = error
        except BaseException:
            directory.cleanup()
            raise
        directory.cleanup()
    if isinstance(failure, sqlite3.Error):
        raise store_error(str(path), failure) from failure
    why = failure.strerror if failure else "it changes faster than it can be copied"
    raise StoreError(f"store {safe(path)}: {why}; try again, or copy it somewhere writable")


def _copied(path: Path, directory: Path) -> Path:
    from shutil import copyfile

    for suffix in _PARTS:
        with suppress(FileNotFoundError):
            copyfile(path.with_name(path.name + suffix), directory / f"copy.db{suffix}")
    return directory / "copy.db"


def _open_copied(copied: Path, path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(copied, isolation_level=None, check_same_thread=False)
    try:
        if _checked(connection, path) < len(MIGRATIONS):
            migrate(connection, str(path))
        connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def store_print(path: Path) -> Print:
    """Return what changes when a store is written to."""
    return tuple(_print(path.with_name(path.name + suffix)) for suffix in _PARTS)


def _print(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
