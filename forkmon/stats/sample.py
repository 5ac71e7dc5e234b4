"""A sample of a tensor's elements at fixed places: the same elements at every checkpoint.

Whether the elements of a fork stay on their side cannot be told from counts: it takes the same
elements again. The places are a function of the tensor's size alone, one at a hashed place in
each of equal parts, so that they are out of step with whatever repeats in a tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from forkmon.errors import GridMismatchError
from forkmon.stats import grids
from forkmon.stats.sketch import splitmix

SIZE = 4096
"""Elements looked at; all of a tensor that has no more."""

_SEED = np.uint64(20_240_313)

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Some elements by their index in `places(size)`; float32, what is larger saturates."""

    ranks: Places
    """Ascending: which of the places."""
    values: NDArray[np.float32]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sample):
            return NotImplemented
        same = self.ranks.tobytes() == other.ranks.tobytes()
        return same and self.values.tobytes() == other.values.tobytes()

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def join(self, other: Sample) -> Sample:
        """Return the elements of both; GridMismatchError if one is in both.

        Identity `EMPTY`, commutative, associative.
        """
        if not len(self.ranks) or not len(other.ranks):
            return self if len(self.ranks) else other
        ranks = np.concatenate([self.ranks, other.ranks])
        order = np.argsort(ranks, kind="stable")
        ranks = ranks[order]
        if np.any(ranks[1:] == ranks[:-1]):
            raise GridMismatchError("two pieces of a tensor cover the same elements")
        return Sample(ranks, np.concatenate([self.values, other.values])[order])


EMPTY = Sample(np.zeros(0, np.int64), np.zeros(0, np.float32))
"""No elements: the identity of `join`."""


def empty() -> Sample:
    """Return no elements."""
    return EMPTY


@lru_cache(maxsize=64)
def places(size: int) -> Places:
    """Return the ascending global indices that are looked at in a tensor of `size` elements."""
    if size <= SIZE:
        return np.arange(size, dtype=np.int64)
    # i * size overflows only beyond 2^51 elements, which no disk holds.
    borders = np.arange(SIZE + 1, dtype=np.int64) * size // SIZE
    hashed = splitmix(np.arange(SIZE, dtype=np.uint64) + _SEED) >> np.uint64(1)
    return borders[:-1] + hashed.astype(np.int64) % np.diff(borders)


def taken(values: NDArray[np.generic], dtype: str, first: int, size: int) -> Sample:
    """Return those of a chunk's elements that belong to the sample of its tensor.

    `values` views the chunk as `kernels.protocol.numpy_dtype` does, `first` is the global index of
    its first element, `size` the tensor's.
    """
    where = places(size)
    start, end = np.searchsorted(where, (first, first + len(values)))
    if start == end:
        return EMPTY
    found = values[where[start:end] - first]
    return Sample(np.arange(start, end, dtype=np.int64), _floats(found, dtype))


def _floats(found: NDArray[np.generic], dtype: str) -> NDArray[np.float32]:
    grid = grids.GRID_OF_DTYPE[dtype]
    if grid == grids.PREFIX:
        limit = np.finfo(np.float32).max
        wide = found.astype(np.float64)
        clipped = np.where(np.isfinite(wide), np.clip(wide, -limit, limit), wide)
        return clipped.astype(np.float32)
    codes = found.view(np.uint8 if found.itemsize == 1 else np.uint16)
    values: NDArray[np.float32] = grids.grid(grid).low[codes].astype(np.float32)
    return values  # NaN for what is not finite
