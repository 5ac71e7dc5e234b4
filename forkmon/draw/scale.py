"""Axis scales: where a value lies between the ends of an axis, its ticks and their labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import asinh, ceil, floor, isfinite, log10, sinh
from typing import Protocol

from forkmon.draw.density import Density
from forkmon.draw.glyphs import UNICODE, Glyphs
from forkmon.draw.numbers import step

TAIL = 0.001
"""Share of the mass on either side that a robust range may leave outside, before widening."""

_WIDEN = 0.12
_LEAST_SPAN = 1e-12
_SHORT_OF = 0.7
"""How much closer together than asked for nice ticks may be."""


class Scale(Protocol):
    """A monotone map of values onto 0..1."""

    @property
    def lo(self) -> float:
        """The value at 0."""
        ...

    @property
    def hi(self) -> float:
        """The value at 1."""
        ...

    def place(self, value: float) -> float:
        """Return where `value` lies: 0 at `lo`, 1 at `hi`."""
        ...

    def value(self, place: float) -> float:
        """Return the value at a place."""
        ...

    def ticks(self, about: int) -> list[float]:
        """Return about so many round values inside the range."""
        ...


@dataclass(frozen=True, slots=True)
class Linear:
    """Equal lengths for equal differences."""

    lo: float
    hi: float

    def place(self, value: float) -> float:
        """Return where `value` lies: 0 at `lo`, 1 at `hi`."""
        return (value - self.lo) / (self.hi - self.lo)

    def value(self, place: float) -> float:
        """Return the value at a place."""
        return self.lo + (self.hi - self.lo) * place if place < 1 else self.hi

    def ticks(self, about: int) -> list[float]:
        """Return about so many multiples of 1, 2 or 5 times a power of ten."""
        return nice_ticks(self.lo, self.hi, about)


@dataclass(frozen=True, slots=True)
class Symlog:
    """Linear around 0, logarithmic on both sides beyond the threshold (asinh)."""

    lo: float
    hi: float
    threshold: float

    def place(self, value: float) -> float:
        """Return where `value` lies: 0 at `lo`, 1 at `hi`."""
        low, high = self._ends()
        return (asinh(value / self.threshold) - low) / (high - low)

    def value(self, place: float) -> float:
        """Return the value at a place."""
        if place <= 0:
            return self.lo
        if place >= 1:
            return self.hi
        low, high = self._ends()
        return self.threshold * sinh(low + (high - low) * place)

    def ticks(self, about: int) -> list[float]:
        """Return 0 and signed powers of ten beyond the threshold, or round values if few fit."""
        first = ceil(log10(self.threshold))
        last = floor(log10(max(abs(self.lo), abs(self.hi))))
        every = max(1, ceil((last - first + 1) * 2 / max(2, about)))
        powers = [10.0**power for power in range(last, first - 1, -every)]
        found = sorted({0.0, *powers, *(-p for p in powers)})
        inside = [value for value in found if self.lo <= value <= self.hi]
        return inside if len(inside) > 2 else nice_ticks(self.lo, self.hi, about)

    def _ends(self) -> tuple[float, float]:
        return asinh(self.lo / self.threshold), asinh(self.hi / self.threshold)


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps of a run, linear or as log(step + 1), so that step 0 has a place."""

    lo: float
    hi: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return where a step lies: 0 at the first, 1 at the last."""
        low, high = self.along(self.lo), self.along(self.hi)
        return (self.along(value) - low) / (high - low) if high > low else 0.5

    def value(self, place: float) -> float:
        """Return the step at a place."""
        low, high = self.along(self.lo), self.along(self.hi)
        along = low + (high - low) * place
        return 10.0**along - 1 if self.log else along

    def along(self, value: float) -> float:
        """Return a step's coordinate on the axis: itself, or log10(step + 1)."""
        return log10(max(0.0, value) + 1) if self.log else value

    def ticks(self, about: int) -> list[float]:
        """Return about so many round steps: multiples of 1, 2, 5, or powers of one base."""
        if not self.log:
            return [t for t in nice_ticks(self.lo, self.hi, about) if t == int(t)]
        for base in (2, 4, 10, 100, 1000, 10_000):
            powers = [0.0]
            while (power := float(base ** (len(powers) - 1))) <= self.hi:
                powers.append(power)
            inside = [value for value in powers if value >= self.lo]
            if len(inside) <= max(2, about):
                return inside
        return [self.lo, self.hi]


def nice_ticks(lo: float, hi: float, about: int) -> list[float]:
    """Return about so many multiples of 1, 2 or 5 times a power of ten, from `lo` to `hi`."""
    gap = tick_gap(lo, hi, about)
    if gap <= 0:
        return [lo] if isfinite(lo) else []
    first, last = ceil(lo / gap - 1e-9), floor(hi / gap + 1e-9)
    return [number * gap for number in range(first, last + 1)]


