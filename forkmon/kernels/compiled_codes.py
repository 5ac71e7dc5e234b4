"""Compiled loops that count codes and prefixes, and make odd values fit to be summed."""

from __future__ import annotations

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
def count_prefixes(bits: Array, table: Array) -> None:
    """Add the counts of the top 16 bits of float32 patterns to `table`."""
    for i in range(bits.size):
        table[bits[i] >> np.uint32(16)] += 1


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def count_prefixes_four_tables(bits: Array, tables: Array) -> None:
    """Add the counts of the top 16 bits of float32 patterns to four tables in turn."""
    whole = bits.size - bits.size % 4
    for i in range(0, whole, 4):
        tables[0, bits[i] >> np.uint32(16)] += 1
        tables[1, bits[i + 1] >> np.uint32(16)] += 1
        tables[2, bits[i + 2] >> np.uint32(16)] += 1
        tables[3, bits[i + 3] >> np.uint32(16)] += 1
    for i in range(whole, bits.size):
        tables[0, bits[i] >> np.uint32(16)] += 1


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def zero_nonfinite(x: Array, values: Array) -> None:
    """Write x with zeros in place of NaN and infinities."""
    for i in range(x.size):
        v = x[i]
        values[i] = v if v - v == 0 else 0


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def saturate(x: Array, values: Array) -> None:
    """Write float64 values as float32, finite ones beyond its range as its largest."""
    limit = np.float64(3.4028234663852886e38)
    for i in range(x.size):
        v = np.float64(x[i])
        if v - v == 0.0:
            v = min(max(v, -limit), limit)
        values[i] = np.float32(v)
