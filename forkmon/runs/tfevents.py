"""Scalars from TensorBoard event files: records, checksums and just enough protobuf."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEAD = 12
"""Bytes before a record's body: its length and that length's checksum."""

FOOT = 4
"""Bytes after it: the body's checksum."""

LONGEST = 256 * 1024
"""A longer record holds images, audio or graphs, no scalars: it is passed over unread."""

_MASK = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8
_VARINT_BYTES = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SESSION_START = 1

# Number of a field of TensorProto -> how its only element is unpacked, and its size.
_TYPED = {5: ("<f", 4), 6: ("<d", 8)}
_INTEGERS = frozenset({7, 10, 16, 17})
# DataType -> how a tensor's raw content is unpacked.
_CONTENT = {1: "<f", 2: "<d", 3: "<i", 9: "<q", 19: "<e", 22: "<I", 23: "<Q"}


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number of a writer's."""

    tag: str
    step: int
    value: float


@dataclass(frozen=True, slots=True)
class Restart:
    """The writer goes on from this step: what was written from it on before no longer counts."""

    step: int


@dataclass(frozen=True, slots=True)
class Broken:
    """Nothing after this place can be read."""


@dataclass(frozen=True, slots=True)
class Record:
    """Where the body of a record lies and its length in bytes."""

    start: int
    length: int


def crc32c(data: bytes) -> int:
    """Return the Castagnoli checksum (RFC 3720, appendix B.4)."""
    crc, table = _MASK, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ _MASK


def masked(data: bytes) -> int:
    """Return the checksum as event files store it: rotated, and moved by a constant."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & _MASK


def record_at(head: bytes, start: int) -> Record | Broken:
    """Return the record whose `HEAD` bytes lie at `start`; its end may still be to come."""
    (length,) = struct.unpack_from("<Q", head)
    (seen,) = struct.unpack_from("<I", head, 8)
    if masked(head[:8]) != seen or length >= 2**62:
        return Broken()
    return Record(start + HEAD, length)


def scalars(body: bytes, seen: int) -> list[Scalar | Restart] | Broken:
    """Return what a record holds; `seen` is the checksum stored behind it.

    Only a record with numbers is summed: most of the bytes of a file are other things.
    """
    try:
        found = list(_event(body))
    except (ValueError, struct.error):
        return Broken() if masked(body) != seen else list[Scalar | Restart]()
    if found and masked(body) != seen:
        return Broken()
    return found


def _event(body: bytes) -> Iterator[Scalar | Restart]:
    """Yield the scalars of an Event (tensorflow/core/util/event.proto)."""
    step, summary, session = 0, (0, 0), (0, 0)
    for number, kind, value, end in _fields(body, 0, len(body)):
        if number == 2 and kind == _VARINT:
            step = _signed(value)
        elif number == 5 and kind == _BYTES:
            summary = (value, end)
        elif number == 7 and kind == _BYTES:
            session = (value, end)
    for number, kind, value, _ in _fields(body, *session):
        if number == 1 and kind == _VARINT and value == _SESSION_START:
            yield Restart(step)
    for number, kind, value, end in _fields(body, *summary):
        if number == 1 and kind == _BYTES:
            scalar = _scalar(body, value, end, step)
            if scalar is not None:
                yield scalar


def _scalar(body: bytes, start: int, end: int, step: int) -> Scalar | None:
    """Return the number of a Summary.Value, None where it is something else."""
    tag, number_found = "", None
    for number, kind, value, stop in _fields(body, start, end):
        if number == 1 and kind == _BYTES:
            tag = body[value:stop].decode("utf-8", "replace")
        elif number == 2 and kind == _FIXED32:
            (number_found,) = struct.unpack_from("<f", body, value)
        elif number == 8 and kind == _BYTES:
            number_found = _tensor(body, value, stop)
    return None if number_found is None else Scalar(tag, step, float(number_found))


def _tensor(body: bytes, start: int, end: int) -> float | None:
    """Return the only element of a TensorProto of numbers, None where it has more or none."""
    dtype, elements, content = 0, 1, b""
    typed: float | None = None
    for number, kind, value, stop in _fields(body, start, end):
        if number == 1 and kind == _VARINT:
            dtype = value
        elif number == 2 and kind == _BYTES:
            elements = _elements(body, value, stop)
        elif number == 4 and kind == _BYTES:
            content = body[value:stop]
        elif number in _TYPED:
            typed = _typed(number, body[value:stop])
        elif number in _INTEGERS and kind in (_VARINT, _BYTES):
            whole = value if kind == _VARINT else _varint(body, value, stop)[0]
            typed = float(_signed(whole))
    if elements != 1:
        return None
    return _content(dtype, content) if typed is None else typed


def _typed(number: int, raw: bytes) -> float | None:
    """Return the element of a float_val or double_val."""
    form, size = _TYPED[number]
    return float(struct.unpack(form, raw)[0]) if len(raw) == size else None


def _content(dtype: int, raw: bytes) -> float | None:
    """Return the element of a tensor_content."""
    form = _CONTENT.get(dtype, "<0s")
    return float(struct.unpack(form, raw)[0]) if raw and len(raw) == struct.calcsize(form) else None


def _elements(body: bytes, start: int, end: int) -> int:
    """Return the number of elements of a TensorShapeProto."""
    many = 1
    for number, kind, value, stop in _fields(body, start, end):
        if number == 2 and kind == _BYTES:
            for inner, form, size, _ in _fields(body, value, stop):
                if inner == 1 and form == _VARINT:
                    many = min(2**31, many * size)
    return many


def _fields(body: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (number, wire type, value, end): the number itself, or where its bytes lie."""
    at = start
    while at < end:
        key, at = _varint(body, at, end)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(body, at, end)
            yield key >> 3, kind, value, at
            continue
        if kind == _BYTES:
            size, at = _varint(body, at, end)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("a group, or no protobuf")
        if at + size > end:
            raise ValueError("a field beyond the end of its message")
        yield key >> 3, kind, at, at + size
        at += size


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES, 7):
        if at >= end:
            raise ValueError("a number beyond the end of its message")
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise ValueError("a number of more than 64 bits")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _table() -> tuple[int, ...]:
    table: list[int] = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE = _table()
