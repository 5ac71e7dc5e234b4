"""One transaction of the writer: all of it is stored, or nothing and the reason is said."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress

from forkmon.errors import StoreError
from forkmon.text import safe

_ADVICE = {
    sqlite3.SQLITE_FULL: "free some space, or choose another --store FILE",
    sqlite3.SQLITE_READONLY: "make it writable, or choose another --store FILE",
    sqlite3.SQLITE_CANTOPEN: "check that its directory exists and is writable",
    sqlite3.SQLITE_BUSY: "another process holds it; try again when that one is done",
    sqlite3.SQLITE_CORRUPT: "move the file away, and forkmon starts a new history",
    sqlite3.SQLITE_NOTADB: "move the file away, or choose another --store FILE",
}


@contextmanager
def transaction(connection: sqlite3.Connection, where: str) -> Generator[None]:
    """Commit what the body did, or roll all of it back; SQLite's errors become StoreError."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException as error:
        with suppress(sqlite3.Error):
            if connection.in_transaction:  # a full disk may have rolled it back already
                connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise store_error(where, error) from error
        raise


def store_error(where: str, error: sqlite3.Error) -> StoreError:
    """Return SQLite's complaint as one line that names the store and the next action."""
    advice = _ADVICE.get(primary_code(error), "check the disk it is on")
    return StoreError(f"store {safe(where)}: {safe(error)}; {advice}")


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's result code without its extension, 0 where the error carries none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
