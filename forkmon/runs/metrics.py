"""Loss and other numbers that the trainer logged beside its checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from forkmon.runs.metrics_curves import STEP_LIMIT, Curve, Point, joined
from forkmon.runs.metrics_files import LogFile, curve_of
from forkmon.runs.metrics_places import Place, places
from forkmon.runs.steps import TRAINER_STATE, read_state
from forkmon.stats.metric_names import USUAL, canonical, usual

SECONDS_AT_ONCE = 1.0
"""How long one look reads; what is left is read by the next."""

_PIECE = 1024 * 1024
"""Bytes read of a log between two looks at the clock."""

MOST_CURVES = 64
"""Curves kept of a run: a chooser of more helps nobody."""

_KEY_CAP = 256
"""Keys read of trainer_state.json; a log with more names than this is no log of metrics."""

Curves = dict[str, list[Point]]


@dataclass(slots=True)
class _Log:
    place: Place
    file: LogFile


@dataclass(slots=True)
class Logs:
    """The logs of one run; remembers what it read, so that only what is new is read again."""

    root: Path
    clock: Callable[[], float] = time.monotonic
    behind: bool = False
    """Whether there is more to read than one look takes."""
    _logs: dict[Path, _Log] = field(default_factory=dict[Path, _Log])
    _state: tuple[tuple[Path, int, int], Curves] | None = None

    def curves(self, newest: Path | None) -> Curves:
        """Return each logged number as (step, value) pairs in step order, by the trainer's name.

        `newest` is the newest checkpoint. What is no finite number is left out; a step logged
        twice keeps its last value. A quantity that several logs hold comes from one of them.
        """
        for place in places(self.root, newest):
            if place.path not in self._logs:
                self._logs[place.path] = _Log(place, LogFile(place.path, place.parser))
        self.behind = self._read()
        by_kind = [self._trainer_state(newest)]
        by_kind += [self._joined(events) for events in (False, True)]
        return _chosen(by_kind)

    def _read(self) -> bool:
        """Read what is new, the newest log first; return whether time ended before it did."""
        until = self.clock() + SECONDS_AT_ONCE
        for log in sorted(self._logs.values(), key=lambda log: log.place.order, reverse=True):
            while log.file.read(_PIECE):
                if self.clock() > until:
                    return True
        return False

    def _joined(self, events: bool) -> Curves:  # noqa: FBT001 -- which of the two kinds
        """Return the curves of all text logs, or of all event files."""
        parts: dict[str, list[list[Point]]] = {}
        logs = [log for log in self._logs.values() if log.place.is_events is events]
        for log in sorted(logs, key=lambda log: (log.place.order, str(log.place.path))):
            for name, curve in log.file.curves.items():
                parts.setdefault(log.place.prefix + name, []).append(curve.points())
        return {name: points for name, some in parts.items() if (points := joined(some))}

    def _trainer_state(self, newest: Path | None) -> Curves:
        """Return the curves of the newer of the trainer_state.json of the run and of `newest`."""
        at = [self.root] if newest is None else [self.root, newest]
        for path in sorted((place / TRAINER_STATE for place in at), key=_age, reverse=True):
            size = _size(path)
            if size < 0:
                continue
            seen = (path, _age(path), size)
            if self._state is None or self._state[0] != seen:
                self._state = (seen, _log_history(read_state(path).get("log_history")))
            if self._state[1]:
                return self._state[1]
        return {}


def _chosen(kinds: Iterable[Curves]) -> Curves:
    """Return the curves of several kinds of logs together, each usual quantity from one kind."""
    sources = [(kind, curves) for kind, curves in enumerate(kinds)]
    whole: dict[str, tuple[int, list[Point]]] = {}
    for kind, curves in sources:
        for name, points in curves.items():
            if name not in whole or len(points) > len(whole[name][1]):
                whole[name] = (kind, points)
    best = usual({name: len(points) for name, (_, points) in whole.items()})
    kept: Curves = {best[name]: whole[best[name]][1] for name in USUAL if name in best}
    for name, (kind, points) in whole.items():
        winner = best.get(canonical(name))
        if len(kept) < MOST_CURVES and (winner is None or whole[winner][0] == kind):
            kept[name] = points
    return kept


def _log_history(log: object) -> Curves:
    if not isinstance(log, list):
        return {}
    curves: dict[str, Curve] = {}
    for row in cast("list[object]", log):
        if isinstance(row, dict):
            _add(curves, cast("dict[str, object]", row))
    return {key: points for key, curve in curves.items() if (points := curve.points())}


def _add(curves: dict[str, Curve], row: Mapping[str, object]) -> None:
    step = row.get("step")
    if type(step) is not int or not 0 <= step < STEP_LIMIT:
        return
    for key, value in row.items():
        number = _finite(value)
        if key in ("step", "epoch") or number is None:
            continue
        if key in curves or len(curves) < _KEY_CAP:
            curve = curve_of(curves, key)
            if curve is not None:
                curve.add(step, number)


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return -1


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return -1
