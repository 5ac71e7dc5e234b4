"""From weights to radius classes: the distance of an edge is 1/|w|, and short or long ones drop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forkmon.kernels.protocol import numpy_dtype
from forkmon.stats import grids

Floats = NDArray[np.float64]
Mode = Literal["paper", "robust"]

FINE = 240
"""Radius classes of the robust mode, evenly spaced in their logarithm from 1 to the longest."""

COARSE = 24
"""Radii of the robust mode's fit, at most."""

NEAR = 4
"""The robust mode starts at the radius at which half of the balls hold this many nodes."""


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes of distances in (1, longest]: class b ends at radii()[b - 1], 0 is no edge."""

    mode: Mode
    longest: int

    def radii(self) -> Floats:
        """Return the radii, ascending, in distances."""
        if self.mode == "paper":
            return np.arange(1, self.longest + 1, dtype=np.float64)
        powers: Floats = np.arange(1, FINE + 1) / FINE
        return np.power(float(self.longest), powers)

    @property
    def count(self) -> int:
        """Return how many there are, without class 0."""
        return self.longest if self.mode == "paper" else FINE

    def of_distances(self, distances: Floats) -> NDArray[np.uint8]:
        """Return each distance's class; half-way distances round to even, as published."""
        with np.errstate(invalid="ignore"):
            inside = (distances > 1) & (distances <= self.longest)
        kept = np.where(inside, distances, 1.0)
        if self.mode == "paper":
            found = np.rint(kept)
        else:
            found = 1.0 + np.searchsorted(self.radii(), kept, side="left")
            found = np.minimum(found, FINE)  # the last radius is the longest, up to rounding
        return np.where(inside, found, 0).astype(np.uint8)

    def of(self, dtype: str, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Return the class of each weight, as stored in `dtype`."""
        if numpy_dtype(dtype).kind == "f":
            return self.of_distances(_distances(values.astype(np.float64)))
        codes = values.astype(np.intp)
        classes: NDArray[np.uint8] = _table(self, dtype)[codes]
        return classes


@lru_cache(maxsize=32)
def _table(classes: Classes, dtype: str) -> NDArray[np.uint8]:
    """Return the class of every code of a type of 8 or 16 bits."""
    return classes.of_distances(_distances(grids.grid(grids.GRID_OF_DTYPE[dtype]).low))


def _distances(weights: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0 / np.abs(weights)


def counted(classes: Classes, found: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the edges of each class at each node: (outputs, nodes) to (nodes, classes)."""
    nodes, width = found.shape[1], classes.count + 1
    flat = found + np.arange(nodes, dtype=np.int64) * width
    return np.bincount(flat.ravel(), minlength=nodes * width).reshape(nodes, width)[:, 1:]


def first_radius(classes: Classes, counts: NDArray[np.integer], min_edges: int) -> float:
    """Return the radius at which half of the nodes with enough edges have NEAR nodes in their ball.

    The longest radius where no node has enough edges.
    """
    balls = 1 + np.cumsum(counts[counts.sum(axis=1) >= min_edges], axis=1)
    if not len(balls):
        return float(classes.longest)
    reached = np.argmax(balls >= NEAR, axis=1)
    return float(classes.radii()[int(np.median(reached))])


def coarsened(
    classes: Classes, counts: NDArray[np.integer], first: float
) -> tuple[NDArray[np.int64], Floats]:  # fmt: skip
    """Return counts by at most COARSE geometric radii from `first` to the longest, and these."""
    radii = classes.radii()
    begin = int(np.searchsorted(radii, first * (1 - 1e-9)))
    begin = min(begin, classes.count - 2)
    chosen = np.unique(np.rint(np.linspace(begin, classes.count - 1, COARSE)).astype(np.int64))
    totals = np.cumsum(counts, axis=1)[:, chosen]
    return np.diff(totals, axis=1, prepend=0), radii[chosen]
