"""numpy's `.npz` archives: each entry a `.npy` file, its header read by hand, never a pickle."""

from __future__ import annotations

import os
import re
from math import prod
from pathlib import Path
from typing import Final

from forkmon.errors import FormatError
from forkmon.formats.opening import open_as_seen, read_bytes
from forkmon.formats.refs import ITEM_BYTES, Listing, Skipped, TensorRef
from forkmon.formats.safetensors import NAME_CAP, TENSOR_CAP
from forkmon.formats.strided import strided_ref, why_unread
from forkmon.formats.torch_zip import Archive, read_archive
from forkmon.runs.refs import CheckpointRef, FilePrint
from forkmon.text import safe

SUFFIX: Final = ".npy"
_MAGIC: Final = b"\x93NUMPY"
_HEADER_CAP: Final = 10_000
"""Longest header that numpy itself reads, in bytes."""
_RANK_CAP: Final = 64
_INT64_END: Final = 1 << 63
_HEADER: Final = re.compile(
    r"\{'descr': '(?P<descr>[^'\\]{1,20})', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>[0-9, ]*)\), \}\s*"
)
_DTYPES: Final[dict[str, str]] = {
    "|b1": "bool", "|u1": "u8", "|i1": "i8", "<u2": "u16", "<i2": "i16", "<f2": "f16",
    "<u4": "u32", "<i4": "i32", "<f4": "f32", "<u8": "u64", "<i8": "i64", "<f8": "f64",
}  # fmt: skip


class NpzReader:
    """Reads `.npz` files that `numpy.savez` wrote, not `savez_compressed`."""

    def listing(self, ref: CheckpointRef) -> Listing:
        """Return the arrays of all files, in file order."""
        tensors: list[TensorRef] = []
        skipped: list[Skipped] = []
        for path, seen in zip(ref.files, ref.fingerprint.files, strict=True):
            for found in _file(path, seen):
                if isinstance(found, TensorRef):
                    tensors.append(found)
                else:
                    skipped.append(found)
        return Listing(tuple(tensors), tuple(skipped))


def read_npz(fd: int, size: int, path: Path) -> list[TensorRef | Skipped]:
    """Return the arrays of an open archive; IncompleteError where its end is missing."""
    archive = read_archive(fd, 0, size, path)
    if not archive.entries or not all(name.endswith(SUFFIX) for name in archive.entries):
        raise FormatError(f"{safe(path.name)}: a zip that numpy did not write")
    if len(archive.entries) > TENSOR_CAP:
        raise FormatError(f"{safe(path.name)}: more than {TENSOR_CAP:,} arrays")
    in_order = sorted(archive.entries, key=lambda name: archive.entries[name].header)
    return [_array(archive, entry) for entry in in_order]


def _file(path: Path, seen: FilePrint) -> list[TensorRef | Skipped]:
    fd = open_as_seen(path, seen)
    try:
        return read_npz(fd, seen.size, path)
    finally:
        os.close(fd)


def _array(archive: Archive, entry: str) -> TensorRef | Skipped:
    name = entry.removesuffix(SUFFIX)
    shown = name[:NAME_CAP]
    if not archive.entries[entry].stored:
        return Skipped(shown, "?", "compressed: save it with numpy.savez, uncompressed")
    offset, length = archive.locate(entry)
    start, header = _header(archive, entry, offset, length)
    match = _HEADER.fullmatch(header)
    if match is None:
        return Skipped(shown, "?", "an array of records, or of a layout that is not read")
    dtype = _DTYPES.get(match["descr"])
    if dtype is None:
        return Skipped(shown, match["descr"], _why(match["descr"]))
    shape = _shape(match["shape"], f"{safe(archive.path.name)}: {safe(entry)}")
    if prod(shape) * ITEM_BYTES[dtype] != length - start:
        raise FormatError(
            f"{safe(archive.path.name)}: {safe(entry)} has {length - start:,} bytes, its shape "
            "needs another number"
        )
    reason = why_unread(name, dtype, shape, prod(shape), NAME_CAP)
    if reason:
        return Skipped(shown, dtype, reason)
    strides = _strides(shape, fortran=match["fortran"] == "True")
    return strided_ref(name, dtype, shape, strides, (archive.path, offset + start), "model")


def _header(archive: Archive, entry: str, offset: int, length: int) -> tuple[int, str]:
    """Return where an array's data begin in its entry, and the text before them."""
    where = f"{safe(archive.path.name)}: {safe(entry)}"
    head = read_bytes(archive.fd, offset, min(length, 12), archive.path)
    if len(head) < 12 or not head.startswith(_MAGIC) or head[6] not in (1, 2, 3):
        raise FormatError(f"{where} is no array of numpy's")
    wide = 2 if head[6] == 1 else 4
    start = 8 + wide
    size = int.from_bytes(head[8:start], "little")
    if size > _HEADER_CAP or start + size > length:
        raise FormatError(f"{where} has a header of {size:,} bytes; not read")
    raw = read_bytes(archive.fd, offset + start, size, archive.path)
    return start + size, raw.decode("latin-1")


def _shape(text: str, where: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > _RANK_CAP or not all(part.isdecimal() and len(part) < 20 for part in parts):
        raise FormatError(f"{where} has a shape that is none")
    shape = tuple(int(part) for part in parts)
    if any(size >= _INT64_END for size in shape):
        raise FormatError(f"{where} has a shape that is none")
    return shape


def _strides(shape: tuple[int, ...], *, fortran: bool) -> tuple[int, ...]:
    if fortran:
        return tuple(prod(shape[:axis]) for axis in range(len(shape)))
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _why(descr: str) -> str:
    if "O" in descr:
        return "an array of objects: a pickle, never loaded"
    if descr.startswith(">"):
        return "big-endian: not read by this version"
    if descr[1:2] == "V":
        return "raw bytes: numpy does not tell which type (bfloat16 and fp8 look so)"
    return f"dtype {safe(descr, 40)} is not read by this version"
