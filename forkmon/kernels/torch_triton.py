"""Counting codes on CUDA in one reading of the data; importing it needs Triton."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from forkmon.kernels.torch_values import Bits

# Triton comes with torch's CUDA builds; by name, for it is no dependency of ours.
triton: Any = import_module("triton")
tl: Any = import_module("triton.language")

if TYPE_CHECKING:
    Operand: TypeAlias = Any
    constexpr: TypeAlias = Any  # noqa: PYI042 -- Triton looks for this word in annotations
else:  # what Triton itself would write there: it looks annotations up
    Operand = tl.tensor
    constexpr = tl.constexpr

TILE = 1024
"""Elements that one program takes at a time."""

TABLES_BYTES = 16 << 20
"""Bytes of tables: they should stay in the GPU's L2 cache."""

MOST_PROGRAMS = 2048
"""More than any GPU runs at once."""


@triton.jit  # type: ignore[untyped-decorator]
def _count(  # noqa: PLR0913, PLR0917 -- a kernel's arguments are its launch record
    bits: Operand,
    tables: Operand,
    size: Operand,
    tiles: Operand,
    count: Operand,
    SHIFT: constexpr,  # noqa: N803 -- how Triton writes constants
    MASK: constexpr,  # noqa: N803 -- how Triton writes constants
    CODES: constexpr,  # noqa: N803 -- how Triton writes constants
    TILE: constexpr,  # noqa: N803 -- how Triton writes constants
) -> None:
    """Add the counts of one program's tiles to one of `count` tables."""
    program = tl.program_id(0)
    table = tables + program % count * CODES
    lane = tl.arange(0, TILE)
    for i in range(tiles):
        at = (i * tl.num_programs(0) + program) * TILE + lane
        inside = at < size
        pattern = tl.load(bits + at, mask=inside, other=0).to(tl.int32)
        tl.atomic_add(table + ((pattern >> SHIFT) & MASK), 1, mask=inside, sem="relaxed")


def count(bits: Bits, size: int) -> Tensor:
    """Return the counts of codes, programs spread over many tables.

    Many tables keep programs from waiting for each other where one code is common; a slice has
    fewer than 2^31 elements, so that no 32-bit counter can overflow.
    """
    pattern, shift, mask = bits
    if not len(pattern):
        return torch.zeros(size, dtype=torch.int64, device=pattern.device)
    programs = min(MOST_PROGRAMS, -(-len(pattern) // TILE))
    most = min(programs, TABLES_BYTES // (4 * size))
    tables = torch.zeros((most, size), dtype=torch.int32, device=pattern.device)
    tiles = -(-len(pattern) // (TILE * programs))
    _count[(programs,)](
        pattern, tables, len(pattern), tiles, most,
        SHIFT=shift, MASK=mask, CODES=size, TILE=TILE,
    )  # fmt: skip
    return tables.sum(0, dtype=torch.int64)
