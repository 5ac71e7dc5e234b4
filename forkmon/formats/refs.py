"""What a tensor on disk is: a name, a type and a byte range."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

Role = Literal["model", "ema", "optimizer"]

ITEM_BYTES: dict[str, int] = {
    "bool": 1, "u8": 1, "i8": 1, "f8_e4m3": 1, "f8_e5m2": 1,
    "u16": 2, "i16": 2, "f16": 2, "bf16": 2,
    "u32": 4, "i32": 4, "f32": 4,
    "u64": 8, "i64": 8, "f64": 8,
}  # fmt: skip
"""forkmon's dtype names and their element sizes in bytes."""


@dataclass(frozen=True, slots=True)
class TensorRef:
    """One tensor as a contiguous little-endian byte range of one file."""

    name: str
    dtype: str
    """One of `ITEM_BYTES`."""
    shape: tuple[int, ...]
    file: Path
    offset: int
    role: Role = "model"

    @property
    def size(self) -> int:
        """Return the number of elements (1 for a scalar)."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Return the length of the byte range."""
        return self.size * ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A tensor that is in the file but not analysed, and why."""

    name: str
    dtype: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything a checkpoint holds, in file order."""

    tensors: tuple[TensorRef, ...]
    skipped: tuple[Skipped, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
