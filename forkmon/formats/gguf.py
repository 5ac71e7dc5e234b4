"""GGUF files: float and integer tensors by range, quantised blocks by name only."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final, NoReturn

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats.opening import open_as_seen, read_bytes
from forkmon.formats.refs import Listing, Skipped, TensorRef
from forkmon.formats.safetensors import NAME_CAP, TENSOR_CAP
from forkmon.runs.refs import CheckpointRef
from forkmon.text import safe

MAGIC: Final = b"GGUF"
_HEADER_CAP: Final = 128 << 20
"""Longest header read, in bytes: vocabularies are in it."""
_FIRST_BYTES: Final = 1 << 20
_PAIRS_CAP: Final = 100_000
_ARRAY_CAP: Final = 4_000_000
_RANK_CAP: Final = 8
_INT63: Final = 1 << 63
_NESTING_CAP: Final = 4
_DEFAULT_ALIGNMENT: Final = 32
_TEXT, _ARRAY = 8, 9

_TYPES: Final[dict[int, str]] = {
    0: "f32", 1: "f16", 24: "i8", 25: "i16", 26: "i32", 27: "i64", 28: "f64", 30: "bf16",
}  # fmt: skip
_BLOCKS: Final[dict[int, tuple[str, int, int]]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4),
    27: ("I64", 1, 8), 28: ("F64", 1, 8), 30: ("BF16", 1, 2),
    2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip
"""Name, elements a block and bytes a block of each type (llama.cpp's table)."""
_SCALARS: Final[dict[int, int]] = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1,
                                   10: 8, 11: 8, 12: 8}  # fmt: skip
"""Bytes of each type of metadata that has a fixed size."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says."""

    listing: Listing
    data_start: int
    promised: int
    """The length in bytes of the file at least; its end may be padded."""
    alignment: int


class GgufReader:
    """Reads GGUF files, one or the parts of one."""

    def listing(self, ref: CheckpointRef) -> Listing:
        """Return the tensors of all files, in file order."""
        parts = [
            _file(path, seen.name, open_as_seen(path, seen), seen.size)
            for path, seen in zip(ref.files, ref.fingerprint.files, strict=True)
        ]
        return Listing(
            tuple(tensor for part in parts for tensor in part.tensors),
            tuple(skip for part in parts for skip in part.skipped),
        )


def read_gguf(fd: int, size: int, path: Path) -> Header:
    """Return the checked header of an open file of `size` bytes, complete or still growing.

    Raises IncompleteError while the header itself is not all there.
    """
    window = min(size, _FIRST_BYTES)
    while True:
        raw = read_bytes(fd, 0, window, path)
        try:
            return _Parser(raw, path).header()
        except (struct.error, EOFError):
            if window == size:
                raise IncompleteError(f"{safe(path.name)}: its header is not all there") from None
        if window >= _HEADER_CAP:
            raise FormatError(f"{safe(path.name)}: a header beyond {_HEADER_CAP:,} bytes; not read")
        window = min(size, 4 * window, _HEADER_CAP)


def _file(path: Path, name: str, fd: int, size: int) -> Listing:
    try:
        header = read_gguf(fd, size, path)
    finally:
        os.close(fd)
    if size < header.promised:
        raise IncompleteError(
            f"{safe(name)}: the header promises {header.promised:,} bytes, the file has {size:,}"
        )
    return header.listing


@dataclass(slots=True)
class _Parser:
    """Reads a header from its begin to its end."""

    raw: bytes
    path: Path
    at: int = 0
    alignment: int = _DEFAULT_ALIGNMENT

    def header(self) -> Header:
        magic, version, tensors, pairs = self._unpack("<4sIQQ")
        if magic != MAGIC or version not in (2, 3):
            self._nonsense(f"GGUF of version {safe(version, 40)} is not read")
        if int(tensors) > TENSOR_CAP or int(pairs) > _PAIRS_CAP:
            self._nonsense("more tensors or fields than are read")
        for _ in range(int(pairs)):
            self._pair()
        described = [self._tensor() for _ in range(int(tensors))]
        if self.at > len(self.raw):
            raise EOFError
        start = -(-self.at // self.alignment) * self.alignment
        return self._placed(described, start)

    def _nonsense(self, why: str) -> NoReturn:
        raise FormatError(f"{safe(self.path.name)}: {why}")

    def _unpack(self, form: str) -> tuple[bytes | int, ...]:
        found = struct.unpack_from(form, self.raw, self.at)
        self.at += struct.calcsize(form)
        return found

    def _number(self, form: str) -> int:
        return int(self._unpack(form)[0])

    def _text(self) -> str:
        length = self._number("<Q")
        end = self.at + length
        if end > len(self.raw):
            raise EOFError
        text = self.raw[self.at : end].decode("utf-8", "backslashreplace")
        self.at = end
        return text

    def _pair(self) -> None:
        key, kind = self._text(), self._number("<I")
        if key == "general.alignment" and kind == 4:
            self.alignment = self._number("<I")
            if not 8 <= self.alignment <= 1 << 20 or self.alignment % 8:
                self._nonsense(f"an alignment of {self.alignment}")
            return
        self._skip(kind, 0)

    def _skip(self, kind: int, depth: int) -> None:
        if kind in _SCALARS:
            self.at += _SCALARS[kind]
        elif kind == _TEXT:
            self._text()
        elif kind == _ARRAY and depth < _NESTING_CAP:
            inner, count = self._number("<I"), self._number("<Q")
            if count > _ARRAY_CAP:
                self._nonsense("a list in its header is too long")
            if inner in _SCALARS:
                self.at += _SCALARS[inner] * count
                return
            for _ in range(count):
                self._skip(inner, depth + 1)
        else:
            self._nonsense(f"a field of type {kind}, not known here")

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, rank = self._text(), self._number("<I")
        if rank > _RANK_CAP:
            self._nonsense(f"tensor {safe(name)!r} has {rank:,} dimensions")
        sizes = tuple(int(size) for size in self._unpack(f"<{rank}Q"))
        kind, offset = self._number("<I"), self._number("<Q")
        if max(*sizes, offset, 0, 0) >= _INT63:
            self._nonsense(f"tensor {safe(name)!r} has a size that is none")
        # The axis that changes fastest comes first in the file.
        return name, sizes[::-1], kind, offset

    def _placed(self, described: list[tuple[str, tuple[int, ...], int, int]], start: int) -> Header:
        tensors: list[TensorRef] = []
        skipped: list[Skipped] = []
        names: set[str] = set()
        reached = 0
        for name, shape, kind, offset in sorted(described, key=lambda fields: fields[3]):
            if name in names:
                self._nonsense(f"tensor {safe(name)!r} comes twice")
            names.add(name)
            if offset < reached or offset % self.alignment:
                self._nonsense(f"tensor {safe(name)!r} overlaps the one before it")
            label, per_block, block_bytes = _BLOCKS.get(kind, (f"type {kind}", 1, 0))
            if prod(shape) % per_block:
                self._nonsense(f"tensor {safe(name)!r} ends within a block")
            reached = offset + prod(shape) // per_block * block_bytes
            dtype = _TYPES.get(kind)
            if dtype is None or not name or len(name) > NAME_CAP:
                reason = "quantised in blocks: not read" if dtype is None else "no usable name"
                skipped.append(Skipped(name[:NAME_CAP], label, reason))
            else:
                tensors.append(TensorRef(name, dtype, shape, self.path, start + offset))
        if start + reached >= _INT63:
            self._nonsense("promises more bytes than a file can have")
        listing = Listing(tuple(tensors), tuple(skipped))
        return Header(listing, start, start + reached, self.alignment)
