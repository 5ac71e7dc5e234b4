"""The compiled loops: the only code that touches elements one by one.

Sums run in eight fixed lanes (lane = index mod 8 inside a piece): shorter sums round less, the
additions of different lanes overlap, and the order never depends on the machine.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def count_one_table(codes: Array, table: Array) -> None:
    """Add the counts of `codes` to `table`; fastest on spread-out codes."""
    for i in range(codes.size):
        table[codes[i]] += 1


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def count_four_tables(codes: Array, tables: Array) -> None:
    """Add the counts of `codes` to four tables in turn: repeats do not wait for each other."""
    whole = codes.size - codes.size % 4
    for i in range(0, whole, 4):
        tables[0, codes[i]] += 1
        tables[1, codes[i + 1]] += 1
        tables[2, codes[i + 2]] += 1
        tables[3, codes[i + 3]] += 1
    for i in range(whole, codes.size):
        tables[0, codes[i]] += 1


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def count_prefixes(bits: Array, tables: Array) -> None:
    """Add the counts of the top 16 bits of float32 patterns to four tables in turn."""
    whole = bits.size - bits.size % 4
    for i in range(0, whole, 4):
        tables[0, bits[i] >> 16] += 1
        tables[1, bits[i + 1] >> 16] += 1
        tables[2, bits[i + 2] >> 16] += 1
        tables[3, bits[i + 3] >> 16] += 1
    for i in range(whole, bits.size):
        tables[0, bits[i] >> 16] += 1


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def piece_moments(x: Array, whole: Array, real: Array) -> None:
    """Write the counts and moments of one block's values (see `stats.blocks` for the columns)."""
    n = zeros = nan = infinite = 0
    low, high = inf, -inf
    sums = np.zeros(8)
    sizes = np.zeros(8)
    for i in range(x.size):
        v = np.float64(x[i])
        if v - v == 0.0:  # finite: inf - inf and NaN - NaN are NaN
            n += 1
            sums[i & 7] += v
            sizes[i & 7] += abs(v)
            low = min(low, v)
            high = max(high, v)
            if v == 0.0:
                zeros += 1
        elif v != v:  # noqa: PLR0124 -- NaN is not itself
            nan += 1
        else:
            infinite += 1
    whole[1], whole[2], whole[3], whole[4], whole[5] = x.size, n, zeros, nan, infinite
    if n == 0:
        return
    total = _lanes(sums)
    mean = total / n if low < high else low
    m2, m3, m4 = np.zeros(8), np.zeros(8), np.zeros(8)
    for i in range(x.size):
        v = np.float64(x[i])
        if v - v == 0.0:
            d = v - mean
            d2 = d * d
            m2[i & 7] += d2
            m3[i & 7] += d2 * d
            m4[i & 7] += d2 * d2
    real[0], real[1], real[2], real[3] = mean, _lanes(m2) / n, _lanes(m3) / n, _lanes(m4) / n
    real[4], real[5], real[6] = low, high, _lanes(sizes) / n


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _lanes(s: Array) -> float:
    total: float = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]))
    return total
