"""Compiled loops over codes: count them, and write the values they stand for."""

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
def widen_bf16(codes: Array, bits: Array) -> bool:
    """Write bf16 codes as float32 patterns; return whether all are finite."""
    most = np.uint16(0)
    for i in range(codes.size):
        bits[i] = np.uint32(codes[i]) << np.uint32(16)
        magnitude = np.uint16(codes[i] & np.uint16(0x7FFF))
        most = max(most, magnitude)
    return bool(most < 0x7F80)


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def widen_f16(codes: Array, values: Array, bits: Array) -> bool:
    """Write fp16 codes as float32 (`bits` is `values` seen as uint32); return if all are finite.

    The exponent is moved by a multiplication with 2^112, which also makes subnormals right.
    """
    most = np.uint16(0)
    for i in range(codes.size):
        magnitude = np.uint16(codes[i] & np.uint16(0x7FFF))
        most = max(most, magnitude)
        bits[i] = np.uint32(magnitude) << np.uint32(13)
    scale = np.float32(2.0**112)
    for i in range(codes.size):
        values[i] *= scale
    for i in range(codes.size):
        bits[i] |= np.uint32(codes[i] & np.uint16(0x8000)) << np.uint32(16)
    return bool(most < 0x7C00)


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def look_up(codes: Array, table: Array, values: Array) -> None:
    """Write the table's entry of each code."""
    for i in range(codes.size):
        values[i] = table[codes[i]]


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
