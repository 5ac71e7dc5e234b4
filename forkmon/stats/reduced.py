"""Reduced codes: the histogram that history keeps, at most about 3 KB a tensor and step.

A key is the sign, the exponent and the 5 top mantissa bits of ``float32(x - pivot)``, as a signed
integer whose order is the order of the values: key 0 holds zero and the smallest subnormals of
either sign, key k > 0 the values from ``edge(k)`` up to ``edge(k + 1)``, and -k mirrors k. A cell
is at most 2^-5 (3 %) wide, relative to the value. Standard library only: the UI reads it before
numpy is there.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

MANTISSA_BITS = 5
SHIFT = 23 - MANTISSA_BITS
MAX_KEY = (0x7F800000 >> SHIFT) - 1
"""The key of the largest finite float32."""

_HEADER = struct.Struct("<BdI")
_FORMAT = 1
_FLOAT = struct.Struct("<f")
_WORD = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Reduced:
    """Counts of `float32(x - pivot)` by key; `keys` ascending, `counts` parallel, all positive."""

    pivot: float
    keys: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def n(self) -> int:
        """Return the number of values counted."""
        return sum(self.counts)

    def cells(self) -> list[tuple[float, float, int]]:
        """Return (low edge, high edge, count) of every occupied cell, in value order."""
        return [
            (self.pivot + low, self.pivot + high, count)
            for (low, high), count in zip(map(cell, self.keys), self.counts, strict=True)
        ]

    def encode(self) -> bytes:
        """Return the stored form: a header, then zlib over varints of key gaps and counts."""
        numbers: list[int] = []
        last = -MAX_KEY - 1
        for key, count in zip(self.keys, self.counts, strict=True):
            numbers.append(key - last)
            numbers.append(count)
            last = key
        packed = zlib.compress(_as_varints(numbers), 9)
        return _HEADER.pack(_FORMAT, self.pivot, len(self.keys)) + packed


def decode(blob: bytes) -> Reduced:
    """Return what `Reduced.encode` stored; ValueError if the bytes are of another format."""
    version, pivot, size = _HEADER.unpack_from(blob)
    if version != _FORMAT:
        raise ValueError(f"reduced codes of format {version}, this forkmon reads {_FORMAT}")
    data = zlib.decompress(blob[_HEADER.size :])
    numbers = _varints(data)
    if len(numbers) != 2 * size:
        raise ValueError(f"reduced codes hold {len(numbers)} numbers, expected {2 * size}")
    keys: list[int] = []
    last = -MAX_KEY - 1
    for gap in numbers[::2]:
        last += gap
        keys.append(last)
    return Reduced(pivot, tuple(keys), tuple(numbers[1::2]))


def edge(key: int) -> float:
    """Return the smallest magnitude of cell `key` (key >= 0), as a float."""
    if key > MAX_KEY:
        return 3.4028235677973366e38  # 2**128: the open end of the last cell
    value: float = _FLOAT.unpack(_WORD.pack(key << SHIFT))[0]
    return value


def cell(key: int) -> tuple[float, float]:
    """Return the low and high edge of a key's cell; key 0 reaches to both sides of zero."""
    if key == 0:
        return -edge(1), edge(1)
    if key > 0:
        return edge(key), edge(key + 1)
    return -edge(1 - key), -edge(-key)


def key_of(offset: float) -> int:
    """Return the key of one offset from the pivot (finite as float32)."""
    word: int = _WORD.unpack(_FLOAT.pack(offset))[0]
    magnitude = (word & 0x7FFFFFFF) >> SHIFT
    return -magnitude if word >> 31 else magnitude


def _as_varints(numbers: list[int]) -> bytes:
    out = bytearray()
    put = out.append
    for number in numbers:
        rest = number
        while rest > 0x7F:
            put(rest & 0x7F | 0x80)
            rest >>= 7
        put(rest)
    return bytes(out)


def _varints(data: bytes) -> list[int]:
    numbers: list[int] = []
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
        else:
            numbers.append(value)
            value = shift = 0
    return numbers
