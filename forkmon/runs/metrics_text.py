"""Numbers from text logs: a table with a header (CSV), or a JSON object a line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import cast

from forkmon.formats.opening import read_bytes
from forkmon.runs.metrics_curves import Curve
from forkmon.runs.metrics_files import curve_of

STEPS = (
    "step", "global_step", "_step", "trainer/global_step", "train/global_step", "iteration",
    "iter", "iter_num", "iterations", "iters", "current_steps", "num_updates", "updates", "update",
    "steps", "train/step",
)  # fmt: skip
"""Columns that say when a row was logged, the most usual first."""

EPOCHS = ("epoch", "epochs", "current_epoch", "train/epoch")
"""Columns that stand in for the step in a log that has none."""

AXES = frozenset({*STEPS, *EPOCHS})

LONGEST_LINE = 1024 * 1024
"""A longer line is passed over."""

_DELIMITERS = ",\t;"
_MOST_COLUMNS = 5_000


class TextLog:
    """Reads a text log; the first line tells which kind it is."""

    def __init__(self) -> None:
        self.curves: dict[str, Curve] = {}
        self._columns: Sequence[str] = ()
        self._delimiter = ","
        self._kind = ""
        self._axes: tuple[tuple[str, ...], ...] = ()
        self._in_long_line = False

    def take(self, fd: int, path: Path, at: int, end: int, size: int) -> int:
        """Read whole lines; what stands behind the last line's end may still be written."""
        while at < end:
            raw = read_bytes(fd, at, min(LONGEST_LINE, size - at), path)
            whole = raw.rfind(b"\n") + 1
            if not whole:
                if len(raw) < LONGEST_LINE:
                    break
                self._in_long_line = True
                at += len(raw)
                continue
            lines = raw[:whole].decode("utf-8", "replace").split("\n")[:-1]
            self._lines(lines[1:] if self._in_long_line else lines)
            self._in_long_line = False
            at += whole
        return at

    def _lines(self, lines: Iterable[str]) -> None:
        for text in lines:
            line = text.strip("\ufeff\r")
            if not line.strip():
                continue
            if not self._kind:
                self._begin(line)
            if self._kind == "json":
                self._row(_json_row(line))
            elif self._kind == "rows":
                self._row(zip(self._columns, _cells(line, self._delimiter), strict=False))
            elif self._kind == "header":
                self._kind = "rows"

    def _begin(self, line: str) -> None:
        """Tell from the first line what the log is; without a column of steps it is no log."""
        if line.lstrip().startswith("{"):
            self._kind = "json"
            return
        self._delimiter = max(_DELIMITERS, key=line.count)
        self._columns = [cell.strip() for cell in _cells(line, self._delimiter)]
        names = {column.lower() for column in self._columns}
        self._kind = "header" if names & AXES else "nothing"

    def _row(self, cells: Iterable[tuple[str, object]]) -> None:
        row: dict[str, tuple[str, float]] = {}
        for name, value in cells:
            found = number(value)
            if found is not None:
                row.setdefault(name.lower(), (name, found))
        step = self._step(row)
        if step is None:
            return
        for key, (name, value) in row.items():
            curve = None if key in AXES else curve_of(self.curves, name)
            if curve is not None:
                curve.add(step, value)

    def _step(self, row: dict[str, tuple[str, float]]) -> int | None:
        """Return when a row was logged; steps and epochs of one log are never mixed."""
        columns = {column.lower() for column in self._columns}
        for axis in self._axes or (STEPS, EPOCHS):
            key = next((name for name in axis if name in row or name in columns), None)
            if key is None:
                continue
            if axis is STEPS and self._axes != (STEPS,):
                self._axes = (STEPS,)
                self.curves.clear()  # what came before had epochs alone
            value = row[key][1] if key in row else None
            return int(value) if value is not None and value.is_integer() else None
        return None


def number(value: object) -> float | None:
    """Return a finite number, also one in text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), list[str]())[:_MOST_COLUMNS]
    except csv.Error:
        return []


def _json_row(line: str) -> Iterator[tuple[str, object]]:
    """Yield the entries of an object, those of objects in it too: `train/loss`."""
    try:
        body: object = json.loads(line)
    except (ValueError, RecursionError):
        return
    for name, value in _items(body):
        inner = _items(value)
        for key, entry in inner:
            yield f"{name}/{key}", None if isinstance(entry, str) else entry
        yield name, None if isinstance(value, str) else value


def _items(body: object) -> list[tuple[str, object]]:
    if not isinstance(body, dict):
        return []
    return list(cast("dict[str, object]", body).items())[:_MOST_COLUMNS]
