"""Checkpoints that are not what their step says: copies, swaps, returns, shards from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import numpy as np
from evaluate_worlds import Floats, Random

from forkmon.detect import every
from forkmon.stats.series import Series

COUNT, TENSORS, WIDTH = 60, 8, 256

Order = dict[int, list[int]]
"""By tensor, whose weights each checkpoint holds."""


def _all(order: list[int]) -> Order:
    return {i: list(order) for i in range(TENSORS)}


def honest(_: Random) -> tuple[Order, set[int]]:
    """Return a run in which nothing is wrong."""
    return _all(list(range(COUNT))), set()


def copied(rng: Random) -> tuple[Order, set[int]]:
    """Return a run with a checkpoint that is the one before."""
    at = int(rng.integers(1, COUNT))
    order = list(range(COUNT))
    order[at] = at - 1
    return _all(order), {at}


def swapped(gap: int) -> Callable[[Random], tuple[Order, set[int]]]:
    """Return runs in which two checkpoints, `gap` apart, stand in each other's place."""

    def run(rng: Random) -> tuple[Order, set[int]]:
        a = int(rng.integers(1, COUNT - gap - 1))
        order = list(range(COUNT))
        order[a], order[a + gap] = a + gap, a
        return _all(order), {a, a + gap}

    return run


def served_final(rng: Random) -> tuple[Order, set[int]]:
    """Return a run with an early step that holds the final weights."""
    at = int(rng.integers(1, COUNT // 2))
    order = list(range(COUNT))
    order[at] = COUNT - 1
    return _all(order), {at}


def foreign_shard(rng: Random) -> tuple[Order, set[int]]:
    """Return a run in which half of the tensors of a step are those of the final one."""
    order, places = served_final(rng)
    honest_ones = {i: list(range(COUNT)) for i in range(TENSORS // 2, TENSORS)}
    return order | honest_ones, places


CASES: dict[str, Callable[[Random], tuple[Order, set[int]]]] = {
    "honest": honest,
    "copy of the step before": copied,
    "swapped, 6 checkpoints apart": swapped(6),
    "swapped, 10 checkpoints apart": swapped(10),
    "swapped, 20 checkpoints apart": swapped(20),
    "final weights under an early step": served_final,
    "half of the tensors from elsewhere": foreign_shard,
}


def run(case: str, rng: Random) -> tuple[bool, int]:
    """Return whether every foreign checkpoint was told, and how many others were."""
    order, foreign = CASES[case](rng)
    series = [_series(f"h.{i}.w", _path(rng)[order[i]]) for i in range(TENSORS)]
    told = {a.onset for a in every.all_alerts(series, ()) if a.kind == "PROVENANCE"}
    places = {onset // 1000 for onset in told}
    # The last checkpoint equals the early one that was served its weights: it is told too.
    excused = foreign | ({COUNT - 1} if case.startswith(("final", "half")) else set())
    return foreign <= places, len(places - excused)


def _path(rng: Random) -> Floats:
    """Return weights that drift in a direction that turns slowly, with noise."""
    heading = np.cumsum(rng.normal(size=(COUNT, WIDTH)), axis=0) * rng.uniform(0.01, 0.05)
    noise = 0.1 * rng.normal(size=(COUNT, WIDTH))
    return np.asarray(3 * rng.normal(size=WIDTH) + np.cumsum(heading + noise, axis=0))


def _series(name: str, weights: Floats) -> Series:
    def apart(gap: int) -> list[float]:
        return [float(d) for d in np.linalg.norm(weights[gap:] - weights[:-gap], axis=1)]

    columns: dict[str, list[float | None]] = {
        "n": [float(WIDTH)] * COUNT,
        "nan": [0.0] * COUNT,
        "inf": [0.0] * COUNT,
        "std": [float(s) for s in weights.std(axis=1)],
        "l2": [float(s) for s in np.linalg.norm(weights, axis=1)],
        "update": [None, *apart(1)],
        "return_jump": [None, *apart(2), None],
    }
    return Series(
        tensor=name,
        steps=tuple(range(0, 1000 * COUNT, 1000)),
        values={key: tuple(column) for key, column in columns.items()},
        digests=tuple(
            int.from_bytes(sha256(row.tobytes()).digest()[:8], "little") for row in weights
        ),
    )
