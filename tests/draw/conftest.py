"""Reduced codes from numpy values and from exact laws."""

from __future__ import annotations

from collections.abc import Callable
from math import erf, sqrt

import numpy as np
import numpy.typing as npt
import pytest

from forkmon.stats.reduced import SHIFT, Reduced, cell, key_of

Values = npt.ArrayLike
Reduce = Callable[..., Reduced]


def _reduced(values: Values, pivot: float = 0.0) -> Reduced:
    offsets = (np.asarray(values, dtype=np.float64) - pivot).astype(np.float32)
    words = offsets.view(np.uint32)
    magnitudes = ((words & 0x7FFFFFFF) >> SHIFT).astype(np.int64)
    keys, counts = np.unique(
        np.where(words >> 31 == 1, -magnitudes, magnitudes), return_counts=True
    )
    return Reduced(pivot, tuple(keys.tolist()), tuple(counts.tolist()))


def _by_law(below: Callable[[float], float], reach: float, n: int = 10**12) -> Reduced:
    """Return the codes of `n` values that follow a distribution function exactly."""
    keys: list[int] = []
    counts: list[int] = []
    for key in range(-key_of(reach), key_of(reach) + 1):
        low, high = cell(key)
        mass = round(n * (below(high) - below(low)))
        if mass > 0:
            keys.append(key)
            counts.append(mass)
    return Reduced(0.0, tuple(keys), tuple(counts))


@pytest.fixture(scope="session")
def reduced() -> Reduce:
    """Return the function that reduces values to codes."""
    return _reduced


@pytest.fixture(scope="session")
def normal() -> Reduced:
    """Return the codes of an exact standard normal law."""
    return _by_law(lambda x: 0.5 * (1 + erf(x / sqrt(2))), 7.0)


@pytest.fixture(scope="session")
def uniform() -> Reduced:
    """Return the codes of an exact uniform law on -1..1: some thirty octaves of cells."""
    return _by_law(lambda x: min(1.0, max(0.0, (x + 1) / 2)), 1.0 - 2**-6)
