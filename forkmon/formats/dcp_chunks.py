"""Where the chunks of a distributed checkpoint have their elements: each is a small torch zip.

Chunks of one shape have the same bytes before their elements and the same record at their end, so
only the first of each kind is parsed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats import safetensors
from forkmon.formats.dcp_metadata import Chunk, Entry
from forkmon.formats.opening import open_as_seen, read_bytes
from forkmon.formats.pickles import TorchTensor
from forkmon.formats.refs import ITEM_BYTES, TensorRef, Tile
from forkmon.formats.safetensors_joined import starts_of
from forkmon.formats.tiles import tile_strides
from forkmon.formats.tiles_torch import torch_tile
from forkmon.formats.torch_file import read_torch_range
from forkmon.runs.refs import FilePrint
from forkmon.text import safe

Files = Mapping[str, tuple[Path, FilePrint]]
"""A directory's files by base name."""

_ZIP = b"PK\x03\x04"
_RECORD_BYTES = 22
"""The last record of a zip: it says how long its directory is and where it begins."""
_FIRST_BYTES = 9
_HEAD_CAP = 8192
_KINDS_CAP = 4096


@dataclass(frozen=True, slots=True)
class _Kind:
    """A chunk that was parsed, as a pattern of others."""

    head: bytes
    record: bytes
    strides: tuple[int, ...]
    ahead: int
    """From the end of `head` to the first element, in bytes."""


_Kinds = dict[tuple[int, tuple[int, ...], str], _Kind]
"""By length, shape and dtype."""


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The safetensors that a file of chunks ends with."""

    tensors: Mapping[str, TensorRef]
    starts: Mapping[str, tuple[int, ...]]
    """Where in the whole tensors these begin."""


@dataclass(slots=True)
class _File:
    """An open file of chunks."""

    fd: int
    path: Path
    size: int
    kinds: _Kinds
    sheets: dict[int, _Sheet] = field(default_factory=dict[int, _Sheet])


def tiles_of(entries: Sequence[Entry], files: Files) -> dict[str, list[Tile]]:
    """Return the tiles of each tensor by name; every file is opened once.

    Raises what names the tensor: IncompleteError where a file is too short or not there,
    FormatError where a chunk is not the tensor that was promised.
    """
    found: dict[str, list[Tile]] = {entry.name: [] for entry in entries}
    kinds: _Kinds = {}
    for file, chunks in _by_file(entries):
        if file not in files:
            raise IncompleteError(f"tensor {safe(chunks[0][0].name)!r}: {safe(file)} is not there")
        path, seen = files[file]
        fd = open_as_seen(path, seen)
        try:
            opened = _File(fd, path, seen.size, kinds)
            for entry, chunk in chunks:
                found[entry.name].append(_tile(opened, entry, chunk))
        finally:
            os.close(fd)
    return found


def check_begun(path: Path, seen: FilePrint, entry: Entry, chunk: Chunk) -> None:
    """Raise IncompleteError where nothing is written yet in a chunk's place."""
    if 0 in chunk.shape:
        return
    fd = open_as_seen(path, seen)
    try:
        _first_bytes(_File(fd, path, seen.size, {}), entry, chunk)
    finally:
        os.close(fd)


def _by_file(entries: Sequence[Entry]) -> Iterator[tuple[str, list[tuple[Entry, Chunk]]]]:
    chunks: dict[str, list[tuple[Entry, Chunk]]] = {}
    for entry in entries:
        for chunk in entry.chunks:
            if 0 not in chunk.shape:
                chunks.setdefault(chunk.stored.file, []).append((entry, chunk))
    for file in sorted(chunks):
        yield file, sorted(chunks[file], key=lambda pair: pair[1].stored.offset)


def _tile(opened: _File, entry: Entry, chunk: Chunk) -> Tile:
    where = f"{safe(opened.path.name)}: tensor {safe(entry.name)!r}"
    stored = chunk.stored
    first = _first_bytes(opened, entry, chunk)
    if not first.startswith(_ZIP) and first.endswith(b"{"):
        return _in_safetensors(opened, entry, chunk, where)
    if stored.offset + stored.length > opened.size:
        raise _too_short(where, stored.offset + stored.length, opened.size)
    if not first.startswith(_ZIP):
        raise FormatError(f"{where}: its chunk is no torch zip: of an earlier save, or damaged")
    return _like_another(opened, entry, chunk) or _parsed(opened, entry, chunk, where)


def _first_bytes(opened: _File, entry: Entry, chunk: Chunk) -> bytes:
    """Return the nine bytes that a chunk begins with: they tell a zip from safetensors."""
    where = f"{safe(opened.path.name)}: tensor {safe(entry.name)!r}"
    start = chunk.stored.offset
    if start + _FIRST_BYTES > opened.size:
        raise _too_short(where, start + chunk.stored.length, opened.size)
    first = read_bytes(opened.fd, start, _FIRST_BYTES, opened.path)
    if not any(first):
        raise IncompleteError(f"{where}: its chunk is not written yet")
    return first


