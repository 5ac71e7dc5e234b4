"""Sketch: 256 signed sums of a tensor's elements, from which distances between steps follow.

Element i goes to bucket (i + r(i // 256)) mod 256 with the sign s(i mod 65536) f(i // 256), where
r and f are hashes of the index of a run of 256 elements and s is a fixed table of signs (a count
sketch: Charikar, Chen & Farach-Colton 2002; its norm is the tug-of-war estimate of Alon, Matias &
Szegedy 1996). The rotation r matters: with a plain i mod 256 a change of one column of a matrix
falls into one bucket. Two elements of one run never share a bucket, so only signs of different
runs have to be independent, and those are: each run has its own f.

Sketches are linear: the sketch of a difference is the difference of the sketches. So 1 KB a step
gives the distance between any two steps of a tensor, deleted ones too. The relative error of a
distance is about (2 / 256) ** 0.5 / 2 = 4.4 % rms. Seeds are constants: SKETCH_VERSION names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

SKETCH_VERSION = 1
WIDTH = 256
"""Buckets, and elements a run."""

SIGN_PERIOD = 65_536
RELATIVE_ERROR = 0.044
"""Root mean square relative error of an estimated distance (tests measure it)."""

_RUN_SEED = np.uint64(0x9E3779B97F4A7C15)
_SIGN_SEED = 20_240_313


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """The 256 sums, float64; non-finite elements count as zero."""

    sums: NDArray[np.float64]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sketch):
            return NotImplemented
        return bool(np.array_equal(self.sums, other.sums))

    __hash__ = None  # type: ignore[assignment]  # holds an array

    def encode(self) -> bytes:
        """Return the stored form: float32, little-endian, 1 KB."""
        limit = float(np.finfo(np.float32).max)
        return np.clip(self.sums, -limit, limit).astype("<f4").tobytes()


def decode(blob: bytes) -> Sketch:
    """Return what `Sketch.encode` stored."""
    return Sketch(np.frombuffer(blob, "<f4").astype(np.float64))


def distance(a: Sketch, b: Sketch) -> float:
    """Return the estimated Euclidean distance between two versions of one tensor."""
    return float(np.linalg.norm(a.sums - b.sums))


@cache
def signs() -> NDArray[np.float32]:
    """Return the fixed table s: SIGN_PERIOD signs, float32."""
    # The bits come from an explicit hash, not from a library generator whose stream may change.
    bits = splitmix(np.arange(SIGN_PERIOD, dtype=np.uint64) + np.uint64(_SIGN_SEED))
    return np.where(bits >> np.uint64(63), np.float32(-1), np.float32(1)).astype(np.float32)


def runs(first: int, count: int) -> NDArray[np.int64]:
    """Return, for runs `first`..`first + count - 1`, the rotation r plus 512 where f is -1.

    The 512 selects the second of two tables, whose sums are subtracted at the end.
    """
    bits = splitmix(np.arange(first, first + count, dtype=np.uint64) ^ _RUN_SEED)
    rotation = (bits & np.uint64(0xFF)).astype(np.int64)
    flip = ((bits >> np.uint64(40)) & np.uint64(1)).astype(np.int64)
    return rotation + 512 * flip


def fold(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 256 sums of a kernel's table of 1024: two signs, rotations not yet wrapped."""
    positive, negative = tables[:512], tables[512:]
    with np.errstate(over="ignore", invalid="ignore"):  # float64 near its limit: no distance then
        wrapped = (positive[:WIDTH] + positive[WIDTH:]) - (negative[:WIDTH] + negative[WIDTH:])
    return np.asarray(wrapped)


def splitmix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the splitmix64 finaliser of each word (Steele, Lea & Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
