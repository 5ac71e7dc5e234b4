"""Laws that singular values are held against: a power-law tail, and a random matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CANDIDATES = 512
"""Beginnings of the tail that are tried, at most."""

TAIL = 8
"""Eigenvalues that a tail must have."""

_GRID = 4096

FLUCTUATION = 3.0
"""Tracy-Widom scales beyond the edge up to which an eigenvalue is chance."""


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """A fit of the eigenvalues' tail, density ~ x^-alpha from `begin` on."""

    alpha: float
    begin: float
    """Smallest eigenvalue of the tail."""
    tail: int
    distance: float
    """Kolmogorov and Smirnov's, of the tail: above about .1 there is no power law."""


def power_law(eigenvalues: Floats) -> PowerLaw | None:
    """Return the fit of Clauset, Shalizi and Newman (2009): the beginning with the least distance.

    None for fewer than TAIL positive eigenvalues, or equal ones.
    """
    x = np.sort(eigenvalues[eigenvalues > 0])
    if len(x) < TAIL or x[0] == x[-1]:
        return None
    logs = np.log(x)
    above = np.cumsum(logs[::-1])[::-1]
    best: PowerLaw | None = None
    last = len(x) - TAIL
    for first in np.unique(np.linspace(0, last, CANDIDATES).astype(np.int64)).tolist():
        n = len(x) - first
        excess = float(above[first]) - n * float(logs[first])
        if excess <= 0:
            continue
        alpha = 1.0 + n / excess
        law: Floats = -np.expm1((1.0 - alpha) * (logs[first:] - logs[first]))
        # Below each eigenvalue, not at it: so do the authors' own code and weightwatcher.
        steps = np.linspace(0.0, 1.0, n, endpoint=False)
        distance = float(np.abs(law - steps).max())
        if best is None or distance < best.distance:
            best = PowerLaw(alpha, float(x[first]), n, distance)
    return best


@dataclass(frozen=True, slots=True)
class RandomMatrix:
    """The Marchenko-Pastur law with the same median, and what does not fit it."""

    scale: float
    """Standard deviation of the elements that the median tells."""
    edge: float
    """The largest singular value that noise of that scale has."""
    outliers: int
    """Singular values beyond the edge and its chance fluctuation."""
    distance: float
    """Largest difference between the two distribution functions."""


def random_matrix(singular: Floats, shape: tuple[int, int]) -> RandomMatrix | None:
    """Return the noise that a matrix's singular values look like; None where most are 0."""
    small, large = sorted(shape)
    grid, law = _marchenko_pastur(small / large)
    median = float(np.median(singular)) ** 2
    if median <= 0:
        return None
    variance = median / (large * float(np.interp(0.5, law, grid)))
    roots = np.sqrt(small) + np.sqrt(large)
    edge = float(np.sqrt(variance) * roots)
    # Johnstone (2001): the largest eigenvalue fluctuates by this much.
    width = variance * roots * (1 / np.sqrt(small) + 1 / np.sqrt(large)) ** (1 / 3)
    eigenvalues = np.sort(singular**2)
    beyond = int((eigenvalues > edge**2 + FLUCTUATION * width).sum())
    told = np.interp(eigenvalues / (variance * large), grid, law, left=0.0, right=1.0)
    steps = np.arange(len(eigenvalues) + 1) / len(eigenvalues)
    distance = float(np.maximum(np.abs(told - steps[:-1]), np.abs(told - steps[1:])).max())
    return RandomMatrix(float(np.sqrt(variance)), edge, beyond, distance)


@lru_cache(maxsize=64)
def _marchenko_pastur(aspect: float) -> tuple[Floats, Floats]:
    """Return (x, F(x)) of the law of eigenvalues of W'W / large, unit variance, aspect <= 1."""
    low, high = (1 - np.sqrt(aspect)) ** 2, (1 + np.sqrt(aspect)) ** 2
    # x = low + (high - low) sin^2 t takes the poles at both ends away.
    t = (np.arange(_GRID) + 0.5) / _GRID * (np.pi / 2)
    sine, cosine = np.sin(t) ** 2, np.cos(t) ** 2
    x = low + (high - low) * sine
    mass = sine * cosine / x
    reached = np.cumsum(mass)
    ends = (np.arange(_GRID) + 1) / _GRID * (np.pi / 2)
    return low + (high - low) * np.sin(ends) ** 2, reached / reached[-1]


def effective_rank(singular: Floats) -> float | None:
    """Return exp of the entropy of the singular values' shares (Roy and Vetterli 2007)."""
    total = float(singular.sum())
    if total <= 0:
        return None
    share = singular[singular > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))
