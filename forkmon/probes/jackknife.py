"""Standard errors by leaving out one sample at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its standard error; the error is None where one sample is all there is."""

    value: float
    error: float | None


def of_mean(values: Floats) -> Estimate:
    """Return the mean of samples."""
    return of_function(lambda rows: float(rows.mean()), values[:, None])


def of_function(statistic: Callable[[Floats], float], rows: Floats) -> Estimate:
    """Return a statistic of samples (one a row), its error by the jackknife.

    Squared error (n - 1)/n sum (x_i - mean)^2 over the statistics without row i (Tukey 1958).
    """
    whole, n = statistic(rows), len(rows)
    if n < 2:
        return Estimate(whole, None)
    without = np.array([statistic(np.delete(rows, row, axis=0)) for row in range(n)])
    error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    return Estimate(whole, error if np.isfinite(error) else None)