def _too_short(where: str, wanted: int, size: int) -> IncompleteError:
    return IncompleteError(f"{where}: its chunk ends at byte {wanted:,}, the file has {size:,}")


def _like_another(opened: _File, entry: Entry, chunk: Chunk) -> Tile | None:
    """Return the tile of a chunk that has the bytes around it of one that was parsed."""
    stored = chunk.stored
    kind = opened.kinds.get((stored.length, chunk.shape, entry.dtype))
    if kind is None:
        return None
    head, record = _around(opened, chunk, len(kind.head))
    if head != kind.head or record != kind.record:
        return None
    offset = stored.offset + len(head) + kind.ahead
    return Tile(opened.path, offset, chunk.start, chunk.shape, kind.strides)


def _parsed(opened: _File, entry: Entry, chunk: Chunk, where: str) -> Tile:
    stored = chunk.stored
    try:
        file = read_torch_range(opened.fd, stored.offset, stored.length, opened.path)
    except (FormatError, IncompleteError) as error:
        raise FormatError(f"{where}: its chunk is not readable: {error}") from None
    tensor = file.root
    if not isinstance(tensor, TorchTensor) or tensor.wrapper not in ("", "parameter"):
        raise FormatError(f"{where}: its chunk holds something that is no plain tensor")
    _check_same(tensor, entry, chunk, where)
    tile = torch_tile(tensor, file.storages, chunk.start, opened.path, where)
    ahead = tensor.offset * ITEM_BYTES[tensor.dtype]
    before = tile.offset - ahead - stored.offset
    if before <= _HEAD_CAP and len(opened.kinds) < _KINDS_CAP:
        head, record = _around(opened, chunk, before)
        kind = _Kind(head, record, tile_strides(tile), ahead)
        opened.kinds[stored.length, chunk.shape, entry.dtype] = kind
    return tile


def _around(opened: _File, chunk: Chunk, length: int) -> tuple[bytes, bytes]:
    """Return the bytes of a chunk before its elements, and its last record."""
    stored = chunk.stored
    head = read_bytes(opened.fd, stored.offset, length, opened.path)
    end = stored.offset + stored.length
    return head, read_bytes(opened.fd, end - _RECORD_BYTES, _RECORD_BYTES, opened.path)


def _check_same(tensor: TorchTensor, entry: Entry, chunk: Chunk, where: str) -> None:
    """Raise unless a chunk holds what the metadata say: else one of them is of another save."""
    if tensor.shape != chunk.shape:
        raise FormatError(
            f"{where}: its chunk is {list(tensor.shape)}, the metadata say {list(chunk.shape)}: "
            "of two saves?"
        )
    if tensor.dtype != entry.dtype:
        raise FormatError(
            f"{where}: its chunk is {safe(tensor.dtype)}, the metadata say {safe(entry.dtype)}: "
            "of two saves?"
        )


def _in_safetensors(opened: _File, entry: Entry, chunk: Chunk, where: str) -> Tile:
    """Return the tile of a chunk in a file whose tensors were written as safetensors.

    There the metadata's offset is where the safetensors begin, behind the pickled objects.
    """
    start = chunk.stored.offset
    sheet = opened.sheets.get(start)
    if sheet is None:
        listing = _header_at(opened, start, where).listing
        tensors = {tensor.name: tensor for tensor in listing.tensors}
        sheet = opened.sheets[start] = _Sheet(tensors, starts_of(listing))
    tensor = sheet.tensors.get(entry.name)
    if tensor is None or tensor.dtype != entry.dtype or tensor.shape != chunk.shape:
        raise FormatError(f"{where}: its file does not hold what the metadata say: of two saves?")
    if sheet.starts[tensor.name] != chunk.start:
        raise FormatError(f"{where}: its file says another place of its chunk: of two saves?")
    return Tile(opened.path, start + tensor.offset, chunk.start, chunk.shape)


def _header_at(opened: _File, start: int, where: str) -> safetensors.Header:
    prefix = read_bytes(opened.fd, start, safetensors.PREFIX_BYTES, opened.path)
    length = safetensors.header_length(prefix, opened.path)
    if start + safetensors.PREFIX_BYTES + length > opened.size:
        raise _too_short(where, start + safetensors.PREFIX_BYTES + length, opened.size)
    raw = read_bytes(opened.fd, start + safetensors.PREFIX_BYTES, length, opened.path)
    header = safetensors.parse_header(raw, opened.path)
    if start + header.promised > opened.size:
        raise _too_short(where, start + header.promised, opened.size)
    if start + header.promised < opened.size:
        raise FormatError(f"{safe(opened.path.name)}: bytes after its last tensor")
    return header
