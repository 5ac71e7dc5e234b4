"""What every kernel can do, whoever computes it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forkmon.stats.codes import Counts
from forkmon.stats.summary import Summary

Bytes = NDArray[np.uint8]


class Kernel(Protocol):
    """Counts elements; results are the same bits for any chunking."""

    name: str

    def accumulator(self, dtype: str) -> Accumulator:
        """Return a fresh accumulator for elements of one tensor."""
        ...


class Accumulator(Protocol):
    """Takes chunks of one tensor; not thread-safe, one a thread."""

    def add(self, data: Bytes, first: int) -> None:
        """Take the little-endian elements in `data`; `first` is the global index of the first."""
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
