"""How tall each column of a histogram stands: densities on a common y scale, in eighth rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil, floor, log1p, log10

from forkmon.draw.density import Columns, Density, columns
from forkmon.draw.scale import Linear, Scale, nice_ticks

EIGHTHS = 8
_HEADROOM = 2.0
"""How much taller than the current step another step may make the y scale."""
_ATOM_SLACK = 1.1
BINS_PER_CUBE_ROOT = 3.0
"""Bins for n values, over the cube root of n: finer than Rice's rule, for the range has tails."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One tensor at one step by columns: density of the spread mass, and the atom's column."""

    source: Density
    columns: Columns
    heights: tuple[float, ...]
    """Share of all values, per unit of value."""
    atom_height: float
    """The density the atom would have if spread over its column; 0 without an atom."""

    @property
    def peak(self) -> float:
        """Return the largest density outside the atom."""
        return max(self.heights, default=0.0)


@dataclass(frozen=True, slots=True)
class Rise:
    """The y scale: the density that fills all rows, linear or as the log of a count."""

    full: float
    per_count: float
    """How many values a density of 1 stands for, in the widest column; 0 for a linear scale."""

    def level(self, height: float, rows: int) -> int:
        """Return the eighths of a row that a density fills, unclipped."""
        if self.full <= 0 or height <= 0:
            return 0
        part = height / self.full
        if self.per_count:
            part = log1p(height * self.per_count) / log1p(self.full * self.per_count)
        return floor(min(part, 4.0) * rows * EIGHTHS + 0.5)

    def ticks(self, about: int) -> list[float]:
        """Return round densities above 0, lowest first."""
        if self.full <= 0:
            return []
        if not self.per_count:
            return [tick for tick in nice_ticks(0, self.full, about) if tick > 0]
        top = floor(log10(self.full))
        bottom = floor(log10(1 / self.per_count)) + 1
        every = max(1, -(-(top - bottom + 1) // max(1, about)))
        return [10.0**power for power in range(top, bottom - 1, -every)][::-1]


def edges(scale: Scale, count: int) -> list[float]:
    """Return the ascending edges of `count` columns of equal length on the scale."""
    if isinstance(scale, Linear):
        gap = (scale.hi - scale.lo) / count
        return [*(scale.lo + gap * index for index in range(count)), scale.hi]
    return [scale.value(index / count) for index in range(count + 1)]


def profile(source: Density, bounds: Sequence[float]) -> Profile:
    """Return a density by columns."""
    cut = columns(source, bounds)
    n = max(1, source.n)
    widths = [b - a for a, b in pairwise(bounds)]
    heights = _binned(cut.masses, widths, n)
    atom = 0.0
    if cut.atom_column is not None:
        at = cut.atom_column
        atom = heights[at] + source.atom_mass / max(widths[at], 1e-300) / n
    return Profile(source, cut, heights, atom)


def below(source: Density, bounds: Sequence[float]) -> Profile:
    """Return, by columns, the share of all values below each column's right edge."""
    cut = columns(source, bounds)
    n = max(1, source.n)
    masses = list(cut.masses)
    if cut.atom_column is not None:
        masses[cut.atom_column] += source.atom_mass
    shares = [min(1.0, (cut.left + mass) / n) for mass in accumulate(masses)]
    flat = Columns(tuple(masses), cut.left, cut.right, None)
    return Profile(source, flat, tuple(shares), 0.0)


def _binned(masses: Sequence[float], widths: Sequence[float], n: int) -> tuple[float, ...]:
    """Return each column's density, columns joined into bins no finer than `n` values support.

    Few values in many columns draw a comb that looks like many modes and is only chance. About
    2 n^(1/3) bins hold a bell shape (Rice's rule; Freedman & Diaconis 1981 give nearly the same).
    """
    every = max(1, len(masses) // ceil(BINS_PER_CUBE_ROOT * n ** (1 / 3)))
    out: list[float] = []
    for start in range(0, len(masses), every):
        wide = sum(widths[start : start + every])
        mass = sum(masses[start : start + every])
        bin_columns = min(every, len(masses) - start)
        out += [mass / wide / n if wide > 0 else 0.0] * bin_columns
    return tuple(out)


def rise(shown: Profile, others: Sequence[Profile], bounds: Sequence[float], *, log: bool) -> Rise:
    """Return the y scale for the current step and what is laid over it.

    An atom never sets the scale (unless little taller than the rest): it is capped and labelled.
    Where all is atoms the scale is 0.
    """
    peak = shown.peak
    if peak <= 0:
        peak = max((other.peak for other in others), default=0.0)
    others_peak = max((other.peak for other in others), default=0.0)
    full = max(peak, min(others_peak, _HEADROOM * peak))
    if full < shown.atom_height <= full * _ATOM_SLACK:
        full = shown.atom_height
    widest = max(b - a for a, b in pairwise(bounds))
    return Rise(full, widest * max(1, shown.source.n) if log else 0.0)


def capped(item: Profile, scale: Rise) -> bool:
    """Return whether a profile's atom stands taller than the scale, so that it needs a label."""
    return item.atom_height > scale.full * (1 + 1e-9)


def levels(item: Profile, scale: Rise, rows: int) -> list[int]:
    """Return each column's height in eighths of a row, the atom's included."""
    out = [scale.level(height, rows) for height in item.heights]
    at = item.columns.atom_column
    if at is not None:
        out[at] = scale.level(item.atom_height, rows)
    return out
