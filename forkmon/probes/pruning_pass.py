"""One pass over a tensor: its magnitudes counted, zeros in a pattern found, rounding measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forkmon.formats.refs import ITEM_BYTES, TensorRef
from forkmon.kernels.protocol import numpy_dtype
from forkmon.probes.pruning_ladder import Tally, of_codes, of_values
from forkmon.probes.pruning_rounding import TARGETS, Target, squared_error
from forkmon.stats import grids

Read = Callable[[TensorRef, int, memoryview], None]
Tick = Callable[[int], None]
"""Told the bytes that were read since the last time."""

CHUNK = 1 << 17
"""Elements read at once, about: whole rows, in multiples of a tile, that a cache holds."""

TILE = 32
"""Rows and columns of a block that may be all zero."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Zeros that hardware can skip: groups of four with two of them, tiles of nothing else."""

    groups: int = 0
    two_four: int = 0
    tiles: int = 0
    empty_tiles: int = 0

    def plus(self, other: Pattern) -> Pattern:
        """Return both together."""
        return Pattern(
            self.groups + other.groups,
            self.two_four + other.two_four,
            self.tiles + other.tiles,
            self.empty_tiles + other.empty_tiles,
        )


NO_PATTERN = Pattern()


@dataclass(frozen=True, slots=True)
class Passed:
    """What the pass over one tensor found."""

    grid: str
    tally: Tally
    nonfinite: int
    pattern: Pattern
    errors: dict[Target, float]
    """Sums of squared errors of rounding."""


def passed(tensor: TensorRef, read: Read, tick: Tick) -> Passed:
    """Return what a tensor holds; types of 32 bits and more are read twice."""
    grid = grids.GRID_OF_DTYPE[tensor.dtype]
    if grids.grid(grid).exact:
        return _of_codes(tensor, grid, read, tick)
    return _of_values(tensor, grid, read, tick)


def chunks(tensor: TensorRef, read: Read) -> Iterator[NDArray[np.generic]]:
    """Yield a tensor's rows, (rows, columns), many at once; a vector is one column."""
    columns = max(1, tensor.shape[-1] if len(tensor.shape) > 1 else 1)
    rows = tensor.size // columns
    step = max(TILE, CHUNK // columns // TILE * TILE)
    item = ITEM_BYTES[tensor.dtype]
    for first in range(0, rows, step):
        count = min(step, rows - first)
        raw = np.empty(count * columns * item, np.uint8)
        read(tensor, first * columns, raw.data)
        yield raw.view(numpy_dtype(tensor.dtype)).reshape(count, columns)


def _of_codes(tensor: TensorRef, grid: str, read: Read, tick: Tick) -> Passed:
    size = grids.grid(grid).size
    counts = np.zeros(size, np.int64)
    pattern = Pattern()
    for chunk in chunks(tensor, read):
        found = np.bincount(chunk.ravel(), minlength=size)
        counts += found
        zeros = int(found[0] + found[size // 2])
        flags = _is_zero_code(chunk, size) if zeros else chunk  # hardly a tensor has zeros
        pattern = pattern.plus(_pattern(tensor, flags, zeros))
        tick(chunk.nbytes)
    tally, nonfinite = of_codes(grid, counts)
    table = grids.grid(grid)
    used = np.flatnonzero((counts > 0) & table.finite)
    values = table.low[used]
    largest = float(np.abs(values).max(initial=0.0))
    errors: dict[Target, float] = {
        target: squared_error(target, values, largest, counts[used]) for target in TARGETS
    }
    return Passed(grid, tally, nonfinite, pattern, errors)


def _of_values(tensor: TensorRef, grid: str, read: Read, tick: Tick) -> Passed:
    tally, nonfinite = of_values(np.zeros(0))
    pattern, largest = Pattern(), 0.0
    for chunk in chunks(tensor, read):
        values = chunk.astype(np.float64).ravel()
        found, odd = of_values(values)
        tally, nonfinite = tally.plus(found), nonfinite + odd
        zeros = chunk == 0
        pattern = pattern.plus(_pattern(tensor, zeros, int(np.count_nonzero(zeros))))
        largest = max(largest, float(np.abs(values[np.isfinite(values)]).max(initial=0.0)))
        tick(chunk.nbytes)
    errors: dict[Target, float] = dict.fromkeys(TARGETS, 0.0)
    for chunk in chunks(tensor, read):
        values = chunk.astype(np.float64).ravel()
        values = values[np.isfinite(values)]
        for target in TARGETS:
            errors[target] += squared_error(target, values, largest)
        tick(chunk.nbytes)
    return Passed(grid, tally, nonfinite, pattern, errors)


def _is_zero_code(chunk: NDArray[np.generic], size: int) -> NDArray[np.bool_]:
    codes = chunk.astype(np.uint16)
    found: NDArray[np.bool_] = (codes & np.uint16(size // 2 - 1)) == 0
    return found


def _pattern(tensor: TensorRef, is_zero: NDArray[np.generic], zeros: int) -> Pattern:
    """Return the pattern of one chunk of rows; `is_zero` is not looked at where `zeros` is 0."""
    rows, columns = is_zero.shape
    if len(tensor.shape) < 2 or columns < 2:
        return Pattern()
    turned = tensor.view is not None and tensor.view.transposed
    groups = (rows // 4) * columns if turned else rows * (columns // 4)
    tiles = (rows // TILE) * (columns // TILE)
    if not zeros:
        return Pattern(groups, 0, tiles, 0)
    flags = is_zero.astype(np.bool_)
    along = flags.T if turned else flags
    fours = along[:, : along.shape[1] // 4 * 4].reshape(along.shape[0], -1, 4)
    square = flags[: rows // TILE * TILE, : columns // TILE * TILE]
    cut = square.reshape(rows // TILE, TILE, columns // TILE, TILE)
    return Pattern(
        groups,
        int((fours.sum(axis=2) >= 2).sum()),
        tiles,
        int(cut.all(axis=(1, 3)).sum()) if tiles else 0,
    )
