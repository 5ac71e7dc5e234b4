"""How much of a model's energy its small weights hold: exact sums over magnitudes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from forkmon.stats import grids

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SPIKE = 0.01
"""Weights below this part of the root mean square are the spike, all others the slab."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Finite elements by magnitude code: the code of a type without its sign.

    On grids of 8 and 16 bits a code is one magnitude; on the prefix grid it is a cell, relative
    width 2^-7, with its own exact sums.
    """

    count: Ints
    absolute: Floats
    """Sum of |w| in each code."""
    energy: Floats
    """Sum of w^2 in each code."""

    def plus(self, other: Tally) -> Tally:
        """Return both together."""
        return Tally(
            self.count + other.count, self.absolute + other.absolute, self.energy + other.energy
        )


Tallies = Mapping[str, Tally]
"""By grid: a block may hold several types."""


def of_codes(grid: str, counts: Ints) -> tuple[Tally, int]:
    """Return the tally of counts by code of an exact grid, and how many are not finite."""
    half = len(counts) // 2
    magnitude = magnitudes(grid)
    folded = counts[:half] + counts[half:]
    finite = np.isfinite(magnitude)
    kept = np.where(finite, folded, 0)
    safe = np.where(finite, magnitude, 0.0)
    return Tally(kept, kept * safe, kept * safe**2), int(folded[~finite].sum())


def of_values(values: Floats) -> tuple[Tally, int]:
    """Return the tally of values on the prefix grid, and how many are not finite."""
    finite = values[np.isfinite(values)]
    magnitude = np.abs(finite)
    limit = float(np.finfo(np.float32).max)
    bits = np.minimum(magnitude, limit).astype(np.float32).view(np.uint32)
    cell = (bits >> np.uint32(16)).astype(np.intp)
    size = 1 << 15
    count = np.bincount(cell, minlength=size)
    absolute: Floats = np.bincount(cell, magnitude, size).astype(np.float64)
    energy: Floats = np.bincount(cell, magnitude * magnitude, size).astype(np.float64)
    return Tally(count, absolute, energy), len(values) - len(finite)


@cache
def magnitudes(grid: str) -> Floats:
    """Return the magnitude of each code without sign of an exact grid; NaN where not finite."""
    table = grids.grid(grid).low
    return np.abs(table[: len(table) // 2])


def together(first: Tallies, second: Tallies) -> dict[str, Tally]:
    """Return the tallies of both, grid by grid."""
    found = dict(first)
    for grid, tally in second.items():
        found[grid] = found[grid].plus(tally) if grid in found else tally
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Ladder:
    """Magnitudes, ascending, with how many elements stand on each rung."""

    magnitude: Floats
    count: Ints
    absolute: Floats
    energy: Floats
    below: Ints = field(init=False)
    """Elements on lower rungs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "below", np.cumsum(self.count) - self.count)

    @property
    def n(self) -> int:
        """Return the number of elements."""
        return int(self.count.sum())

    @property
    def total(self) -> float:
        """Return the energy of all elements."""
        return float(self.energy.sum())

    def energy_below(self, pruned: Floats) -> Floats:
        """Return the energy of the `pruned` smallest elements; within a rung they are alike."""
        edges = np.append(self.below, self.n).astype(np.float64)
        sums = np.append(0.0, np.cumsum(self.energy))
        found: Floats = np.interp(pruned, edges, sums)
        return found

    def prunable(self, share: float) -> tuple[float, float] | None:
        """Return the part of elements, the smallest ones, that hold at most `share` of the energy.

        And the largest magnitude among them. None without energy.
        """
        if self.n == 0 or self.total == 0:
            return None
        allowed = share * self.total
        sums = np.cumsum(self.energy)
        rung = int(np.searchsorted(sums, allowed, side="right"))
        if rung >= len(sums):
            return 1.0, float(self.magnitude[-1])
        left = allowed - (float(sums[rung - 1]) if rung else 0.0)
        each = float(self.energy[rung]) / int(self.count[rung])
        part = int(self.count[rung]) if each == 0 else int(left / each * (1 + 1e-12))
        part = min(part, int(self.count[rung]))
        highest = rung if part else rung - 1
        at = float(self.magnitude[highest]) if highest >= 0 else 0.0
        return (int(self.below[rung]) + part) / self.n, at

    def gini(self) -> float | None:
        """Return the Gini index of |w|: 0 for equal magnitudes, 1 for a single one of many."""
        total = float(self.absolute.sum())
        if self.n == 0 or total == 0:
            return None
        reached = np.cumsum(self.absolute)
        twice = float((self.count / self.n * (2 * reached - self.absolute)).sum())
        return 1.0 - twice / total

    def hoyer(self) -> float | None:
        """Return Hoyer's (sqrt n - L1/L2) / (sqrt n - 1): 0 for equal magnitudes, 1 for one."""
        if self.n < 2 or self.total == 0:
            return None
        root = float(np.sqrt(self.n))
        ratio = float(self.absolute.sum()) / float(np.sqrt(self.total))
        return (root - ratio) / (root - 1)

    def spike(self) -> tuple[float, float] | None:
        """Return the parts of elements and of energy below `SPIKE` of the root mean square."""
        if self.n == 0 or self.total == 0:
            return None
        border = SPIKE * float(np.sqrt(self.total / self.n))
        inside = self.magnitude < border
        share = float(self.count[inside].sum()) / self.n
        return share, float(self.energy[inside].sum()) / self.total

    def zeros(self) -> int:
        """Return how many elements are exactly 0."""
        return int(self.count[self.magnitude == 0].sum())


def ladder(tallies: Tallies) -> Ladder:
    """Return all elements of a block in the order of their magnitudes."""
    parts = [_rungs(grid, tally) for grid, tally in tallies.items()]
    columns: list[NDArray[np.generic]] = [
        np.concatenate([part[place] for part in parts]) if parts else np.zeros(0)
        for place in range(4)
    ]
    order = np.argsort(columns[0], kind="stable")
    magnitude, count, absolute, energy = (column[order] for column in columns)
    return Ladder(
        magnitude.astype(np.float64),
        count.astype(np.int64),
        absolute.astype(np.float64),
        energy.astype(np.float64),
    )


def _rungs(grid: str, tally: Tally) -> Sequence[NDArray[np.generic]]:
    used = np.flatnonzero(tally.count)
    count, energy = tally.count[used], tally.energy[used]
    # A cell of prefixes stands at the root mean square of what it holds.
    at = np.sqrt(energy / count) if grid == grids.PREFIX else magnitudes(grid)[used]
    return at, count, tally.absolute[used], energy
