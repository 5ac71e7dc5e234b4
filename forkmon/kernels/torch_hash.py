"""The content hash on any torch device: unsigned 64-bit arithmetic done with int64."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from forkmon.kernels.protocol import hash_keys

WORDS = 128
"""64-bit words a hashed kilobyte."""

KILOBYTE = 8 * WORDS


def digest(raw: Tensor, offset: int) -> Tensor:
    """Return the sum of the hashes of the kilobytes in `raw`, a zero-dimensional int64.

    `offset` is where they start in the tensor, a multiple of a kilobyte; a last kilobyte that is
    not whole is filled up with zeros.
    """
    missing = -len(raw) % KILOBYTE
    whole = raw[: len(raw) - (KILOBYTE - missing if missing else 0)]
    first = offset // KILOBYTE
    total = _hashed(whole, first)
    if missing:
        last = torch.nn.functional.pad(raw[len(whole) :], (0, missing))
        total = total + _hashed(last, first + len(whole) // KILOBYTE)
    return total


def _hashed(raw: Tensor, first: int) -> Tensor:
    words = raw.view(torch.int64).view(-1, WORDS)
    keys = _keys(str(raw.device))
    index = torch.arange(first, first + len(words), device=raw.device) * _signed(0x9E3779B97F4A7C15)
    a, b = (_nh(words, key) for key in keys)
    return (_mixed(a ^ index) ^ _mixed(b + index)).sum()


def _nh(words: Tensor, key: Tensor) -> Tensor:
    """Return the NH hash of each row: int64 products and sums wrap as the unsigned ones do."""
    t = words + key
    return (t & 0xFFFFFFFF).mul_((t >> 32).bitwise_and_(0xFFFFFFFF)).sum(1)


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, by: int) -> Tensor:
    """Return x >> by without the sign: int64 shifts drag it along."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


@cache
def _keys(device: str) -> Tensor:
    return torch.as_tensor(hash_keys().view(np.int64)).to(device)
