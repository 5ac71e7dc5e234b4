"""The answer of `scan` as values: everything a store knows of a run, in the contract's shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from forkmon.stats.alert import Alert
from forkmon.stats.metric_names import usual
from forkmon.stats.row import QUANTILES, StatRow
from forkmon.store.reader import Reader
from forkmon.store.values import CheckpointRow, StoredVerdict, TensorEntry
from forkmon.worker.judge import verdict

SCHEMA = 1
"""The version of the JSON contract; keys are added, never removed or renamed."""

ROW_CAP = 200_000
"""Tensor rows printed in full; beyond it only the newest checkpoints' are."""

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tensors and checkpoints are asked for."""

    pattern: re.Pattern[str] | None = None
    last: int | None = None

    def takes(self, name: str | None) -> bool:
        """Return whether a tensor (or an alert on the whole run) is asked for."""
        return self.pattern is None or name is None or bool(self.pattern.search(name))


def chosen(reader: Reader, choice: Choice) -> tuple[list[CheckpointRow], int]:
    """Return the checkpoints to print, oldest first, and how many the row cap left out."""
    rows = list(reader.checkpoints())
    if choice.last is not None:
        return rows[-choice.last :], 0
    kept: list[CheckpointRow] = []
    total = 0
    for row in reversed(rows):
        total += row.tensors
        if total > ROW_CAP and kept:
            break
        kept.append(row)
    return kept[::-1], len(rows) - len(kept)


def checkpoint_json(reader: Reader, row: CheckpointRow, choice: Choice) -> Json:
    """Return one checkpoint with its tensors."""
    return {
        "segment": row.segment,
        "step": row.step,
        "version": row.version,
        "path": row.path,
        "format": row.format,
        "status": row.status,
        "reason": row.reason,
        "bytes": row.bytes,
        "seconds": round(row.seconds, 6),
        "tensors": list(_tensors(reader, row, choice)),
    }


def alerts_of(reader: Reader, choice: Choice) -> list[Alert]:
    """Return the alerts on the chosen tensors."""
    return [alert for alert in reader.alerts() if choice.takes(alert.tensor)]


def verdict_json(found: StoredVerdict) -> Json:
    """Return the verdict."""
    return {"state": found.state, "reasons": list(found.reasons)}


def whole_json(reader: Reader, device: str, choice: Choice) -> Json:
    """Return the whole report as one object."""
    rows, _ = chosen(reader, choice)
    return {
        "schema": SCHEMA,
        "run": reader.run().path,
        "device": device,
        "checkpoints": [checkpoint_json(reader, row, choice) for row in rows],
        "alerts": [alert.as_json() for alert in alerts_of(reader, choice)],
        "ignored": ignored_json(reader),
        "verdict": verdict_json(verdict(reader)),
        "metrics": metrics_json(reader),
    }


def metrics_json(reader: Reader) -> Json:
    """Return the last value of each number that the trainer logged, by its usual name.

    A number without a usual name has the trainer's; `name` is always the trainer's.
    """
    metrics = {name: points for name, points in reader.metrics().items() if points}
    known = usual({name: len(points) for name, points in metrics.items()})
    named = {**known, **{name: name for name in metrics if name not in known.values()}}
    return {
        label: {"name": name, "step": metrics[name][-1][0], "value": metrics[name][-1][1]}
        for label, name in named.items()
    }


def ignored_json(reader: Reader) -> list[Json]:
    """Return what in the run directory is no checkpoint."""
    return [{"path": row.path, "reason": row.reason} for row in reader.ignored()]


def _tensors(reader: Reader, row: CheckpointRow, choice: Choice) -> Iterator[Json]:
    stats = reader.stats(row.id)
    for entry in reader.tensors(row.id):
        if entry.kind == "tensor" and choice.takes(entry.name) and entry.id in stats:
            yield _tensor_json(entry, stats[entry.id])


def _tensor_json(entry: TensorEntry, stat: StatRow) -> Json:
    return {
        "name": entry.name,
        "role": entry.role,
        "dtype": entry.dtype,
        "shape": list(entry.shape),
        "n": stat.n,
        "mean": stat.mean,
        "std": stat.std,
        "skew": stat.skew,
        "kurtosis": stat.kurtosis,
        "min": stat.min,
        "max": stat.max,
        "l1": stat.l1,
        "l2": stat.l2,
        "zeros": stat.zeros,
        "nan": stat.nan,
        "inf": stat.inf,
        "quantiles": {str(q): v for q, v in zip(QUANTILES, stat.quantiles, strict=True)},
        "modes": stat.modes,
        "preview": stat.preview,
    }
