"""What a file is by its bytes, whatever its name says."""

from __future__ import annotations

import os
from pathlib import Path

from forkmon.errors import FormatError, IncompleteError, TornError
from forkmon.formats.opening import open_regular, read_bytes
from forkmon.formats.safetensors import HEADER_CAP, PREFIX_BYTES
from forkmon.formats.torch_legacy import is_legacy
from forkmon.formats.torch_zip import read_archive
from forkmon.text import safe

SAFETENSORS = "safetensors"
TORCH = "torch"
NPZ = "npz"
GGUF = "gguf"
SUPPORTED = frozenset({SAFETENSORS, TORCH, NPZ, GGUF})
"""Formats of single files that `reading.READERS` can read."""
UNKNOWN = "no known checkpoint format"

HEAD_BYTES = 512
_NOT_YET = "not read by this version"
_TAR_MAGIC_AT = 257
_ZIP_MAGIC = b"PK\x03\x04"
_SOME_ZIP = f"a zip, but none of torch's or numpy's: {_NOT_YET}"

_MAGICS: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", f"HDF5: {_NOT_YET}"),
    (b"GGUF", GGUF),
    (b"\x93NUMPY", f"a single numpy array: {_NOT_YET}; save it with numpy.savez"),
    (b"version https://git-lfs", "a git-lfs pointer, not the data: run `git lfs pull`"),
    (b"\x1f\x8b", "gzip: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd: unpack it first"),
)


def sniff(path: Path) -> str:
    """Return a name of `SUPPORTED`, or in plain words why the file is not read."""
    fd = open_regular(path)
    try:
        return sniff_open(fd, os.fstat(fd).st_size, path)
    finally:
        os.close(fd)


def sniff_open(fd: int, size: int, path: Path) -> str:
    """Return what an open file of `size` bytes is; a zip by all of its entries, if need be."""
    found = sniff_bytes(read_bytes(fd, 0, min(size, HEAD_BYTES), path))
    return _zip_by_directory(fd, size, path) if found == _SOME_ZIP else found


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
    if head.startswith(_ZIP_MAGIC):
        return _zip(head)
    if is_legacy(head):
        return TORCH
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"a pickle that torch.save did not write: {_NOT_YET}"
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
    return _by_entry(head[30 : 30 + length].decode("utf-8", "replace"))


def _by_entry(name: str) -> str:
    if name.count("/") == 1 and name.endswith(("/data.pkl", "/.format_version")):
        return TORCH
    if "/.data/" in name:
        return TORCH
    if name.endswith(".npy"):
        return NPZ
    if name in ("metadata.json", "config.json", "model.weights.h5"):
        return f"a Keras file: {_NOT_YET}; save its weights as safetensors"
    return _SOME_ZIP


def _zip_by_directory(fd: int, size: int, path: Path) -> str:
    """Tell a zip by its other entries: some tools write torch's in another order."""
    try:
        names = read_archive(fd, 0, size, path).entries
    except IncompleteError:
        return TORCH  # by far the likeliest; its reader says that the end is missing
    except (FormatError, TornError):
        return _SOME_ZIP
    kinds = {_by_entry(name) for name in names if name.endswith("/data.pkl")}
    return TORCH if TORCH in kinds else _SOME_ZIP
