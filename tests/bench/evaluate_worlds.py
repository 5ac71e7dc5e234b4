"""Worlds with known truth: the same elements followed over checkpoints, forking or not.

A world draws one tensor's life: `values` (checkpoints, elements) in float64 before rounding, the
steps, the kind of alert that should come, and the checkpoint from which on it is true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Random = np.random.Generator

LENGTH = 120
"""Checkpoints of a world with a fork."""

LONG = 150
"""Checkpoints of a healthy world."""

NOTICED = 0.08
"""Relative depth of a valley of the population from which on it counts as forked."""


@dataclass(frozen=True, slots=True, eq=False)
class Life:
    """One tensor over its checkpoints."""

    steps: tuple[int, ...]
    values: Floats
    kind: str = ""
    """Alert that should come; empty for a null."""
    truth: int = -1
    """Checkpoint at which it becomes true; -1 where it never does."""
    rows: int = 0
    """Rows of the matrix whose channels are measured; 0 for none."""
    early: int = 3
    """Checkpoints before the truth at which an alert is right: truth has a resolution too."""


World = Callable[[Random, int], Life]


def even(count: int) -> tuple[int, ...]:
    """Return a checkpoint every 1000 steps."""
    return tuple(range(0, 1000 * count, 1000))


def doubling(count: int) -> tuple[int, ...]:
    """Return steps 0, 1, 2, 4, ... 512 and then every 1000, as Pythia was saved."""
    return (0, *(2**i for i in range(10)), *range(1000, 1000 * (count - 10), 1000))[:count]


def wander(rng: Random, count: int, n: int, memory: float) -> Floats:
    """Return stationary AR(1) paths of unit variance, (count, n)."""
    out = rng.normal(size=(count, n))
    for t in range(1, count):
        out[t] = memory * out[t - 1] + np.sqrt(1 - memory**2) * out[t]
    return out


def mixture(share: float, distance: float, *, ramp: int = 60, back: bool = False) -> World:
    """Return a world of two heaps that part to `distance` standard deviations (or meet again)."""

    def life(rng: Random, n: int) -> Life:
        at = np.clip((np.arange(LENGTH) - 30) / ramp, 0, 1) * distance
        if back:
            at = at[::-1]
        side = np.arange(n) < round(share * n)
        values = wander(rng, LENGTH, n, 0.95) + at[:, None] * side
        wide = at >= parted(share)
        truth = int(wide.argmax()) if not back else int((~wide).argmax())
        kind, early = ("MERGE", ramp // 2) if back else ("SPLIT", 3)
        return Life(even(LENGTH), 0.02 * values, kind, truth, early=early)

    return life


@cache
def parted(share: float) -> float:
    """Return the distance from which on two normal heaps make a density with two peaks."""
    x = np.linspace(-3, 10, 4001)
    for distance in np.arange(1.9, 6, 0.005):
        one = (1 - share) * np.exp(-0.5 * x**2)
        density = one + share * np.exp(-0.5 * (x - distance) ** 2)
        if (np.diff(np.sign(np.diff(density))) > 0).any():
            return float(distance)
    raise AssertionError(share)


def pitchfork(tilt: float) -> World:
    """Return the world dx = (mu x - x^3 + tilt) dt + 0.35 dW, mu from -1 to 1."""

    def life(rng: Random, n: int) -> Life:
        values = np.empty((LENGTH, n))
        x = rng.normal(0, 0.25, n)
        for t in range(LENGTH):
            for _ in range(PARTS):
                x = x + (_mu(t) * x - x**3 + tilt) * DT + 0.35 * np.sqrt(DT) * rng.normal(size=n)
            values[t] = x
        return Life(even(LENGTH), values, "SPLIT", forked_at(tilt))

    return life


PARTS, DT = 5, 0.05


def _mu(t: int) -> float:
    return -1 + 2 * t / (LENGTH - 1)


@cache
def forked_at(tilt: float) -> int:
    """Return the checkpoint at which the population forks, by the Fokker-Planck equation."""
    x = np.linspace(-2.5, 2.5, 501)
    h, diffusion = x[1] - x[0], 0.5 * 0.35**2
    density = np.exp(-0.5 * (x / 0.25) ** 2)
    for t in range(LENGTH):
        drift = _mu(t) * x - x**3 + tilt
        step = 0.2 * h * h / diffusion
        for _ in range(int(np.ceil(PARTS * DT / step))):
            dt = PARTS * DT / np.ceil(PARTS * DT / step)
            flow = 0.5 * (drift[1:] * density[1:] + drift[:-1] * density[:-1])
            flow -= diffusion * np.diff(density) / h
            density[1:-1] -= dt * np.diff(flow) / h
        if _depth(density) >= NOTICED:
            return t
    raise AssertionError(tilt)


def _depth(density: Floats) -> float:
    """Return the relative depth of the valley between the two highest peaks; 0 for one peak."""
    inner = density[1:-1]
    peaks = np.flatnonzero((inner > density[:-2]) & (inner >= density[2:])) + 1
    if len(peaks) < 2:
        return 0.0
    a, b = sorted(sorted(peaks, key=lambda i: -density[i])[:2])
    lower = min(density[a], density[b])
    return float((lower - density[a:b].min()) / lower)


def jump(size: float) -> World:
    """Return a world that grows by the root of the step, and once by `size` at one checkpoint."""

    def life(rng: Random, n: int) -> Life:
        base = _growing(rng, n, LONG)
        at = int(rng.integers(45, 135))
        base[at:] *= 1 + size
        return Life(even(LONG), base, "REGIME", at)

    return life


def _growing(rng: Random, n: int, count: int) -> Floats:
    t = np.arange(count)
    scale = 0.02 * np.sqrt(1 + t / rng.uniform(5, 60))
    return np.asarray(wander(rng, count, n, 0.98) * scale[:, None])


def tails_onset(rng: Random, n: int) -> Life:
    """Return a world whose tails grow from t(30) to t(3) at the same variance."""
    nu = np.interp(np.arange(LONG), [60, 70], [30.0, 3.05])
    return Life(even(LONG), 0.02 * _student(rng, n, nu), "SHAPE", 60)


def _student(rng: Random, n: int, nu: Floats) -> Floats:
    from scipy import special

    uniform = special.ndtr(wander(rng, len(nu), n, 0.98))
    values = special.stdtrit(nu[:, None], uniform)
    return np.asarray(values / np.sqrt(nu / (nu - 2))[:, None])


def spike(rng: Random, n: int) -> Life:
    """Return a world in which half of the elements become exact zeros, one after another."""
    values = 0.02 * wander(rng, LENGTH, n, 0.98)
    share = np.interp(np.arange(LENGTH), [60, 80], [0.0, 0.5])
    values[np.arange(n)[None, :] < (share * n)[:, None]] = 0.0
    return Life(even(LENGTH), values, "SPARSITY", 61)


def outliers(rows: int) -> World:
    """Return a world in which some rows of a matrix outgrow the others by five."""

    def life(rng: Random, n: int) -> Life:
        height = 64
        values = 0.02 * wander(rng, LENGTH, n, 0.98).reshape(LENGTH, height, -1)
        chosen = rng.choice(height, rows, replace=False)
        values[60:, chosen] *= 5
        return Life(even(LENGTH), values.reshape(LENGTH, -1), "OUTLIER_CH", 60, height)

    return life


def sign_start(rng: Random, n: int) -> Life:
    """Return a vector of zeros under Adam: a step by sign, then directions are forgotten."""
    steps = doubling(40)
    walk, kept = np.zeros(n), np.sign(rng.normal(size=n))
    values, last = np.zeros((len(steps), n)), 0
    for t, step in enumerate(steps):
        for s in range(last, min(step, last + 200)):
            turned = rng.normal(size=n) > 1.2
            kept = np.where(turned & (s > 0), rng.normal(size=n), kept)
            walk += 1e-3 * kept
        walk += 1e-3 * np.sqrt(max(step - last - 200, 0)) * rng.normal(size=n)
        last = step
        values[t] = walk
    return Life(steps, values, "INIT_SPLIT", 1)


def key_bias(rng: Random, n: int) -> Life:
    """Return a fused bias a third of which never gets a gradient: a spike from the first step."""
    scale = 0.02 * np.sqrt(np.arange(LENGTH) / 10)
    values = wander(rng, LENGTH, n, 0.98) * scale[:, None]
    values[:, : n // 3] *= 0.003
    return Life(even(LENGTH), values)


def resting(rng: Random, n: int) -> Life:
    """Return a stationary world."""
    return Life(doubling(LONG), 0.02 * wander(rng, LONG, n, 0.9))


def root_growth(rng: Random, n: int) -> Life:
    """Return a world that grows by the root of the step, saved as Pythia was."""
    steps = np.array(doubling(LONG), np.float64)
    scale = 0.02 * np.sqrt(1 + steps / rng.uniform(500, 50_000))
    return Life(doubling(LONG), wander(rng, LONG, n, 0.98) * scale[:, None])


def skew_growth(rng: Random, n: int) -> Life:
    """Return a world that gets as skewed as a lognormal law of sigma 0.7."""
    sigma = np.linspace(0.01, 0.7, LONG)[:, None]
    x = wander(rng, LONG, n, 0.98)
    return Life(even(LONG), 0.02 * np.expm1(sigma * x) / sigma)


def tail_growth(rng: Random, n: int) -> Life:
    """Return a world whose tails grow from t(30) to t(3) over the whole run."""
    return Life(even(LONG), 0.02 * _student(rng, n, np.geomspace(30, 3.05, LONG)))


def scale_mixture(rng: Random, n: int) -> Life:
    """Return a world of two scales about one centre, more and more apart."""
    wide = np.linspace(1, 6, LONG)[:, None]
    values = 0.02 * wander(rng, LONG, n, 0.98) * np.where(np.arange(n) < n // 3, wide, 1.0)
    return Life(even(LONG), values)


def gain(rng: Random, n: int) -> Life:
    """Return norm gains that drift and spread from 1: the hard one once they are rounded."""
    steps = np.array(doubling(LONG), np.float64)
    way = np.sqrt(steps / steps[-1])
    spread, drift = rng.uniform(0.005, 0.1), rng.uniform(-0.2, 0.4)
    tilt = rng.normal(0, 1, n)
    paths = 0.7 * tilt + 0.7 * wander(rng, LONG, n, 0.95)
    return Life(doubling(LONG), 1 + way[:, None] * (drift + spread * paths))


def cadence(rng: Random, n: int) -> Life:
    """Return root growth saved every 100 steps, then every 1000, then every 100 again."""
    steps = np.cumsum(np.repeat([0, 100, 1000, 100], [1, 60, 45, 44])).astype(np.float64)
    scale = 0.02 * np.sqrt(1 + steps / rng.uniform(500, 50_000))
    values = np.empty((LONG, n))
    x = rng.normal(size=n)
    for t, span in enumerate(np.diff(steps, prepend=0.0)):
        memory = 0.98 ** (span / 100)
        x = memory * x + np.sqrt(1 - memory**2) * rng.normal(size=n)
        values[t] = x * scale[t]
    return Life(tuple(int(s) for s in steps), values)


def restart(rng: Random, n: int) -> Life:
    """Return a world whose weights move five times as fast from checkpoint 75 on, then slow down.

    A real change of the run, but not of any one tensor: SPLIT would be false, REGIME is true.
    """
    rate = 0.02 * np.where(np.arange(LONG) < 75, 1.0, 5 * 0.95 ** (np.arange(LONG) - 75))
    steps = rate[:, None] * rng.normal(size=(LONG, n))
    start = 0.1 * rng.normal(size=n)
    return Life(even(LONG), 0.1 * (start + np.cumsum(steps, axis=0)))


FORKS: dict[str, World] = {
    "pitchfork": pitchfork(0.0),
    "tilted pitchfork": pitchfork(0.03),
    "50/50 to 4 sd": mixture(0.5, 4.0),
    "20/80 to 6 sd": mixture(0.2, 6.0),
    "10/90 to 6 sd": mixture(0.1, 6.0),
    "5/95 to 6 sd": mixture(0.05, 6.0),
    "2/98 to 8 sd": mixture(0.02, 8.0),
    "merge from 5 sd": mixture(0.5, 5.0, back=True),
}
EVENTS: dict[str, World] = {
    "scale jump 2 %": jump(0.02),
    "scale jump 5 %": jump(0.05),
    "scale jump 10 %": jump(0.1),
    "scale jump 20 %": jump(0.2),
    "tails t(30) to t(3)": tails_onset,
    "exact zeros to 50 %": spike,
    "1 outlier row of 64": outliers(1),
    "4 outlier rows of 64": outliers(4),
    "Adam's first step": sign_start,
}
NULLS: dict[str, World] = {
    "stationary": resting,
    "root growth": root_growth,
    "skew growth": skew_growth,
    "tail growth": tail_growth,
    "scale mixture": scale_mixture,
    "norm gains": gain,
    "spike in fused bias": key_bias,
    "cadence change": cadence,
    "learning-rate restart": restart,
}
ALL: dict[str, World] = {**FORKS, **EVENTS, **NULLS}
