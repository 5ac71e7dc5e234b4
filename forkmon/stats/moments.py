"""Moments: count, mean, central moments, extremes and L1 of finite values, and their merge.

Formulas: the pairwise update of Chan, Golub & LeVeque (1979), extended to fourth order by
Pébay (2008, Sandia SAND2008-6212), rewritten for central *means* with the shares a = n1/n and
b = n2/n, so that no intermediate grows like a power of n (integer powers overflow from
n = 55,000 on).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, sqrt

FAINTEST = 1e-150
"""Variances below this lose digits of the fourth moment to underflow: shape is undefined there."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of n finite values; `mu2`..`mu4` are population central moments (divided by n)."""

    n: int = 0
    mean: float = 0.0
    mu2: float = 0.0
    mu3: float = 0.0
    mu4: float = 0.0
    lo: float = inf
    hi: float = -inf
    mean_abs: float = 0.0
    """L1 / n: kept as a mean, for the same reason as the moments."""

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets of values together.

        The empty Moments is the identity, exactly. Commutative exactly; associative up to
        rounding (kernels fix the order, so that results have the same bits everywhere).
        """
        if other.n == 0:
            return self
        if self.n == 0:
            return other
        if (self.n, self.mean) > (other.n, other.mean):
            return _merged(other, self)  # one order of the operands: commutative to the bit
        return _merged(self, other)

    @property
    def l1(self) -> float | None:
        """Return the sum of absolute values."""
        return _finite(self.mean_abs * self.n)

    @property
    def l2(self) -> float | None:
        """Return the Euclidean norm."""
        return _finite(sqrt(self.n) * sqrt(self.mu2 + self.mean * self.mean))

    @property
    def std(self) -> float | None:
        """Return the population standard deviation (ddof 0); None without values."""
        return _finite(sqrt(self.mu2)) if self.n else None

    @property
    def skew(self) -> float | None:
        """Return the population skewness; None where the values are constant."""
        if not self._spread():
            return None
        return _finite(self.mu3 / self.mu2 / sqrt(self.mu2))

    @property
    def kurtosis(self) -> float | None:
        """Return the population excess kurtosis; None where the values are constant."""
        if not self._spread():
            return None
        return _finite(self.mu4 / self.mu2 / self.mu2 - 3.0)

    def _spread(self) -> bool:
        # A constant merged from rounded means has a tiny false variance: lo == hi tells.
        return self.n > 0 and self.lo < self.hi and self.mu2 > FAINTEST


EMPTY = Moments()
"""The moments of no values: the identity of `merge`."""


def _merged(x: Moments, y: Moments) -> Moments:
    n = x.n + y.n
    a, b = x.n / n, y.n / n
    delta = y.mean - x.mean
    ab, d2 = a * b, delta * delta
    return Moments(
        n=n,
        mean=x.mean + delta * b,  # exact where both means are equal
        mu2=a * x.mu2 + b * y.mu2 + ab * d2,
        mu3=a * x.mu3 + b * y.mu3 + ab * (a - b) * d2 * delta + 3 * ab * delta * (y.mu2 - x.mu2),
        mu4=(
            a * x.mu4
            + b * y.mu4
            + ab * (a * a - ab + b * b) * d2 * d2
            + 6 * ab * d2 * (a * y.mu2 + b * x.mu2)
            + 4 * ab * delta * (y.mu3 - x.mu3)
        ),
        lo=min(x.lo, y.lo),
        hi=max(x.hi, y.hi),
        mean_abs=a * x.mean_abs + b * y.mean_abs,
    )


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
