"""Exact distances between two versions of a tensor, from their elements."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from forkmon.kernels.protocol import Bytes, numpy_dtype
from forkmon.stats import grids


@dataclass(frozen=True, slots=True)
class PairSums:
    """Sums over the elements that are finite in both versions; addable."""

    squares_a: float = 0.0
    squares_b: float = 0.0
    squares_difference: float = 0.0
    largest: float = 0.0
    changed: int = 0
    """Elements whose values differ."""
    skipped: int = 0
    """Elements that are not finite in one version or both."""

    def add(self, other: PairSums) -> PairSums:
        """Return the sums over both sets of elements."""
        return PairSums(
            self.squares_a + other.squares_a,
            self.squares_b + other.squares_b,
            self.squares_difference + other.squares_difference,
            max(self.largest, other.largest),
            self.changed + other.changed,
            self.skipped + other.skipped,
        )

    @property
    def distance(self) -> float:
        """Return |a - b|."""
        return sqrt(self.squares_difference)

    @property
    def ratio(self) -> float | None:
        """Return |a - b| / |a|; None where a is zero."""
        return self.distance / sqrt(self.squares_a) if self.squares_a > 0 else None

    @property
    def cosine(self) -> float | None:
        """Return the cosine of a and b; None where one is zero."""
        if self.squares_a == 0 or self.squares_b == 0:
            return None
        inner = (self.squares_a + self.squares_b - self.squares_difference) / 2
        return max(-1.0, min(1.0, inner / sqrt(self.squares_a) / sqrt(self.squares_b)))


def compare(dtype_a: str, a: Bytes, dtype_b: str, b: Bytes) -> PairSums:
    """Return the sums over two chunks of equal length in elements."""
    out = np.zeros(6)
    _pair_sums(floats(dtype_a, a), floats(dtype_b, b), out)
    squares_a, squares_b, squares_difference, largest, changed, skipped = out.tolist()
    return PairSums(squares_a, squares_b, squares_difference, largest, int(changed), int(skipped))


def floats(dtype: str, data: Bytes) -> NDArray[np.floating[Any]]:
    """Return elements as float32 where that is exact, else as float64."""
    values = data.view(numpy_dtype(dtype))
    if dtype in ("f32", "f64"):
        return values
    if dtype == "bf16":
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype == "f16":
        return values.view(np.float16).astype(np.float32)
    grid = grids.grid(grids.GRID_OF_DTYPE[dtype])
    if grid.exact:
        return np.asarray(grid.low[values])
    return values.astype(np.float64)


@njit(nogil=True, cache=True, error_model="numpy")
def _pair_sums(a: NDArray[Any], b: NDArray[Any], out: NDArray[np.float64]) -> None:
    for i in range(a.size):
        x, y = np.float64(a[i]), np.float64(b[i])
        d = x - y
        if d - d == 0.0:
            out[0] += x * x
            out[1] += y * y
            out[2] += d * d
            out[3] = max(out[3], abs(d))
            out[4] += d != 0.0
        else:
            out[5] += 1
