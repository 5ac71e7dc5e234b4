"""Compiled loops of the content hash: independent of order and of cuts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

WORDS = 128
"""64-bit words a hashed kilobyte."""

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def hash_kilobytes(words: Array, first: int, keys: Array) -> np.uint64:
    """Return the sum of the hashes of kilobytes `first`, first + 1, ... of a tensor.

    Each is the NH hash (Black et al. 1999, UMAC) under two keys of its 128 words, mixed with its
    index; adding them makes the result independent of order and of how the tensor was cut.
    """
    total = np.uint64(0)
    low = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    for i in range(words.size // WORDS):
        block = words[i * WORDS : (i + 1) * WORDS]
        a = np.uint64(0)
        b = np.uint64(0)
        for k in range(WORDS):
            t = block[k] + keys[0, k]
            u = block[k] + keys[1, k]
            a += (t & low) * (t >> shift)
            b += (u & low) * (u >> shift)
        index = np.uint64(first + i) * np.uint64(0x9E3779B97F4A7C15)
        total += mixed(a ^ index) ^ mixed(b + index)
    return total


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def mixed(x: np.uint64) -> np.uint64:
    """Return the splitmix64 finaliser of a word (Steele, Lea & Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
