"""Between values and SQLite's columns; every round trip gives the same value back.

Text of any origin is stored: what is no UTF-8 (a lone surrogate in a tensor name, a file name of
raw bytes) becomes a BLOB. Floats that are not finite become NULL.
"""

from __future__ import annotations

import json
import os
import struct
from math import isfinite, nan
from typing import Any, cast

from forkmon.stats.alert import Alert, Severity
from forkmon.stats.row import QUANTILES, STATISTICS, StatRow
from forkmon.store.values import CheckpointRow, TensorEntry, Trace

Row = tuple[Any, ...]
"""One row as sqlite3 returns it."""

_LEVELS = struct.Struct(f"<{len(QUANTILES)}d")

CHECKPOINT_COLUMNS = (
    "id, segment, generation, step, version, path, format, status, reason, bytes, seconds, "
    "seen_at, mtime, epoch, device, skipped, tensors, present"
)
STAT_COLUMNS = (
    'n, mean, std, skew, kurtosis, "min", "max", l1, l2, zeros, nan, inf, quantiles, "distinct", '
    "modes, preview"
)
TRACE_COLUMNS = "hash, sketch, channels, modality"
QUANTILE_NAMES: tuple[str, ...] = tuple(f"q{level}" for level in QUANTILES)
"""The names of the quantile columns of a Series: `q0.001` to `q0.999`."""

_QUANTILES_AT = 12
_SCALARS = frozenset({*STATISTICS, "n", "distinct", "modes"})


def put_text(text: str | os.PathLike[str]) -> str | bytes:
    """Return text as a column takes it: TEXT, or a BLOB where it is no UTF-8."""
    text = os.fspath(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def get_text(column: str | bytes) -> str:
    """Return what `put_text` stored."""
    return column if isinstance(column, str) else column.decode("utf-8", "surrogatepass")


def put_float(value: float | None) -> float | None:
    """Return the number, or None where there is none to store."""
    return value if value is not None and isfinite(value) else None


def put_quantiles(values: tuple[float | None, ...]) -> bytes:
    """Return the quantiles as a fixed row of doubles, NaN where undefined."""
    finite = (put_float(value) for value in values)
    return _LEVELS.pack(*(nan if value is None else value for value in finite))


def get_quantiles(blob: bytes) -> tuple[float | None, ...]:
    """Return what `put_quantiles` stored."""
    return tuple(put_float(value) for value in _LEVELS.unpack(blob))


def put_stat(row: StatRow) -> Row:
    """Return the columns `STAT_COLUMNS` of one row of statistics."""
    floats = (row.mean, row.std, row.skew, row.kurtosis, row.min, row.max, row.l1, row.l2)
    return (
        row.n, *map(put_float, floats), row.zeros, row.nan, row.inf,
        put_quantiles(row.quantiles), row.distinct, row.modes, int(row.preview),
    )  # fmt: skip


def get_stat(columns: Row) -> StatRow:
    """Return the row of statistics that `put_stat` stored."""
    quantiles, distinct, modes, preview = columns[_QUANTILES_AT:]
    fields: Row = (
        *columns[:_QUANTILES_AT], get_quantiles(quantiles), distinct, modes, bool(preview)
    )  # fmt: skip
    return StatRow(*fields)


def scalar_column(statistic: str) -> str:
    """Return the quoted column of a scalar statistic; ValueError for a name that is none."""
    if statistic not in _SCALARS:
        raise ValueError(f"no statistic is called {statistic!r}")
    return f'"{statistic}"'


def get_checkpoint(columns: Row) -> CheckpointRow:
    """Return a checkpoint from the columns `CHECKPOINT_COLUMNS`."""
    row = list(columns)
    row[5] = get_text(row[5])
    row[8] = None if row[8] is None else get_text(row[8])
    row[17] = bool(row[17])
    return CheckpointRow(*row)


def get_tensor(columns: Row) -> TensorEntry:
    """Return a tensor from the columns id, name, kind, role, dtype, shape."""
    number, name, kind, role, dtype, shape = columns
    return TensorEntry(number, get_text(name), kind, role, dtype, get_shape(shape))


def put_shape(shape: tuple[int, ...]) -> str:
    """Return a shape as text: `512,128`, empty for a scalar."""
    return ",".join(map(str, shape))


def get_shape(text: str) -> tuple[int, ...]:
    """Return what `put_shape` stored."""
    return tuple(map(int, text.split(","))) if text else ()


def put_alert(alert: Alert) -> Row:
    """Return the columns of one alert, without its position."""
    evidence = {
        name: put_float(value) if isinstance(value, float) else value
        for name, value in alert.evidence.items()
    }
    tensor = None if alert.tensor is None else put_text(alert.tensor)
    return (
        alert.kind, int(alert.severity), tensor, alert.onset, alert.step,
        put_text(alert.message), json.dumps(evidence), alert.segment,
    )  # fmt: skip


def get_alert(columns: Row) -> Alert:
    """Return the alert that `put_alert` stored."""
    kind, severity, tensor, onset, step, message, evidence, segment = columns
    return Alert(
        kind,
        Severity(severity),
        None if tensor is None else get_text(tensor),
        onset,
        step,
        get_text(message),
        cast("dict[str, float | int | str | None]", json.loads(evidence)),
        segment,
    )


def put_trace(trace: Trace) -> Row:
    """Return the columns `TRACE_COLUMNS`; SQLite's integers are signed, a hash is not."""
    signed = None if trace.digest is None else (trace.digest + 2**63) % 2**64 - 2**63
    return signed, trace.sketch, trace.channels, trace.modality


def get_digest(column: int | None) -> int | None:
    """Return the hash that `put_trace` stored."""
    return None if column is None else column % 2**64


def get_trace(row: Row) -> Trace:
    """Return the trace that `put_trace` stored."""
    digest, *rest = row
    return Trace(get_digest(digest), *rest)
