"""Code grids: what value each 16-bit (or 8-bit) code stands for, and in which order.

An exact grid holds every value of its type, so whatever follows from its counts is exact. The
prefix grid ``f32`` holds the top 16 bits of a float32: cells are 2^-7 wide, relative to the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

PREFIX = "f32"
"""The grid of float32 prefixes; also the common grid that groups of tensors use."""

GRID_OF_DTYPE: dict[str, str] = {
    "bool": "u8", "u8": "u8", "i8": "i8", "f8_e4m3": "f8_e4m3", "f8_e5m2": "f8_e5m2",
    "u16": "u16", "i16": "i16", "f16": "f16", "bf16": "bf16",
    "f32": PREFIX, "f64": PREFIX, "i32": PREFIX, "u32": PREFIX, "i64": PREFIX, "u64": PREFIX,
}  # fmt: skip
"""The grid on which each dtype is counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Lookup tables of one grid, indexed by code."""

    name: str
    exact: bool
    low: NDArray[np.float64]
    """Value of each code (exact grids), or the lower end of its cell; NaN where not finite."""
    high: NDArray[np.float64]
    """Equal to `low` on exact grids, else the upper end of the cell."""
    finite: NDArray[np.bool_]
    infinite: NDArray[np.bool_]
    """Codes of infinities; meaningless on the prefix grid, where kernels count them."""
    order: NDArray[np.int64]
    """The finite codes in the order of their values."""

    @property
    def size(self) -> int:
        """Return the number of codes."""
        return len(self.low)


@cache
def grid(name: str) -> Grid:
    """Return the tables of a grid; KeyError names an unknown one."""
    if name == PREFIX:
        return _prefix_grid()
    values = _exact_values(name)
    finite = np.isfinite(values)
    low = np.where(finite, values, np.nan)
    order = np.flatnonzero(finite)
    order = order[np.argsort(low[order], kind="stable")]
    return Grid(name, True, low, low, finite, np.isinf(values), order)


def _exact_values(name: str) -> NDArray[np.float64]:
    codes8 = np.arange(256, dtype=np.uint8)
    codes16 = np.arange(65_536, dtype=np.uint16)
    match name:
        case "u8":
            return codes8.astype(np.float64)
        case "i8":
            return codes8.view(np.int8).astype(np.float64)
        case "u16":
            return codes16.astype(np.float64)
        case "i16":
            return codes16.view(np.int16).astype(np.float64)
        case "f16":
            return codes16.view(np.float16).astype(np.float64)
        case "bf16":
            return _float32_of(codes16)
        case "f8_e4m3":
            return _float8(exponent_bits=4, bias=7, has_infinity=False)
        case "f8_e5m2":
            return _float8(exponent_bits=5, bias=15, has_infinity=True)
        case _:
            raise KeyError(name)


def _float32_of(prefixes: NDArray[np.uint16]) -> NDArray[np.float64]:
    bits = prefixes.astype(np.uint32) << np.uint32(16)
    with np.errstate(invalid="ignore"):  # widening a signalling NaN is no accident here
        return bits.view(np.float32).astype(np.float64)


def _float8(*, exponent_bits: int, bias: int, has_infinity: bool) -> NDArray[np.float64]:
    """Return all 256 values (OCP 8-bit floating point specification, revision 1.0)."""
    mantissa_bits = 7 - exponent_bits
    code = np.arange(256)
    exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1)
    fraction = (code & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    magnitude = np.where(
        exponent == 0,
        np.ldexp(fraction, 1 - bias),
        np.ldexp(1.0 + fraction, exponent - bias),
    )
    top = exponent == (1 << exponent_bits) - 1
    if has_infinity:
        magnitude[top] = np.where(fraction[top] == 0, np.inf, np.nan)
    else:  # e4m3 spends only the all-ones code on NaN
        magnitude[(code & 0x7F) == 0x7F] = np.nan
    return np.where(code & 0x80, -magnitude, magnitude)


def _prefix_grid() -> Grid:
    codes = np.arange(65_536, dtype=np.uint16)
    start = _float32_of(codes)
    magnitude = codes & np.uint16(0x7FFF)
    finite = magnitude < 0x7F80
    end = _float32_of(np.minimum(magnitude.astype(np.uint32) + 1, 0x7FFF).astype(np.uint16))
    end[magnitude == 0x7F7F] = 2.0**128
    negative = codes >= 0x8000
    low = np.where(negative, -end, start)
    high = np.where(negative, start, end)
    low[~finite] = np.nan
    high[~finite] = np.nan
    order = np.flatnonzero(finite)
    order = order[np.argsort(low[order], kind="stable")]
    return Grid(PREFIX, False, low, high, finite, magnitude == 0x7F80, order)
