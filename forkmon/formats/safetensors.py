"""Safetensors headers read by hand: nothing a hostile file says is believed unchecked.

Layout: eight bytes little-endian header length, the JSON header, then the data, which the tensors
must cover exactly: no hole, no overlap, nothing after the last one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import cast

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats.json_size import pairs_in, values_in
from forkmon.formats.opening import read_bytes
from forkmon.formats.refs import ITEM_BYTES, Listing, Skipped, TensorRef
from forkmon.text import safe

PREFIX_BYTES = 8
HEADER_CAP = 32 * 1024 * 1024
"""Longest header accepted, in bytes; a larger one costs seconds and gigabytes to parse."""
TENSOR_CAP = 200_000
_VALUES_CAP = 16 * TENSOR_CAP
_PAIRS_CAP = 5 * TENSOR_CAP
"""A header of so many tensors has half as many values, and four names for each."""
NAME_CAP = 1024
"""Longest tensor name analysed, in characters."""
_RANK_CAP = 64
_INT64_END = 1 << 63

DTYPES: dict[str, str] = {
    "BOOL": "bool", "U8": "u8", "I8": "i8", "F8_E4M3": "f8_e4m3", "F8_E5M2": "f8_e5m2",
    "U16": "u16", "I16": "i16", "F16": "f16", "BF16": "bf16",
    "U32": "u32", "I32": "i32", "F32": "f32",
    "U64": "u64", "I64": "i64", "F64": "f64",
}  # fmt: skip
"""Safetensors dtype names to forkmon's; any other is listed as skipped."""


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header: what is in the file and how long the file has to be."""

    listing: Listing
    promised: int
    """The length in bytes of the whole file."""
    data_start: int


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(fd: int, size: int, path: Path) -> Header:
    """Return the checked header of an open file of `size` bytes, complete or still growing.

    Raises IncompleteError while the header itself is not there yet, FormatError for nonsense.
    """
    if size < PREFIX_BYTES:
        raise IncompleteError(f"{safe(path.name)}: empty" if size == 0 else _short(path, size))
    length = header_length(read_bytes(fd, 0, PREFIX_BYTES, path), path)
    if PREFIX_BYTES + length > size:
        raise IncompleteError(
            f"{safe(path.name)}: the header alone is {length:,} bytes, the file has {size:,}"
        )
    return parse_header(read_bytes(fd, PREFIX_BYTES, length, path), path)


def header_length(prefix: bytes, path: Path) -> int:
    """Return the header's length from the first eight bytes."""
    length = int.from_bytes(prefix[:PREFIX_BYTES], "little")
    if length == 0:
        raise IncompleteError(f"{safe(path.name)}: its header is not written yet")
    if length > HEADER_CAP:
        raise FormatError(
            f"{safe(path.name)}: not safetensors, or a header beyond "
            f"{HEADER_CAP >> 20} MB ({length:,} bytes); not read"
        )
    return length


def parse_header(raw: bytes, path: Path) -> Header:
    """Return what a header says, checked; `path` is where its tensors' bytes are."""
    if not raw.strip(b"\0") or raw.endswith(b"\0"):
        raise IncompleteError(f"{safe(path.name)}: its header is not written yet")
    body = _json_object(raw, path)
    metadata = _metadata(body.pop("__metadata__", None), path)
    if len(body) > TENSOR_CAP:
        raise FormatError(f"{safe(path.name)}: {len(body):,} tensors, beyond {TENSOR_CAP:,}")
    entries = [_entry(name, fields, path) for name, fields in body.items()]
    data_bytes = _covered(entries, path)
    start = PREFIX_BYTES + len(raw)
    return Header(_listing(entries, start, path, metadata), start + data_bytes, start)


def _short(path: Path, size: int) -> str:
    return f"{safe(path.name)}: {size} bytes, shorter than any header"


