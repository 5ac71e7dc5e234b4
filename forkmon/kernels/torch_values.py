"""Raw bytes on any torch device as codes and as float64 values, the same bits on every device."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from forkmon.stats import grids

_SHORT = {1: torch.uint8, 2: torch.int16}
_FLOAT32_MAX = 3.4028234663852886e38
_NAN_PREFIX = 0x7FC0
"""Top 16 bits of a quiet float32 NaN."""

Bits = tuple[Tensor, int, int]
"""Integers, and the shift and mask that make codes of them: what a counter takes."""


def patterns(raw: Tensor, dtype: str) -> Bits:
    """Return the bits from which an element's code follows as (bits >> shift) & mask."""
    grid = grids.GRID_OF_DTYPE[dtype]
    if grid == grids.PREFIX:
        if dtype == "f32":
            return raw.view(torch.int32), 16, 0xFFFF
        return _prefixes(values(raw, dtype)), 0, 0xFFFF
    size = grids.grid(grid).size
    return raw.view(_SHORT[1 if size == 256 else 2]), 0, size - 1


def codes(bits: Bits) -> Tensor:
    """Return codes as non-negative int32."""
    pattern, shift, mask = bits
    return (pattern.to(torch.int32) >> shift) & mask


def values(raw: Tensor, dtype: str) -> Tensor:
    """Return the values as float64; on exact grids those that are not finite as zero."""
    match dtype:
        case "f32":
            return raw.view(torch.float32).double()
        case "f64":
            return raw.view(torch.float64)
        case "i32":
            return raw.view(torch.int32).double()
        case "u32":
            return (raw.view(torch.int32).long() & 0xFFFFFFFF).double()
        case "i64":
            return raw.view(torch.int64).double()
        case "u64":
            return _unsigned(raw.view(torch.int64))
        case _:
            return _table(grids.GRID_OF_DTYPE[dtype], str(raw.device))[
                codes(patterns(raw, dtype)).long()
            ]


def keys(offsets: Tensor, shift: int) -> Tensor:
    """Return the reduced key of each finite offset, beyond float32 saturated."""
    bits = offsets.clamp(-_FLOAT32_MAX, _FLOAT32_MAX).float().view(torch.int32).long()
    magnitude = (bits & 0x7FFFFFFF) >> shift
    return torch.where(bits < 0, -magnitude, magnitude)


def _unsigned(x: Tensor) -> Tensor:
    """Return uint64 patterns as float64, rounded once."""
    # Halving with the lost bit kept sticky rounds like the whole number would.
    half = ((x >> 1) & 0x7FFFFFFFFFFFFFFF) | (x & 1)
    return torch.where(x < 0, half.double() * 2, x.double())


def _prefixes(x: Tensor) -> Tensor:
    """Return the top 16 bits of each value as float32, finite ones saturated, as int32."""
    finite = torch.isfinite(x)
    saturated = torch.where(finite, x.clamp(-_FLOAT32_MAX, _FLOAT32_MAX), x)
    top = (saturated.float().view(torch.int32) >> 16) & 0xFFFF
    # Devices differ in what they make of a NaN's payload, so those bits are moved by hand.
    bits = x.view(torch.int64)
    nan = ((bits >> 48) & 0x8000) | _NAN_PREFIX | ((bits >> 45) & 0x7F)
    return torch.where(torch.isnan(x), nan.to(torch.int32), top)


@cache
def _table(grid: str, device: str) -> Tensor:
    g = grids.grid(grid)
    return torch.as_tensor(np.where(g.finite, g.low, 0.0)).to(device)
