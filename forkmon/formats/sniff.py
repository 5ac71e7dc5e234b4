"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

import os
from pathlib import Path

from forkmon.formats.opening import open_regular, read_bytes
from forkmon.formats.safetensors import HEADER_CAP, PREFIX_BYTES
from forkmon.text import safe

SAFETENSORS = "safetensors"
SUPPORTED = frozenset({SAFETENSORS})
"""Formats that `reading.READERS` can read."""
UNKNOWN = "no known checkpoint format"

_HEAD_BYTES = 512
_NOT_YET = "not read by this version"
_TAR_MAGIC_AT = 257

_MAGICS: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", f"HDF5: {_NOT_YET}"),
    (b"GGUF", f"GGUF: {_NOT_YET}"),
    (b"\x93NUMPY", f"numpy array: {_NOT_YET}"),
    (b"version https://git-lfs", "a git-lfs pointer, not the data: run `git lfs pull`"),
    (b"\x1f\x8b", "gzip: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd: unpack it first"),
)


def sniff(path: Path) -> str:
    """Return a name of `SUPPORTED`, or in plain words why the file is not read."""
    fd = open_regular(path)
    try:
        size = os.fstat(fd).st_size
        return sniff_bytes(read_bytes(fd, 0, min(size, _HEAD_BYTES), path))
    finally:
        os.close(fd)


def sniff_bytes(head: bytes) -> str:
    """Return what a file with these first bytes is."""
    if not head:
        return "empty"
    # First: the bytes of a header's length can look like any other format's magic.
    if _looks_like_safetensors(head):
        return SAFETENSORS
    for magic, answer in _MAGICS:
        if head.startswith(magic):
            return answer
    if head.startswith(b"PK\x03\x04"):
        return _zip(head)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"pickle (torch legacy or optimizer state): {_NOT_YET}"
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        return f"tar: {_NOT_YET}"
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page, not a checkpoint: download it again"
    return UNKNOWN


def refusal(path: Path) -> str:
    """Return why this version does not read the file, empty where it does."""
    found = sniff(path)
    return "" if found in SUPPORTED else safe(found)


def _looks_like_safetensors(head: bytes) -> bool:
    length = int.from_bytes(head[:PREFIX_BYTES], "little")
    return 2 <= length <= HEADER_CAP and head[PREFIX_BYTES : PREFIX_BYTES + 1] == b"{"


def _zip(head: bytes) -> str:
    """Tell zips apart by the name of their first entry."""
    length = int.from_bytes(head[26:28], "little")
    first = head[30 : 30 + length]
    if first.endswith(b"data.pkl") or b"/.format_version" in first or b"/.data/" in first:
        return f"torch zip: {_NOT_YET}"
    if first.endswith(b".npy"):
        return f"npz: {_NOT_YET}"
    return f"zip (torch, Keras or other): {_NOT_YET}"
