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
class Stripes:
    """Evenly spaced stretches of an axis: `count` of `length`, one every `stride`."""

    start: int
    length: int
    count: int = 1
    stride: int = 0
    """From the start of one stretch to the next; means nothing for a single one."""

    @property
    def size(self) -> int:
        """Return how many positions they cover together."""
        return self.length * self.count


@dataclass(frozen=True, slots=True)
class View:
    """Rows and columns of a tensor on disk, its axes but the last taken as one axis of rows."""

    source: str
    """The name on disk of the tensor that this is a part of."""
    why: str
    """What the layout was told from."""
    row_length: int
    """Elements a row on disk; 1 for vectors, so that each element is a row."""
    rows: Stripes
    columns: Stripes
    transposed: bool = False
    """The columns are the output channels (GPT-2's Conv1D, most stacked experts of today)."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A box of a tensor, and where one file holds its elements."""

    file: Path
    offset: int
    """Of the box's first element, in bytes."""
    start: tuple[int, ...]
    """Index of the box's first element in the tensor."""
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    """In elements, none negative; None where the box's elements follow each other in C order."""


@dataclass(frozen=True, slots=True)
class Tiled:
    """A tensor that lies in boxes: shards of many ranks, chunks, strided views of a storage."""

    shape: tuple[int, ...]
    """Of the whole tensor."""
    tiles: tuple[Tile, ...]
    """They cover it exactly: no hole, no overlap."""


@dataclass(frozen=True, slots=True)
class TensorRef:
    """One tensor: a contiguous little-endian byte range of one file, boxes, or a view of these."""

    name: str
    dtype: str
    """One of `ITEM_BYTES`."""
    shape: tuple[int, ...]
    """In the order in which elements are read; of the part, where this is a view."""
    file: Path
    offset: int
    """Where the tensor starts; of the whole it is a part of, where this is a view."""
    role: Role = "model"
    view: View | None = None
    tiled: Tiled | None = None
    """Where it is no single range: then `file` is the first tile's, and `offset` is 0."""
    stored_as: str = ""
    """The name on disk, where it is another than `name`."""

    @property
    def size(self) -> int:
        """Return the number of elements (1 for a scalar)."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Return the length in bytes of its elements together."""
        return self.size * ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A tensor that is in the file but not analysed, and why."""

    name: str
    dtype: str
    reason: str
    is_parameter: bool = True
    """Whether something is missing without it: masks and counters are no parameters."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything a checkpoint holds, in file order."""

    tensors: tuple[TensorRef, ...]
    skipped: tuple[Skipped, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    """(tensor name, what to say of it): fused and left whole, tied to another."""
