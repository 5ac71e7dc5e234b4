"""Loss and other numbers that the trainer logged beside its checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

from forkmon.runs.steps import TRAINER_STATE, read_state

_STEP_LIMIT = 10**18
_KEY_CAP = 256
"""Keys kept; a log with more names than this is no log of metrics."""


def read_metrics(root: Path, newest: Path | None) -> dict[str, list[tuple[int, float]]]:
    """Return each logged number as (step, value) pairs in step order.

    Read from the newer of the trainer_state.json in `root` and in the checkpoint `newest`; what
    is no finite number is left out, and a step logged twice keeps its last value.
    """
    places = [root] if newest is None else [root, newest]
    states = sorted((place / TRAINER_STATE for place in places), key=_age, reverse=True)
    for path in states:
        curves = _curves(read_state(path).get("log_history"))
        if curves:
            return curves
    return {}


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return -1


def _curves(log: object) -> dict[str, list[tuple[int, float]]]:
    if not isinstance(log, list):
        return {}
    points: dict[str, dict[int, float]] = {}
    for row in cast("list[object]", log):
        if isinstance(row, dict):
            _add(points, cast("dict[str, object]", row))
    return {key: sorted(values.items()) for key, values in points.items()}


def _add(points: dict[str, dict[int, float]], row: dict[str, object]) -> None:
    step = row.get("step")
    if type(step) is not int or not 0 <= step < _STEP_LIMIT:
        return
    for key, value in row.items():
        number = _finite(value)
        if key == "step" or number is None:
            continue
        if key in points or len(points) < _KEY_CAP:
            points.setdefault(key, {})[step] = number


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
