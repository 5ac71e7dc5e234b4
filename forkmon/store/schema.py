"""The tables of a store and the numbered migrations that lead to them.

A version that was ever released stays as it is: a change is a new function at the end of
`MIGRATIONS`, and `tests/store` keeps the DDL of every version.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from forkmon.errors import StoreError, StoreNewerError
from forkmon.store.transaction import transaction
from forkmon.text import safe

APPLICATION_ID = 0x464B4D4E
"""`FKMN`, at byte 68 of the file: tells a forkmon store from any other SQLite file."""

PAGE_BYTES = 8192
"""Three reduced codes of a large tensor fit a page; at 4096 one would, and waste the rest."""

Migration = Callable[[sqlite3.Connection], None]

_VERSION_1 = (
    """CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE segment (
        id INTEGER PRIMARY KEY,
        generation INTEGER NOT NULL,
        parent INTEGER
    )""",
    """CREATE TABLE checkpoint (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        segment INTEGER NOT NULL REFERENCES segment (id),
        generation INTEGER NOT NULL,
        step INTEGER NOT NULL,
        version INTEGER NOT NULL,
        path NOT NULL,
        format TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('attempt', 'complete', 'partial', 'failed')),
        reason,
        bytes INTEGER NOT NULL,
        seconds REAL NOT NULL DEFAULT 0,
        seen_at REAL NOT NULL,
        mtime REAL NOT NULL,
        epoch REAL,
        device TEXT NOT NULL,
        skipped INTEGER NOT NULL DEFAULT 0,
        tensors INTEGER NOT NULL DEFAULT 0,
        present INTEGER NOT NULL DEFAULT 1,
        digest TEXT NOT NULL,
        content_digest TEXT NOT NULL,
        kernel TEXT NOT NULL
    )""",
    # What failed has no numbers, hence no identity: it is known by its path alone.
    """CREATE UNIQUE INDEX checkpoint_identity ON checkpoint (segment, step, version)
        WHERE status <> 'failed'""",
    """CREATE UNIQUE INDEX checkpoint_failed ON checkpoint (path) WHERE status = 'failed'""",
    """CREATE TABLE form (
        id INTEGER PRIMARY KEY,
        dtype TEXT NOT NULL,
        shape TEXT NOT NULL,
        UNIQUE (dtype, shape)
    )""",
    """CREATE TABLE tensor (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('tensor', 'block')),
        role TEXT NOT NULL,
        form INTEGER NOT NULL REFERENCES form (id),
        born INTEGER NOT NULL,
        UNIQUE (name, kind, role)
    )""",
    """CREATE INDEX tensor_kind ON tensor (kind)""",
    # Checkpoint first: a new checkpoint is appended at the end of the tree instead of touching
    # one page a tensor, and everything at one step lies together.
    """CREATE TABLE stat (
        checkpoint INTEGER NOT NULL REFERENCES checkpoint (id),
        tensor INTEGER NOT NULL REFERENCES tensor (id),
        form INTEGER NOT NULL REFERENCES form (id),
        n INTEGER NOT NULL,
        mean REAL,
        std REAL,
        skew REAL,
        kurtosis REAL,
        "min" REAL,
        "max" REAL,
        l1 REAL,
        l2 REAL,
        zeros INTEGER NOT NULL,
        nan INTEGER NOT NULL,
        inf INTEGER NOT NULL,
        quantiles BLOB NOT NULL,
        "distinct" INTEGER,
        modes INTEGER,
        preview INTEGER NOT NULL,
        PRIMARY KEY (checkpoint, tensor)
    ) WITHOUT ROWID""",
    # With a row id: a tree without one moves rows of more than a quarter page to overflow pages.
    """CREATE TABLE codes (
        checkpoint INTEGER NOT NULL REFERENCES checkpoint (id),
        tensor INTEGER NOT NULL REFERENCES tensor (id),
        body BLOB NOT NULL,
        PRIMARY KEY (checkpoint, tensor)
    )""",
    """CREATE TABLE skipped (
        checkpoint INTEGER NOT NULL REFERENCES checkpoint (id),
        position INTEGER NOT NULL,
        name NOT NULL,
        dtype NOT NULL,
        reason NOT NULL,
        PRIMARY KEY (checkpoint, position)
    ) WITHOUT ROWID""",
    """CREATE TABLE alert (
        position INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        severity INTEGER NOT NULL,
        tensor,
        onset INTEGER NOT NULL,
        step INTEGER NOT NULL,
        message NOT NULL,
        evidence TEXT NOT NULL,
        segment INTEGER NOT NULL
    )""",
    """CREATE TABLE ignored (
        path PRIMARY KEY,
        reason NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE metric (
        name NOT NULL,
        position INTEGER NOT NULL,
        step INTEGER NOT NULL,
        value REAL,
        PRIMARY KEY (name, position)
    ) WITHOUT ROWID""",
    """CREATE TABLE quarantine (
        path NOT NULL,
        tensor NOT NULL,
        digest TEXT NOT NULL,
        signal TEXT NOT NULL,
        deaths INTEGER NOT NULL,
        reason NOT NULL,
        PRIMARY KEY (path, tensor)
    ) WITHOUT ROWID""",
)


def first_tables(connection: sqlite3.Connection) -> None:
    """Create the tables of schema 1."""
    for statement in _VERSION_1:
        connection.execute(statement)


_VERSION_2 = (
    # Apart from `stat`, which a tree is drawn from, and from `codes`, which are thinned: the
    # distance between any two steps is kept for ever.
    """CREATE TABLE trace (
        checkpoint INTEGER NOT NULL REFERENCES checkpoint (id),
        tensor INTEGER NOT NULL REFERENCES tensor (id),
        hash INTEGER,
        sketch BLOB,
        channels BLOB,
        PRIMARY KEY (checkpoint, tensor)
    )""",
    """CREATE TABLE note (
        tensor PRIMARY KEY,
        text NOT NULL
    ) WITHOUT ROWID""",
)


def traces(connection: sqlite3.Connection) -> None:
    """Add content hashes, sketches and channels, and notes on tensors (schema 2)."""
    for statement in _VERSION_2:
        connection.execute(statement)


_VERSION_3 = (
    """ALTER TABLE trace ADD COLUMN modality BLOB""",
    # What follows from sketches, kept so that a history of them need not be read again. It holds
    # for these neighbours only: others, when a checkpoint comes between, and it is measured anew.
    """CREATE TABLE neighbour (
        checkpoint INTEGER PRIMARY KEY REFERENCES checkpoint (id),
        "before" INTEGER,
        "after" INTEGER,
        "first" INTEGER
    )""",
    """CREATE TABLE motion (
        checkpoint INTEGER NOT NULL REFERENCES checkpoint (id),
        tensor INTEGER NOT NULL REFERENCES tensor (id),
        "update" REAL,
        drift REAL,
        return_jump REAL,
        PRIMARY KEY (checkpoint, tensor)
    ) WITHOUT ROWID""",
)


def modality_and_motion(connection: sqlite3.Connection) -> None:
    """Add the peaks of distributions, and how far tensors moved between steps (schema 3)."""
    for statement in _VERSION_3:
        connection.execute(statement)


MIGRATIONS: tuple[Migration, ...] = (first_tables, traces, modality_and_motion)
"""Function number i leads from schema i to schema i + 1."""


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema of a store, 0 for an empty file; StoreError if it is something else."""
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if mark == 0 and tables == 0:
        return 0
    if mark != APPLICATION_ID:
        raise StoreError("it is an SQLite file of another program; choose another --store FILE")
    (version,) = connection.execute("SELECT max(version) FROM migration").fetchone()
    return int(version)


def check_version(connection: sqlite3.Connection) -> int:
    """Return the schema of a store that this forkmon can read; raise the reason why it cannot."""
    version = version_of(connection)
    if version > len(MIGRATIONS):
        raise StoreNewerError(
            f"a newer forkmon wrote it (schema {version}, this one knows {len(MIGRATIONS)}); "
            "upgrade forkmon, or choose another --store FILE"
        )
    return version


def migrate(connection: sqlite3.Connection, where: str) -> None:
    """Bring a store to the newest schema, each step in one transaction with its own record."""
    for number in range(check_version(connection), len(MIGRATIONS)):
        migration = MIGRATIONS[number]
        with transaction(connection, where):
            if number == 0:
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(
                    "CREATE TABLE migration "
                    "(version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied REAL NOT NULL)"
                )
            migration(connection)
            connection.execute(
                "INSERT INTO migration VALUES (?, ?, ?)",
                (number + 1, safe(migration.__name__), time.time()),
            )
