"""The CPU kernel: numba loops over chunks, the interpreter lock released."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forkmon.kernels import compiled
from forkmon.kernels.protocol import Bytes, numpy_dtype
from forkmon.stats import codes as code_counts
from forkmon.stats import grids, reduced
from forkmon.stats.blocks import BLOCK, Blocks
from forkmon.stats.codes import Codes, Counts
from forkmon.stats.summary import Summary

PROBE = 4096
"""Elements looked at to choose the table variant."""

CROWDED = 0.1
"""Share of the commonest code from which counting into one table stalls on its own stores."""


class CpuKernel:
    """Exact code tables for 16 bits and fewer; prefixes and block moments for wider types."""

    name = "cpu"

    def accumulator(self, dtype: str) -> CpuAccumulator:
        """Return a fresh accumulator for elements of one tensor."""
        return CpuAccumulator(dtype)


class CpuAccumulator:
    """Takes chunks of one tensor; one a thread."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._grid = grids.grid(grids.GRID_OF_DTYPE[dtype])
        self._tables = np.zeros((4, self._grid.size), np.int64)
        self._whole: list[NDArray[np.int64]] = []
        self._real: list[NDArray[np.float64]] = []

    def add(self, data: Bytes, first: int) -> None:
        """Take the little-endian elements in `data`; `first` is the global index of the first."""
        values = data.view(numpy_dtype(self._dtype))
        if self._grid.exact:
            _count(values, self._tables)
        else:
            compiled.count_prefixes(_float32(values).view(np.uint32), self._tables)
            self._measure(values, first)

    def summary(self) -> Summary:
        """Return the summary of everything added."""
        counts = Codes(self._grid.name, self._tables.sum(axis=0))
        whole = np.array(self._whole, np.int64).reshape(-1, 6)
        real = np.array(self._real, np.float64).reshape(-1, 7)
        return Summary(self._dtype, counts, Blocks(whole, real))

    def shifted(self, data: Bytes, pivot: float) -> Counts:
        """Return counts by reduced key of `float32(x - pivot)` over the finite elements."""
        values = data.view(numpy_dtype(self._dtype)).astype(np.float64)
        offsets = values[np.isfinite(values)] - pivot
        keys = code_counts.key_of_offsets(offsets) + reduced.MAX_KEY
        return np.bincount(keys, minlength=code_counts.SHIFTED_SIZE).astype(np.int64)

    def _measure(self, values: NDArray[np.generic], first: int) -> None:
        at = 0
        while at < len(values):
            border = ((first + at) // BLOCK + 1) * BLOCK - first
            piece = values[at : min(border, len(values))]
            whole, real = np.zeros(6, np.int64), np.zeros(7, np.float64)
            whole[0] = first + at
            compiled.piece_moments(piece, whole, real)
            self._whole.append(whole)
            self._real.append(real)
            at = border


def _count(codes: NDArray[np.generic], tables: NDArray[np.int64]) -> None:
    if _crowded(codes):
        compiled.count_four_tables(codes, tables)
    else:
        compiled.count_one_table(codes, tables[0])


def _crowded(codes: NDArray[np.generic]) -> bool:
    """Return whether one code is so common that counting would wait on its own last store."""
    probe = codes[:: max(1, len(codes) // PROBE)][:PROBE]
    if len(probe) == 0:
        return False
    return bool(np.bincount(probe).max() > CROWDED * len(probe))


def _float32(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the values as float32; finite ones beyond its range saturate."""
    if values.dtype == np.float32:
        return values  # type: ignore[return-value]  # the dtype was just compared
    limit = float(np.finfo(np.float32).max)
    wide = values.astype(np.float64)
    return np.where(np.isfinite(wide), np.clip(wide, -limit, limit), wide).astype(np.float32)