def _json_object(raw: bytes, path: Path) -> dict[str, object]:
    if not raw.startswith(b"{"):
        raise FormatError(f"{safe(path.name)}: not safetensors: its header is no JSON object")
    if values_in(raw) > _VALUES_CAP or pairs_in(raw) > _PAIRS_CAP:
        raise FormatError(
            f"{safe(path.name)}: its header has more in it than {TENSOR_CAP:,} tensors"
        )
    try:
        body: object = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except FormatError as error:
        raise FormatError(f"{safe(path.name)}: {error}") from None
    except RecursionError:
        raise FormatError(f"{safe(path.name)}: header nested too deeply") from None
    except ValueError as error:
        raise FormatError(f"{safe(path.name)}: header is no valid JSON ({safe(error)})") from None
    if not isinstance(body, dict):
        raise FormatError(f"{safe(path.name)}: its header is no JSON object")
    return cast("dict[str, object]", body)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object, refusing a name that comes twice: other readers silently take the last."""
    body: dict[str, object] = {}
    for key, value in pairs:
        name = key.encode("utf-8", "backslashreplace").decode()  # a lone surrogate fits no store
        if name in body:
            raise FormatError(f"the name {safe(name)!r} comes twice in its header")
        body[name] = value
    return body


def _no_constant(constant: str) -> object:
    raise FormatError(f"{constant} in its header, which JSON does not know")


def _metadata(value: object, path: Path) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise FormatError(f"{safe(path.name)}: __metadata__ is no object")
    pairs = cast("dict[str, object]", value)
    if not all(isinstance(text, str) for text in pairs.values()):
        raise FormatError(f"{safe(path.name)}: __metadata__ holds something that is no text")
    return tuple((key, str(text)) for key, text in pairs.items())


def _entry(name: str, fields: object, path: Path) -> _Entry:
    where = f"{safe(path.name)}: tensor {safe(name)!r}"
    if not isinstance(fields, dict):
        raise FormatError(f"{where} is described by something that is no object")
    described = cast("dict[str, object]", fields)
    dtype = described.get("dtype")
    if not isinstance(dtype, str):
        raise FormatError(f"{where} has no dtype")
    shape = _naturals(described.get("shape"), f"{where}: its shape")
    offsets = _naturals(described.get("data_offsets"), f"{where}: its data_offsets")
    if len(shape) > _RANK_CAP:
        raise FormatError(f"{where} has {len(shape)} dimensions, beyond {_RANK_CAP}")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FormatError(f"{where}: its data_offsets are no range")
    entry = _Entry(name, dtype, shape, offsets[0], offsets[1])
    _check_size(entry, where)
    return entry


def _naturals(value: object, what: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise FormatError(f"{what} is no list")
    numbers: list[int] = []
    for item in cast("list[object]", value):
        if type(item) is not int or not 0 <= item < _INT64_END:
            raise FormatError(f"{what} holds something that is no number of elements")
        numbers.append(item)
    return tuple(numbers)


def _check_size(entry: _Entry, where: str) -> None:
    dtype = DTYPES.get(entry.dtype)
    if dtype is None:
        return
    wanted = prod(entry.shape) * ITEM_BYTES[dtype]
    given = entry.end - entry.begin
    if wanted != given:
        raise FormatError(
            f"{where}: shape and dtype need {safe(wanted, 40)} bytes, its range has {given:,}"
        )


def _covered(entries: list[_Entry], path: Path) -> int:
    """Return the data's length; every byte of it belongs to exactly one tensor."""
    reached = 0
    for entry in sorted(entries, key=lambda e: (e.begin, e.end)):
        if entry.begin != reached:
            wrong = "overlaps the one before" if entry.begin < reached else "leaves a hole before"
            raise FormatError(f"{safe(path.name)}: tensor {safe(entry.name)!r} {wrong} it")
        reached = entry.end
    if reached >= _INT64_END - HEADER_CAP - PREFIX_BYTES:
        raise FormatError(f"{safe(path.name)}: promises more bytes than a file can have")
    return reached


def _listing(
    entries: list[_Entry], start: int, path: Path, metadata: tuple[tuple[str, str], ...]
) -> Listing:
    tensors: list[TensorRef] = []
    skipped: list[Skipped] = []
    for entry in sorted(entries, key=lambda e: (e.begin, e.end)):
        dtype = DTYPES.get(entry.dtype)
        reason = _why_skipped(entry, dtype)
        if reason or dtype is None:
            skipped.append(Skipped(entry.name[:NAME_CAP], entry.dtype[:40], reason))
            continue
        tensors.append(TensorRef(entry.name, dtype, entry.shape, path, start + entry.begin))
    return Listing(tuple(tensors), tuple(skipped), metadata)


def _why_skipped(entry: _Entry, dtype: str | None) -> str:
    if dtype is None:
        return f"dtype {safe(entry.dtype, 40)} is not read by this version"
    if not entry.name:
        return "it has no name"
    if len(entry.name) > NAME_CAP:
        return f"its name has {len(entry.name):,} characters"
    return ""
