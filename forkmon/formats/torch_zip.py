"""Zip archives as torch and numpy write them: stored entries, found by `pread` alone."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from forkmon.errors import FormatError, IncompleteError, TornError
from forkmon.formats.opening import read_bytes
from forkmon.text import safe

ENTRIES_CAP: Final = 1_000_000
DIRECTORY_CAP: Final = 128 << 20
"""Longest central directory read, in bytes."""
_TAIL_BYTES: Final = 22 + 0xFFFF
_STORED: Final = 0
_ENCRYPTED: Final = 1
_NO_NUMBER: Final = 0xFFFFFFFF

_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in an archive, as the central directory describes it."""

    header: int
    """Where its local header is, from the archive's begin."""
    length: int
    """Of what is stored, in bytes."""
    size: int
    """Of what that unpacks to, in bytes."""
    stored: bool
    """Neither compressed nor encrypted."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A range of an open file that is a complete archive."""

    fd: int
    path: Path
    begin: int
    """Where it begins in the file."""
    end: int
    """Where its entries end and the central directory begins, from `begin`."""
    entries: Mapping[str, Entry]

    def locate(self, name: str) -> tuple[int, int]:
        """Return the offset in the file and the length of a stored entry's bytes."""
        entry = self.entries[name]
        if not entry.stored:
            raise FormatError(
                f"{safe(self.path.name)}: {safe(name)} in it is compressed; save it uncompressed"
            )
        raw = read_bytes(self.fd, self.begin + entry.header, _LOCAL.size, self.path)
        fields = _LOCAL.unpack(raw)
        data = entry.header + _LOCAL.size + int(fields[9]) + int(fields[10])
        if fields[0] != b"PK\3\4":
            raise TornError(f"{safe(self.path.name)}: {safe(name)} is not where it is said to be")
        if data + entry.length > self.end:
            _nonsense(self.path, f"{safe(name)} reaches beyond its place")
        return self.begin + data, entry.length

    def read(self, name: str, cap: int) -> bytes:
        """Return a stored entry's bytes, at most `cap` of them or FormatError."""
        offset, length = self.locate(name)
        if length > cap:
            raise FormatError(
                f"{safe(self.path.name)}: {safe(name)} has {length:,} bytes; beyond {cap:,} it is "
                "not read"
            )
        return read_bytes(self.fd, offset, length, self.path)


def read_archive(fd: int, begin: int, length: int, path: Path) -> Archive:
    """Return the archive that fills a range of an open file.

    The directory of an archive is written last: where it is missing, IncompleteError; where it
    does not fit the range exactly, FormatError.
    """
    end_at, count, size, start = _end(fd, begin, length, path)
    if size > DIRECTORY_CAP or count > ENTRIES_CAP:
        raise FormatError(f"{safe(path.name)}: a zip of {count:,} entries is not read")
    if start + size != end_at:
        _nonsense(path, "its directory is not where it is said to be")
    raw = read_bytes(fd, begin + start, size, path)
    entries = _entries(raw, count, path)
    _check_places(entries, start, path)
    return Archive(fd, path, begin, start, entries)


def _nonsense(path: Path, why: str) -> NoReturn:
    raise FormatError(f"{safe(path.name)}: a damaged zip: {why}")


def _end(fd: int, begin: int, length: int, path: Path) -> tuple[int, int, int, int]:
    """Return where the directory ends, how many entries it has, its size and where it starts."""
    tail_at = max(0, length - _TAIL_BYTES)
    tail = read_bytes(fd, begin + tail_at, length - tail_at, path)
    at = tail.rfind(b"PK\5\6")
    while at >= 0:
        if at + _END.size <= len(tail):
            fields = _END.unpack_from(tail, at)
            if at + _END.size + int(fields[7]) == len(tail):
                return _checked_end(fd, begin, tail_at + at, fields, path)
        at = tail.rfind(b"PK\5\6", 0, at)
    raise IncompleteError(f"{safe(path.name)}: the zip's directory, written last, is not there")


