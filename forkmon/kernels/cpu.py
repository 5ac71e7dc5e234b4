"""The CPU kernel: numba loops over chunks, the interpreter lock released."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from forkmon.kernels import compiled, compiled_widen
from forkmon.kernels.compiled_hash import WORDS, hash_kilobytes
from forkmon.kernels.compiled_sums import LANES
from forkmon.kernels.protocol import Bytes, hash_keys, numpy_dtype
from forkmon.stats import codes as code_counts
from forkmon.stats import grids, reduced, sketch
from forkmon.stats.blocks import BLOCK, Blocks
from forkmon.stats.codes import Codes, Counts
from forkmon.stats.parts import Part
from forkmon.stats.summary import Summary

PROBE = 1024
"""Elements looked at to choose the table variant."""

CROWDED = 0.1
"""Share of the commonest code from which counting into one table stalls on its own stores."""

KILOBYTE = 8 * WORDS

NO_SIGNS = np.zeros(0, np.float32)

_KIND = {
    "bf16": compiled_widen.BF16, "f16": compiled_widen.F16, "f8_e4m3": compiled_widen.E4M3,
    "f8_e5m2": compiled_widen.E5M2, "i8": compiled_widen.I8, "u8": compiled_widen.U8,
    "bool": compiled_widen.U8,
}  # fmt: skip


class CpuKernel:
    """Exact code tables for 16 bits and fewer; prefixes and block moments for wider types."""

    name = "cpu"

    def __init__(self, *, distribution_only: bool = False) -> None:
        """Take all statistics, or only codes and moments (no sketch, channels or hash)."""
        self._distribution_only = distribution_only

    def accumulator(self, dtype: str, columns: int = 0) -> CpuAccumulator:
        """Return a fresh accumulator for a stretch of elements of one tensor.

        `columns` is the row length of a matrix; 0 for vectors, which have no channels.
        """
        return CpuAccumulator(dtype, columns, distribution_only=self._distribution_only)


class CpuAccumulator:
    """Takes chunks that follow one another in one tensor; one a thread."""

    def __init__(self, dtype: str, columns: int = 0, *, distribution_only: bool = False) -> None:
        self._dtype = dtype
        self._distribution_only = distribution_only
        self._grid = grids.grid(grids.GRID_OF_DTYPE[dtype])
        self._counts_so_far = np.zeros(self._grid.size, np.int64)
        self._tables = np.zeros((1, 65_536), np.uint32)
        """By 16-bit word: a code, the prefix of a wider value, or two 8-bit codes at once."""
        self._four: NDArray[np.uint32] | None = None
        self._uncarried = 0
        self._whole: list[NDArray[np.int64]] = []
        self._real: list[NDArray[np.float64]] = []
        self._digest: int | None = 0
        self._first = self._size = 0
        self._sketch = np.zeros(4 * sketch.WIDTH)
        self._columns = np.zeros(0 if distribution_only else columns)
        self._rows: list[NDArray[np.float64]] = []
        self._scratch = np.empty(BLOCK, np.float32)
        self._lanes = np.empty((7, LANES))

    def add(self, data: Bytes, first: int) -> None:
        """Take the little-endian elements in `data`; `first` is the global index of the first.

        Chunks must follow one another without a gap.
        """
        values = data.view(numpy_dtype(self._dtype))
        if self._size == 0:
            self._first = first
        elif first != self._first + self._size:
            raise ValueError(f"chunk at element {first}, expected {self._first + self._size}")
        if len(values) == 0:
            return
        signs = NO_SIGNS
        if not self._distribution_only:
            self._hash(data, first)
            signs = sketch.signs()
        rows, first_row = self._row_sums(first, len(values))
        if self._grid.exact:
            self._take_codes(values, first, signs, rows, first_row)
        else:
            self._take_values(values, first, signs, rows, first_row)
        self._size += len(values)

    def summary(self) -> Summary:
        """Return the summary of everything added."""
        self._carry()
        whole = np.array(self._whole, np.int64).reshape(-1, 6)
        real = np.array(self._real, np.float64).reshape(-1, 7)
        return Summary(
            self._dtype,
            Codes(self._grid.name, self._counts_so_far.copy()),
            Blocks(whole, real),
            (self._part(),) if self._size and not self._distribution_only else (),
            None if self._distribution_only else self._digest,
        )

    def shifted(self, data: Bytes, pivot: float) -> Counts:
        """Return counts by reduced key of `float32(x - pivot)` over the finite elements."""
        values = data.view(numpy_dtype(self._dtype)).astype(np.float64)
        offsets = values[np.isfinite(values)] - pivot
        keys = code_counts.key_of_offsets(offsets) + reduced.MAX_KEY
        return np.bincount(keys, minlength=code_counts.SHIFTED_SIZE).astype(np.int64)

    def _take_codes(
        self, codes: NDArray[np.generic], first: int, signs: NDArray[np.float32],
        rows: NDArray[np.float64], first_row: int,
    ) -> None:  # fmt: skip
        pairs = codes if codes.itemsize == 2 else self._pairs(codes)
        counts, four = self._counts(_crowded(pairs), len(codes))
        compiled.measure_codes(
            codes, pairs, _KIND.get(self._dtype, compiled_widen.BY_TABLE),
            _values_by_code(self._grid.name), first, counts, four, self._scratch, signs,
            self._sketch, self._columns, rows, first_row, self._lanes,
        )  # fmt: skip

    def _pairs(self, codes: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return 8-bit codes two by two; a last odd one is counted here."""
        if len(codes) % 2:
            self._counts_so_far[int(codes[-1])] += 1
        return codes[: len(codes) // 2 * 2].view(np.uint16)

    def _take_values(
        self, values: NDArray[np.generic], first: int, signs: NDArray[np.float32],
        rows: NDArray[np.float64], first_row: int,
    ) -> None:  # fmt: skip
        x = values if values.dtype.kind == "f" else values.astype(np.float64)
        counts, four = self._counts(_crowded(_prefixes(x)), len(x))
        pieces = len(x) // BLOCK + 2
        whole, real = np.zeros((pieces, 6), np.int64), np.zeros((pieces, 7), np.float64)
        patterns = x.view(np.uint32) if x.dtype == np.float32 else np.zeros(0, np.uint32)
        used = compiled.measure_values(
            x, patterns, first, counts, four, whole, real, self._scratch, np.empty(BLOCK, x.dtype),
            self._scratch.view(np.uint32), signs, self._sketch, self._columns,
            rows, first_row, self._lanes,
        )  # fmt: skip
        self._whole += list(whole[:used])
        self._real += list(real[:used])

    def _counts(self, crowded: bool, size: int) -> tuple[NDArray[np.uint32], bool]:  # noqa: FBT001
        """Return the tables to count `size` elements into, and whether they are four."""
        if self._uncarried + size >= 2**32:
            self._carry()
        self._uncarried += size
        if not crowded:
            return self._tables, False
        if self._four is None:
            self._four = np.zeros((4, 65_536), np.uint32)
        return self._four, True

    def _carry(self) -> None:
        """Move the counts from the small tables, which fit a cache, to the wide one."""
        for tables in (self._tables, self._four):
            if tables is not None:
                counts = tables.sum(axis=0, dtype=np.int64)
                if self._grid.size == 256:
                    by_byte = counts.reshape(256, 256)
                    counts = by_byte.sum(axis=0) + by_byte.sum(axis=1)
                self._counts_so_far += counts
                tables[:] = 0
        self._uncarried = 0

    def _hash(self, data: Bytes, first: int) -> None:
        offset = first * numpy_dtype(self._dtype).itemsize
        if offset % KILOBYTE or self._digest is None:
            self._digest = None  # kilobytes are hashed whole: this piece begins inside one
            return
        whole = len(data) // KILOBYTE * KILOBYTE
        total = self._digest
        if whole:
            words = data[:whole].view("<u8")
            total += int(hash_kilobytes(words, offset // KILOBYTE, hash_keys()))
        if whole < len(data):
            last = np.zeros(KILOBYTE, np.uint8)
            last[: len(data) - whole] = data[whole:]
            index = (offset + whole) // KILOBYTE
            total += int(hash_kilobytes(last.view("<u8"), index, hash_keys()))
        self._digest = total % 2**64

    def _row_sums(self, first: int, size: int) -> tuple[NDArray[np.float64], int]:
        """Return zeros for the rows that a chunk touches, kept for the part; and the first row."""
        width = len(self._columns)
        if not width:
            return np.zeros(0), 0
        base = self._first // width
        need = (first + size - 1) // width + 1 - base
        have = len(self._rows[0]) if self._rows else 0
        if need > have:
            grown = np.zeros(max(need, 2 * have))
            if self._rows:
                grown[:have] = self._rows[0]
            self._rows = [grown]
        return self._rows[0], base

    def _part(self) -> Part:
        width = len(self._columns)
        first_row = self._first // width if width else 0
        last_row = (self._first + self._size - 1) // width + 1 if width else 0
        rows = self._rows[0][: last_row - first_row] if self._rows else np.zeros(0)
        return Part(
            self._first, self._size, sketch.fold(self._sketch), self._columns, rows, first_row
        )


def _crowded(codes: NDArray[np.generic]) -> bool:
    """Return whether one code is so common that counting would wait on its own last store."""
    probe = codes[:: max(1, len(codes) // PROBE)][:PROBE]
    ordered = np.sort(probe)
    far = max(1, int(CROWDED * len(ordered)))
    # In order, a code with more than that share stands at two places so far apart.
    return len(ordered) > far and bool((ordered[far:] == ordered[:-far]).any())


def _prefixes(values: NDArray[np.generic]) -> NDArray[np.uint16]:
    """Return the prefix codes of a probe of float values."""
    probe = values[:: max(1, len(values) // PROBE)][:PROBE]
    with np.errstate(over="ignore", invalid="ignore"):
        return (probe.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


@cache
def _values_by_code(grid: str) -> NDArray[np.float32]:
    g = grids.grid(grid)
    with np.errstate(over="ignore"):
        return np.where(g.finite, g.low, 0.0).astype(np.float32)
