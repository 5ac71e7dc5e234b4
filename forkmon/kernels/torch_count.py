"""Counting codes with torch: by bincount everywhere, by Triton where it proves itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

import torch
from torch import Tensor

from forkmon.kernels.choose import Trouble, first_line, trouble
from forkmon.kernels.torch_values import Bits, codes

Count = Callable[[Bits, int], Tensor]
"""(bits, table size) -> counts, int64."""

PROBE = 1 << 18
"""Elements on which a counter must agree with bincount before it is used."""


@dataclass(frozen=True, slots=True)
class Counter:
    """How codes are counted on one device, and why so."""

    name: str
    count: Count
    why: str


def by_bincount(bits: Bits, size: int) -> Tensor:
    """Return the counts of codes.

    Integer bincount adds integers, so its result does not depend on the device. `torch.histc`
    differs between devices at bin edges, and CUB's histogram loses counts of 16-bit samples.
    """
    return torch.bincount(codes(bits), minlength=size)


@cache
def counter(device: str) -> Counter:
    """Return the counter of a device: Triton's on CUDA where it is there and right."""
    if not device.startswith("cuda"):
        return Counter("bincount", by_bincount, "counts on the CPU")
    try:
        count: Count = import_module("forkmon.kernels.torch_triton").count
    except ImportError as error:
        return Counter("bincount", by_bincount, f"no Triton: {first_line(error)}")
    return proven(Counter("triton", count, "agrees with bincount"), device)


def proven(candidate: Counter, device: str) -> Counter:
    """Return the candidate if it counts a probe as bincount does, else bincount with the reason."""
    try:
        for name, bits, size in _probes(device):
            if not torch.equal(candidate.count(bits, size), by_bincount(bits, size)):
                why = f"{candidate.name} miscounted {name}"
                return Counter("bincount", by_bincount, why)
    except Exception as error:
        if trouble(error) in (Trouble.LOST, Trouble.FULL):
            raise  # not the candidate's fault alone: the caller's fallbacks decide
        why = f"{candidate.name} failed: {first_line(error)}"
        return Counter("bincount", by_bincount, why)
    return candidate


def _probes(device: str) -> list[tuple[str, Bits, int]]:
    """Return spread-out and crowded bits of every kind that is counted, of an uneven length."""
    spread = (torch.arange(PROBE + 13, device=device) * 2_654_435_761) & 0xFFFFFFFF
    crowded = torch.where(spread % 8 == 0, spread, 0)
    found: list[tuple[str, Bits, int]] = []
    for what, words in (("spread-out", spread), ("crowded", crowded)):
        top = words >> 16
        found += [
            (f"{what} 8-bit codes", (top.to(torch.uint8), 0, 0xFF), 256),
            (f"{what} 16-bit codes", (top.to(torch.int16), 0, 0xFFFF), 65_536),
            (f"{what} prefixes", (words.to(torch.int32), 16, 0xFFFF), 65_536),
        ]
    return found
