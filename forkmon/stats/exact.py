"""Sums whose rounding does not depend on the order of arrival: a fixed tree, errors carried."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sums(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of each row of `terms`, shape (rows, n), correct to the last bit or nearly.

    Halves are added in a fixed tree with the rounding error of every addition kept (TwoSum:
    Knuth, The Art of Computer Programming 2, 4.2.2), as if in twice the precision.
    """
    rows, n = terms.shape
    width = 1 << max(0, n - 1).bit_length()
    total = np.zeros((rows, width))
    total[:, :n] = terms
    lost = np.zeros_like(total)
    while width > 1:
        width //= 2
        a, b = total[:, :width], total[:, width:]
        total = a + b
        shared = total - a
        lost = lost[:, :width] + lost[:, width:] + ((a - (total - shared)) + (b - shared))
    return np.asarray((total + lost)[:, 0])
