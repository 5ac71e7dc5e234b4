"""What every kernel can do, whoever computes it."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forkmon.stats.codes import Counts
from forkmon.stats.sketch import splitmix
from forkmon.stats.summary import Summary

Bytes = NDArray[np.uint8]


class Kernel(Protocol):
    """Counts elements; results are the same bits for any chunking."""

    name: str

    def accumulator(self, dtype: str, columns: int = 0) -> Accumulator:
        """Return a fresh accumulator for a stretch of elements of one tensor.

        `columns` is the row length of a matrix; 0 for vectors, which have no channels.
        """
        ...


class Accumulator(Protocol):
    """Takes chunks of one tensor; not thread-safe, one a thread."""

    def add(self, data: Bytes, first: int) -> None:
        """Take the little-endian elements in `data`; `first` is the global index of the first.

        Chunks must follow one another without a gap.
        """
        ...

    def summary(self) -> Summary:
        """Return the summary of everything added."""
        ...

    def shifted(self, data: Bytes, pivot: float) -> Counts:
        """Return counts by reduced key of `float32(x - pivot)` over the finite elements."""
        ...


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """Return the numpy type that views a dtype's bytes; bf16 and fp8 are viewed as codes."""
    return np.dtype(_NUMPY[dtype])


_NUMPY = {
    "bool": "u1", "u8": "u1", "i8": "u1", "f8_e4m3": "u1", "f8_e5m2": "u1",
    "u16": "<u2", "i16": "<u2", "f16": "<u2", "bf16": "<u2",
    "f32": "<f4", "f64": "<f8", "u32": "<u4", "i32": "<i4", "u64": "<u8", "i64": "<i8",
}  # fmt: skip


HASH_KEYS_SEED = 20_240_313
"""Seed of the content hash; a constant, for stored hashes are compared with new ones."""


@cache
def hash_keys() -> NDArray[np.uint64]:
    """Return the keys of the content hash, (2, 128)."""
    counter = np.arange(256, dtype=np.uint64) + np.uint64(HASH_KEYS_SEED)
    return splitmix(counter).reshape(2, 128)
