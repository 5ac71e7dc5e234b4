"""The texts in which nanotron says where a rank's slice of a parameter belongs."""

from __future__ import annotations

import re

from forkmon.errors import FormatError
from forkmon.text import safe

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""(start, shape)"""

_PAIRS_CAP = 1 << 16
_TEXT_CAP = 8 << 20
_SHAPE_TEXT_CAP = 4096
_NUMBER = re.compile(r"(?:np\.int\d*\()?(\d{1,18})\)?")


def pairs_of(
    text: str, local: tuple[int, ...], whole: tuple[int, ...], what: str
) -> list[tuple[Box, Box]]:
    """Return (box of the slice, box of the whole) for each pair of `a,b,c|…#a,b,c|…;…`."""
    pieces = text.split(";") if len(text) <= _TEXT_CAP else []
    if not 0 < len(pieces) <= _PAIRS_CAP:
        raise FormatError(f"{what}: its local_global_slices_pairs are too many")
    found: list[tuple[Box, Box]] = []
    for piece in pieces:
        first, separator, second = piece.partition("#")
        if not separator:
            raise _unreadable(piece, what)
        found.append((_box(first, local, what), _box(second, whole, what)))
    return found


def shape_of(text: str, what: str) -> tuple[int, ...]:
    """Return the shape that a text such as `(8, 64)` names."""
    if len(text) > _SHAPE_TEXT_CAP or not (text.startswith("(") and text.endswith(")")):
        raise _unreadable(text, what)
    numbers: list[int] = []
    for part in text[1:-1].split(","):
        if part.strip():
            match = _NUMBER.fullmatch(part.strip())
            if match is None:
                raise _unreadable(text, what)
            numbers.append(int(match[1]))
    return tuple(numbers)


def _box(text: str, shape: tuple[int, ...], what: str) -> Box:
    slices = text.split("|") if text else []
    if len(slices) != len(shape):
        raise _unreadable(text, what)
    ranges = [_range(one, size, what) for one, size in zip(slices, shape, strict=True)]
    return tuple(start for start, _ in ranges), tuple(stop - start for start, stop in ranges)


def _range(text: str, size: int, what: str) -> tuple[int, int]:
    """Return (start, stop) of a slice `start,stop,step` along an axis."""
    parts = text.split(",")
    if len(parts) != 3 or any(not re.fullmatch(r"None|\d{1,18}", part) for part in parts):
        raise _unreadable(text, what)
    start = 0 if parts[0] == "None" else int(parts[0])
    stop = size if parts[1] == "None" else int(parts[1])
    if parts[2] not in ("None", "1") or not 0 <= start <= stop <= size:
        raise FormatError(f"{what}: the slice {safe(text, 60)!r} does not fit an axis of {size:,}")
    return start, stop


def _unreadable(text: str, what: str) -> FormatError:
    return FormatError(f"{what}: {safe(text, 60)!r} in its metadata is not understood")
