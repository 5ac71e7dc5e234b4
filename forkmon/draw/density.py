"""A reduced histogram as a density: how much of its mass lies below a value, and its atom.

Inside a cell of the reduced codes the mass counts as spread evenly. Cell 0 is so narrow that its
mass is an atom: values that equal the pivot (zero, nearly always).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from struct import pack, unpack

from forkmon.stats.reduced import MAX_KEY, SHIFT, Reduced, edge

_LARGEST = 3.4028234663852886e38


@dataclass(frozen=True, slots=True)
class Density:
    """The spread mass of a tensor's values by key, and its one atom."""

    n: int
    pivot: float
    keys: tuple[int, ...]
    counts: tuple[int, ...]
    sums: tuple[int, ...]
    """Mass below each key, and at the end all spread mass."""
    atom: float
    atom_mass: int
    atom_low: float
    atom_high: float
    """Where the atom's values lie: one number, or a cell's edges for a one-cell tensor."""

    @property
    def spread(self) -> int:
        """Return the number of values outside the atom."""
        return self.sums[-1]

    def below(self, value: float) -> float:
        """Return the spread mass below `value`."""
        offset = min(_LARGEST, max(-_LARGEST, value - self.pivot))
        key = _key_of(offset)
        index = bisect_left(self.keys, key)
        mass = self.sums[index]
        if index == len(self.keys) or self.keys[index] != key:
            return float(mass)
        low, high = _cell(key)
        part = (offset - low) / (high - low)
        return mass + self.counts[index] * min(1.0, max(0.0, part))

    def quantile(self, level: float) -> float:
        """Return the value below which `level` of the spread mass lies (spread mass needed)."""
        wanted = level * self.spread
        index = max(0, bisect_left(self.sums, wanted) - 1)
        low, high = _cell(self.keys[index])
        part = (wanted - self.sums[index]) / self.counts[index]
        return self.pivot + low + (high - low) * min(1.0, max(0.0, part))

    def extent(self) -> tuple[float, float]:
        """Return the outer edges of the spread mass (spread mass needed)."""
        return self.pivot + _cell(self.keys[0])[0], self.pivot + _cell(self.keys[-1])[1]


@dataclass(frozen=True, slots=True)
class Columns:
    """A density by columns: spread mass, the atom's column, and what lies outside."""

    masses: tuple[float, ...]
    left: float
    right: float
    atom_column: int | None

    def total(self, density: Density) -> float:
        """Return all mass: columns, outside, and the atom."""
        inside = sum(self.masses) + self.left + self.right
        return inside + (density.atom_mass if self.atom_column is not None else 0)


def density_of(reduced: Reduced) -> Density:
    """Return the density of reduced codes; a tensor of one key is all atom."""
    keys, counts = reduced.keys, reduced.counts
    at = bisect_left(keys, 0)
    alone = len(keys) == 1
    has_zero = at < len(keys) and keys[at] == 0
    low = high = reduced.pivot
    mass = 0
    if alone and not has_zero:
        cell_low, cell_high = _cell(keys[0])
        low, high, mass = reduced.pivot + cell_low, reduced.pivot + cell_high, counts[0]
        keys = counts = ()
    elif has_zero:
        mass = counts[at]
        keys, counts = keys[:at] + keys[at + 1 :], counts[:at] + counts[at + 1 :]
    sums = (0, *accumulate(counts))
    centre = low + (high - low) / 2
    return Density(sums[-1] + mass, reduced.pivot, keys, counts, sums, centre, mass, low, high)


def columns(density: Density, edges: Sequence[float]) -> Columns:
    """Return a density's mass in the columns between ascending `edges`; nothing is lost.

    The atom goes whole to the column that holds it, or outside where no column does.
    """
    below = [density.below(value) for value in edges]
    masses = tuple(b - a for a, b in pairwise(below))
    left, right = below[0], density.spread - below[-1]
    if density.atom_mass == 0:
        return Columns(masses, left, right, None)
    if density.atom < edges[0]:
        return Columns(masses, left + density.atom_mass, right, None)
    if density.atom > edges[-1]:
        return Columns(masses, left, right + density.atom_mass, None)
    column = min(len(masses) - 1, _column_of(density.atom, edges))
    return Columns(masses, left, right, column)


def _column_of(value: float, edges: Sequence[float]) -> int:
    index = bisect_left(edges, value)
    # A value on an edge belongs to the column on its right, as cells hold their low edge.
    return index if index < len(edges) and edges[index] == value else max(0, index - 1)


@cache
def _edges() -> tuple[float, ...]:
    words = range(0, (MAX_KEY + 1) << SHIFT, 1 << SHIFT)
    return (*unpack(f"<{len(words)}f", pack(f"<{len(words)}I", *words)), edge(MAX_KEY + 1))


def _cell(key: int) -> tuple[float, float]:
    edges = _edges()
    if key > 0:
        return edges[key], edges[key + 1]
    if key < 0:
        return -edges[1 - key], -edges[-key]
    return -edges[1], edges[1]


def _key_of(offset: float) -> int:
    magnitude: int = unpack("<I", pack("<f", offset))[0]
    key = (magnitude & 0x7FFFFFFF) >> SHIFT
    return -key if magnitude >> 31 else key
