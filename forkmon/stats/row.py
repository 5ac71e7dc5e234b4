"""The finished numbers of one tensor (or block) at one step: what the store keeps for ever."""

from __future__ import annotations

from dataclasses import dataclass

QUANTILES: tuple[float, ...] = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
"""The quantile levels every row carries."""


@dataclass(frozen=True, slots=True)
class StatRow:
    """One tensor's or block's statistics at one step; undefined numbers are None.

    Moments, extremes, norms and quantiles are over the finite values; `skew` and `kurtosis`
    (excess) are population values, `std` has ddof 0. `n` counts every element.
    """

    n: int
    mean: float | None
    std: float | None
    skew: float | None
    kurtosis: float | None
    min: float | None
    max: float | None
    l1: float | None
    l2: float | None
    zeros: int
    nan: int
    inf: int
    quantiles: tuple[float | None, ...]
    """At `QUANTILES`, same order."""
    distinct: int | None = None
    """Number of distinct finite values where the type makes it countable (16 bits or fewer)."""
    modes: int | None = None
    preview: bool = False

    @property
    def finite(self) -> int:
        """Return the number of finite elements."""
        return self.n - self.nan - self.inf


STATISTICS: tuple[str, ...] = (
    "mean", "std", "skew", "kurtosis", "min", "max", "l1", "l2", "zeros", "nan", "inf",
)  # fmt: skip
"""The scalar statistics by their field names, in the order tables and menus use."""