def tick_gap(lo: float, hi: float, about: int) -> float:
    """Return the distance of nice ticks: 1, 2 or 5 times a power of ten; 0 for no range."""
    rough = (hi - lo) / max(1, about)
    if not isfinite(rough) or rough <= max(abs(lo), abs(hi)) * _LEAST_SPAN or rough < 1e-300:
        return 0.0
    power = 10.0 ** floor(log10(rough))
    return next((m * power for m in (1, 2, 5) if m * power >= rough * _SHORT_OF), 10 * power)


def tick_labels(ticks: Sequence[float], glyphs: Glyphs = UNICODE) -> list[str]:
    """Return labels of ticks that all carry as many decimals as their distance needs.

    Where ticks are close together far from 0, the first is written in full and the others as
    their distance from it: `1`, `+2e-7`, `+4e-7`.
    """
    if not ticks:
        return []
    gaps = [b - a for a, b in pairwise(ticks)]
    gap = min(gaps, default=0.0)
    if gap <= 0:
        return [_trimmed(value, glyphs) for value in ticks]
    largest = max(abs(ticks[0]), abs(ticks[-1]))
    uneven = max(gaps) > 1.5 * gap
    if uneven or largest >= 1e5 or gap < 1e-4:
        if largest > 1e3 * gap and not uneven:
            return _relative(ticks, gap, glyphs)
        return [_trimmed(value, glyphs) for value in ticks]
    decimals = max(0, -floor(log10(gap) + 1e-9))
    return [_fixed(value, decimals, glyphs) for value in ticks]


def step_labels(ticks: Iterable[float], glyphs: Glyphs = UNICODE) -> list[str]:
    """Return labels of steps with thousands separators."""
    return [step(round(value), glyphs) for value in ticks]


def robust_range(densities: Iterable[Density], *, whole: bool = False) -> tuple[float, float]:
    """Return a range that shows all densities: all but thin tails, or the `whole` of them.

    Never wider than the values themselves but for a margin; never empty.
    """
    lows: list[float] = []
    highs: list[float] = []
    for item in densities:
        if item.atom_mass:
            lows.append(item.atom)
            highs.append(item.atom)
        if item.spread:
            low, high = _bulk(item, whole=whole)
            lows.append(low)
            highs.append(high)
    if not lows:
        return -1.0, 1.0
    return _opened(min(lows), max(highs))


def symlog(densities: Sequence[Density], lo: float, hi: float) -> Symlog:
    """Return a symlog scale whose linear part holds the middle half of the first density."""
    reach = max(abs(lo), abs(hi))
    first = densities[0]
    threshold = 0.0
    if first.spread:
        threshold = (first.quantile(0.75) - first.quantile(0.25)) / 2
    return Symlog(lo, hi, min(reach, max(threshold, reach * 1e-12)) or 1.0)


def _bulk(item: Density, *, whole: bool) -> tuple[float, float]:
    first, last = item.extent()
    if whole:
        return first, last
    low, high = item.quantile(TAIL), item.quantile(1 - TAIL)
    margin = (high - low) * _WIDEN
    return max(first, low - margin), min(last, high + margin)


def _opened(lo: float, hi: float) -> tuple[float, float]:
    """Return the range itself, or room around one value."""
    largest = max(abs(lo), abs(hi))
    if hi - lo > largest * _LEAST_SPAN:
        return lo, hi
    room = largest / 2 or 1.0
    return lo - room, hi + room


def _relative(ticks: Sequence[float], gap: float, glyphs: Glyphs) -> list[str]:
    first = f"{ticks[0]:.12g}" if abs(ticks[0]) < 1e6 else f"{ticks[0]:.6g}"
    digits = max(0, -floor(log10(gap) + 1e-9))
    first = f"{round(ticks[0], digits):.10g}" if digits < 10 else first
    rest = [f"+{_trimmed(value - ticks[0], glyphs)}" for value in ticks[1:]]
    return [first.replace("-", glyphs.minus).replace("0.", ".", 1), *rest]


def _trimmed(value: float, glyphs: Glyphs) -> str:
    """Return a tick's value in few digits, without zeros that say nothing."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        text = f"{value:.6g}"
        text = text.replace("0.", ".", 1) if abs(value) < 1 else text
    else:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return text.replace("-", glyphs.minus)


def _fixed(value: float, decimals: int, glyphs: Glyphs) -> str:
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        return "0"
    text = text.replace("0.", ".", 1) if abs(value) < 1 else text
    return text.replace("-", glyphs.minus)
