"""How often CUSUM limits are crossed by curves without an event: what REGIME's limit rests on.

Run by hand: python tests/bench/evaluate_limits.py [--curves 30000] [--preset default]
Curves are log RMS over 150 checkpoints, on several spacings, with noise from 0.05 to 1.3 %. A limit
is worth its rate times 300 false alarms in a healthy run of 300 tensors.
"""
# ruff: noqa: T201 -- a script prints

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forkmon.detect.cadence import clock
from forkmon.detect.cusum import crossings
from forkmon.detect.rule import Rule
from forkmon.detect.settings import PRESETS

Floats = NDArray[np.float64]
Random = np.random.Generator

CHECKPOINTS, TENSORS = 150, 300
LIMITS = (7.0, 10.0, 12.0, 14.0, 17.0, 20.0, 28.0)
BATCH = 5000


def spacings() -> dict[str, tuple[int, ...]]:
    """Return the steps of 150 checkpoints, spaced in several ways."""
    doubled = (0, *(2**i for i in range(10)), *range(1000, 1000 * (CHECKPOINTS - 10), 1000))
    dense = np.cumsum(np.repeat([0, 100, 1000], [1, 75, 74]))
    sparse = np.cumsum(np.repeat([0, 1000, 100], [1, 75, 74]))
    return {
        "doubling, then every 1000": doubled,
        "every 1000": tuple(range(0, 1000 * CHECKPOINTS, 1000)),
        "every 100, then every 1000": tuple(dense.tolist()),
        "every 1000, then every 100": tuple(sparse.tolist()),
        "even in the logarithm": logarithmic(30_000),
    }


def logarithmic(last: int) -> tuple[int, ...]:
    """Return 150 different steps, as even in their logarithm as whole numbers allow."""
    count = CHECKPOINTS
    while True:
        steps = np.unique(np.round(np.geomspace(1, last, count)).astype(np.int64))
        if len(steps) >= CHECKPOINTS:
            return tuple(steps[-CHECKPOINTS:].tolist())
        count += 1


def noise(rng: Random, shape: tuple[int, int]) -> Floats:
    """Return AR(1) noise of many sizes and memories, a curve a row."""
    size, memory = 10 ** rng.uniform(-3.3, -1.9, shape[0]), rng.uniform(0.3, 0.99, shape[0])
    out = rng.normal(size=shape)
    for t in range(1, shape[1]):
        out[:, t] = memory * out[:, t - 1] + np.sqrt(1 - memory**2) * out[:, t]
    return np.asarray(out * size[:, None])


def _ages(rng: Random, steps: Floats, rows: int) -> Floats:
    return np.asarray(steps / 10 ** rng.uniform(1, 5, (rows, 1)))


def resting(rng: Random, steps: Floats, rows: int) -> Floats:
    """Return curves that stay where they are."""
    return noise(rng, (rows, len(steps)))


def powers(rng: Random, steps: Floats, rows: int) -> Floats:
    """Return curves that begin to grow, or shrink, by a power of the step."""
    power = rng.uniform(-0.5, 1, (rows, 1))
    grown = power * np.log1p(_ages(rng, steps, rows))
    return np.asarray(grown + noise(rng, (rows, len(steps))))


def saturating(rng: Random, steps: Floats, rows: int) -> Floats:
    """Return curves that settle exponentially: on a logarithmic spacing that is a sharp bend."""
    height = rng.uniform(0.1, 1.5, (rows, 1))
    settled = 1 - np.exp(-_ages(rng, steps, rows))
    return np.asarray(height * settled + noise(rng, (rows, len(steps))))


def walking(rng: Random, steps: Floats, rows: int) -> Floats:
    """Return random walks in the step."""
    span = np.diff(steps, prepend=0.0)
    size = 10 ** rng.uniform(-3.5, -2, (rows, 1)) * np.sqrt(span / np.median(span))
    return np.cumsum(size * rng.normal(size=(rows, len(steps))), axis=1)


FAMILIES: dict[str, Callable[[Random, Floats, int], Floats]] = {
    "resting": resting,
    "powers": powers,
    "walking": walking,
    "saturating": saturating,
}


def rates(family: str, steps: Sequence[int], rule: Rule, curves: int, seed: int) -> list[float]:
    """Return the share of the curves that cross each limit."""
    rng = np.random.default_rng(seed)
    crossed = np.zeros(len(LIMITS))
    for first in range(0, curves, BATCH):
        rows = min(BATCH, curves - first)
        levels = FAMILIES[family](rng, np.asarray(steps, np.float64), rows)
        for i, limit in enumerate(LIMITS):
            found = crossings(levels, clock(steps), replace(rule, limit=limit))
            crossed[i] += len({crossing.row for crossing in found})
    return [float(share) for share in crossed / curves]


def main() -> int:
    """Print the rates as a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--curves", type=int, default=30_000)
    parser.add_argument("--preset", choices=list(PRESETS), default="default")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rule = PRESETS[options.preset].regime
    print(f"Curves of {options.curves:,} that cross, at slack {rule.slack:g}, ", end="")
    print(f"effect {rule.effect:g}; the preset's limit is {rule.limit:g}.\n")
    print(f"| spacing | curves | {' | '.join(f'{limit:g}' for limit in LIMITS)} |")
    print(f"|---|---|{'---:|' * len(LIMITS)}")
    for name, steps in spacings().items():
        for family in FAMILIES:
            shares = rates(family, steps, rule, options.curves, options.seed)
            cells = " | ".join(f"{share:.4%}".replace("%", " %") for share in shares)
            print(f"| {name} | {family} | {cells} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
