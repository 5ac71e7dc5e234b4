"""Tables that mirror something outside: alerts, ignored files, metrics, presence, quarantine.

Each is replaced only where it changed, so that an idle poll stores nothing and wakes nobody.
The callers hold the transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from forkmon.stats.alert import Alert
from forkmon.store.records import Row, get_text, put_alert, put_float, put_text
from forkmon.store.values import QuarantineRow

_ALERT = "kind, severity, tensor, onset, step, message, evidence, segment"


def replace_alerts(connection: sqlite3.Connection, alerts: Iterable[Alert]) -> None:
    """Make these the cached alerts, in this order."""
    wanted = [put_alert(alert) for alert in alerts]
    stored = connection.execute(f"SELECT {_ALERT} FROM alert ORDER BY position").fetchall()  # noqa: S608
    if stored == wanted:
        return
    connection.execute("DELETE FROM alert")
    connection.executemany(
        f"INSERT INTO alert ({_ALERT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        wanted,
    )


def set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Make this what the store as a whole says under a key."""
    connection.execute(
        "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) "
        "DO UPDATE SET value = ?2 WHERE value <> ?2",
        (key, put_text(value)),
    )


def set_ignored(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Make these (path, reason) pairs the ignored things."""
    _mirror(connection, "ignored", rows)


def set_notes(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Make these (tensor name, text) pairs the notes on tensors."""
    _mirror(connection, "note", rows)


def _mirror(connection: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    """Make a table of two texts hold these pairs; nothing is written where it does already."""
    wanted = {put_text(key): put_text(value) for key, value in rows}
    stored = dict(connection.execute(f"SELECT * FROM {table}").fetchall())  # noqa: S608 -- ours
    if stored == wanted:
        return
    connection.execute(f"DELETE FROM {table}")  # noqa: S608 -- a name of ours
    connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", wanted.items())  # noqa: S608


def set_metrics(
    connection: sqlite3.Connection, metrics: Mapping[str, Sequence[tuple[int, float]]]
) -> None:
    """Make these the trainer's curves; a curve that only grew has only its new points stored."""
    stored: dict[str | bytes, list[Row]] = {}
    for name, step, value in connection.execute(
        "SELECT name, step, value FROM metric ORDER BY name, position"
    ):
        stored.setdefault(name, []).append((step, value))
    for name, points in metrics.items():
        key = put_text(name)
        wanted: list[Row] = [(step, put_float(float(value))) for step, value in points]
        old = stored.pop(key, [])
        kept = len(old)
        if wanted[:kept] != old:
            kept = 0
            connection.execute("DELETE FROM metric WHERE name = ?", (key,))
        connection.executemany(
            "INSERT INTO metric VALUES (?, ?, ?, ?)",
            [(key, kept + i, *point) for i, point in enumerate(wanted[kept:])],
        )
    connection.executemany("DELETE FROM metric WHERE name = ?", [(key,) for key in stored])


def mark_present(connection: sqlite3.Connection, paths: Iterable[str | os.PathLike[str]]) -> None:
    """Remember which checkpoints' files are still on disk.

    Of several that were saved under one name only the newest can be: it overwrote the others.
    """
    there = {os.fspath(path) for path in paths}
    rows = [
        (number, get_text(path), bool(present))
        for number, path, present in connection.execute(
            "SELECT id, path, present FROM checkpoint ORDER BY mtime, id"
        )
    ]
    newest = {path: number for number, path, _ in rows}
    changed = [
        (int(on_disk), number)
        for number, path, present in rows
        if present != (on_disk := path in there and newest[path] == number)
    ]
    connection.executemany("UPDATE checkpoint SET present = ? WHERE id = ?", changed)


def quarantine(connection: sqlite3.Connection, row: QuarantineRow) -> None:
    """Remember a death at a tensor, in place of what was known of it."""
    connection.execute(
        "INSERT OR REPLACE INTO quarantine (path, tensor, digest, signal, deaths, reason) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            put_text(row.path),
            put_text(row.tensor),
            row.digest,
            row.signal,
            row.deaths,
            put_text(row.reason),
        ),
    )


def clear_quarantine(connection: sqlite3.Connection, path: str | os.PathLike[str]) -> None:
    """Forget the deaths at a checkpoint's tensors."""
    connection.execute("DELETE FROM quarantine WHERE path = ?", (put_text(path),))
