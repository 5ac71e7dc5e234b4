"""Damage done to bytes at a hundred thousand inputs a second: what a fuzzing campaign feeds."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Final

LONGEST: Final = 1 << 16
"""Inputs stay this short: speed finds more than size."""

_NUMBERS: Final = (
    0, 1, 2, 7, 8, 63, 64, 127, 128, 255, 256, 4095, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31,
    (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 53) + 1, (1 << 62), (1 << 63) - 1, 1 << 63,
    (1 << 64) - 1, (1 << 64) - 8,
)  # fmt: skip
_TOKENS: Final = (
    # pickle: a name and a call, a persistent id, an extension, empty containers, memo, frames
    b"cos\nsystem\n(S'x'\ntR.", b"\x8c\x02os\x8c\x06system\x93", b"Q", b"P1\n", b"\x82\x01",
    b"\x84\xff\xff\xff\x7f", b"]", b"}", b")", b"(", b"t", b"u", b"s", b"a", b"e", b"b", b"R",
    b"\x81", b"\x92", b"\x93", b"\x94", b"0", b"1", b"2", b"h\x00", b"q\x00", b"j\xff\xff\xff\xff",
    b"\x8a\xff", b"\x8b\xff\xff\xff\x7f", b"\x95\xff\xff\xff\xff\xff\xff\xff\xff", b"\x8f", b"\x90",
    b"\x91", b"\x97", b"\x98", b"N", b"\x88", b"\x89", b"\x80\x05", b".", b"K\x00", b"K\xff",
    b"J\xff\xff\xff\xff", b"X\xff\xff\xff\xff", b"X\x01\x00\x00\x00\x1b", b"\x85", b"\x86", b"\x87",
    # zip
    b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"../", b"/",
    # JSON
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"[" * 3000, b'{"a":' * 2000, b"NaN", b"-Infinity",
    b"1e999", b"-1", b"null", b"true", b'"\\ud800"', b'"__metadata__"', b'"data_offsets"',
    b'"shape"', b'"F32"', b"1" * 5000, b"\\u0000", b"\xef\xbb\xbf",
    # text, paths and terminals
    b"\x00", b"\x1b[2J", b"\n", b"\r\n", b"\t", b"\xff\xfe", b"\xed\xa0\x80", "\u202e".encode(),
    b"step", b"epoch", b"nan", b"inf", b"-", b"e", b"module.", b"_orig_mod.",
)  # fmt: skip

Mutation = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds with a few things done to it; now and then nothing but noise."""
    if not seeds or rng.random() < 0.02:
        return rng.randbytes(rng.randrange(300))
    raw = bytearray(rng.choice(seeds))
    for _ in range(1 + min(int(rng.expovariate(0.6)), 12)):
        rng.choice(_MUTATIONS)(rng, raw, seeds)
    return bytes(raw[:LONGEST])


def _place(rng: random.Random, raw: bytearray) -> int:
    """Return a place: anywhere, or near one of the ends, where formats keep their numbers."""
    size = len(raw)
    if size < 2:
        return 0
    kind = rng.random()
    if kind < 0.6:
        return rng.randrange(size)
    near = rng.randrange(min(size, 256))
    return near if kind < 0.8 else size - 1 - near


def _flip(rng: random.Random, raw: bytearray, seeds: Sequence[bytes]) -> None:
    if raw:
        raw[_place(rng, raw)] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, raw: bytearray, seeds: Sequence[bytes]) -> None:
    if raw:
        raw[_place(rng, raw)] = rng.choice((0, 1, 0x2E, 0x30, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _count(rng: random.Random, raw: bytearray, seeds: Sequence[bytes]) -> None:
    if raw:
        at = _place(rng, raw)
        raw[at] = (raw[at] + rng.choice((-2, -1, 1, 2, 8))) & 0xFF


def _number(rng: random.Random, raw: bytearray, seeds: Sequence[bytes]) -> None:
    width, code = rng.choice(((2, "<H"), (4, "<I"), (8, "<Q"), (8, ">Q")))
    at = _place(rng, raw)
    value = rng.choice((*_NUMBERS, len(raw), rng.getrandbits(64)))
    raw[at : at + width] = struct.pack(code, value & ((1 << 8 * width) - 1))


def _digits(rng: random.Random, raw: bytearray, seeds: Sequence[bytes]) -> None:
    at = _place(rng, raw)
    digit = next((i for i in range(at, min(at + 64, len(raw))) if 48 <= raw[i] <= 57), at)
    raw[digit : digit + 1] = str(rng.choice(_NUMBERS) * rng.choice((1, 1, -1))).encode()


def _token(rng: random.Random, raw: bytearray, seeds: Sequence[bytes]) -> None:
    at = _place(rng, raw)
    token = rng.choice(_TOKENS)
    raw[at : at + rng.choice((0, 0, 1, len(token)))] = token


def _cut(rng: random.Random, raw: bytearray, seeds: Sequence[bytes]) -> None:
    at = _place(rng, raw)
    del raw[at : at + 1 + int(rng.expovariate(0.05))]


def _end(rng: random.Random, raw: bytearray, seeds: Sequence[bytes]) -> None:
    del raw[_place(rng, raw) :]


def _repeat(rng: random.Random, raw: bytearray, seeds: Sequence[bytes]) -> None:
    at = _place(rng, raw)
    piece = bytes(raw[at : at + 1 + int(rng.expovariate(0.05))])
    where = at if rng.random() < 0.5 else _place(rng, raw)
    raw[where:where] = piece * (1 if rng.random() < 0.9 else rng.randrange(1, 64))


def _splice(rng: random.Random, raw: bytearray, seeds: Sequence[bytes]) -> None:
    other = rng.choice(seeds)
    begin = rng.randrange(len(other) + 1)
    at = _place(rng, raw)
    raw[at : at + rng.randrange(64)] = other[begin : begin + rng.randrange(1, 256)]


def _noise(rng: random.Random, raw: bytearray, seeds: Sequence[bytes]) -> None:
    at = _place(rng, raw)
    raw[at:at] = rng.randbytes(rng.randrange(1, 9))


_MUTATIONS: Final[tuple[Mutation, ...]] = (
    _flip, _set, _set, _count, _number, _number, _digits, _token, _token, _cut, _end, _repeat,
    _splice, _noise,
)  # fmt: skip