def _checked_end(
    fd: int, begin: int, at: int, fields: tuple[bytes | int, ...], path: Path
) -> tuple[int, int, int, int]:
    disk, start_disk, here, count, size, start = (int(field) for field in fields[1:7])
    locator_at = at - _LOCATOR.size
    if locator_at >= 0:
        raw = read_bytes(fd, begin + locator_at, _LOCATOR.size, path)
        if raw.startswith(b"PK\6\7"):
            return _end64(fd, begin, locator_at, int(_LOCATOR.unpack(raw)[2]), path)
    if (disk, start_disk) != (0, 0) or here != count:
        _nonsense(path, "it is in several parts")
    return at, count, size, start


def _end64(
    fd: int, begin: int, locator_at: int, at: int, path: Path
) -> tuple[int, int, int, int]:  # fmt: skip
    if at + _END64.size > locator_at:
        _nonsense(path, "its directory is not where it is said to be")
    fields = _END64.unpack(read_bytes(fd, begin + at, _END64.size, path))
    if fields[0] != b"PK\6\6" or at + 12 + int(fields[1]) != locator_at:
        _nonsense(path, "the end of its directory is none")
    if (fields[4], fields[5]) != (0, 0) or fields[6] != fields[7]:
        _nonsense(path, "it is in several parts")
    return at, int(fields[7]), int(fields[8]), int(fields[9])


def _entries(raw: bytes, count: int, path: Path) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(raw):
            _nonsense(path, "its directory ends too early")
        fields = _ENTRY.unpack_from(raw, at)
        name_end = at + _ENTRY.size + int(fields[10])
        extra_end = name_end + int(fields[11])
        next_at = extra_end + int(fields[12])
        if fields[0] != b"PK\1\2" or next_at > len(raw):
            _nonsense(path, "its directory holds something else")
        name = raw[at + _ENTRY.size : name_end].decode("utf-8", "backslashreplace")
        if name in entries:
            _nonsense(path, f"{safe(name)} is in it twice")
        entries[name] = _entry(fields, raw[name_end:extra_end], path)
        at = next_at
    if at != len(raw):
        _nonsense(path, "its directory goes on after its last entry")
    return entries


def _entry(fields: tuple[bytes | int, ...], extra: bytes, path: Path) -> Entry:
    flags, method = int(fields[3]), int(fields[4])
    length, size, header = int(fields[8]), int(fields[9]), int(fields[16])
    if _NO_NUMBER in (length, size, header):
        wide = _wide(extra)
        size, wide = _widened(size, wide, path)
        length, wide = _widened(length, wide, path)
        header, wide = _widened(header, wide, path)
    stored = method == _STORED and not flags & _ENCRYPTED
    if stored and length != size:
        _nonsense(path, "an entry has two lengths")
    return Entry(header, length, size, stored)


def _wide(extra: bytes) -> tuple[int, ...]:
    """Return the numbers of the zip64 field among an entry's extra fields."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        body = extra[at + 4 : at + 4 + length]
        if kind == 1:
            return struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8])
        at += 4 + length
    return ()


def _widened(number: int, wide: tuple[int, ...], path: Path) -> tuple[int, tuple[int, ...]]:
    if number != _NO_NUMBER:
        return number, wide
    if not wide:
        _nonsense(path, "an entry's length is missing")
    return wide[0], wide[1:]


def _check_places(entries: Mapping[str, Entry], end: int, path: Path) -> None:
    """Refuse entries that overlap or reach into the directory: no writer makes them."""
    reached = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].header):
        if entry.header < reached:
            _nonsense(path, f"{safe(name)} overlaps the entry before it")
        reached = entry.header + _LOCAL.size + len(name.encode("utf-8", "replace")) + entry.length
    if reached > end:
        _nonsense(path, "its last entry reaches into its directory")
