"""The `.metadata` of torch's distributed checkpoints: which tensors there are, in which chunks.

It is a pickle, so it goes through the allow-list unpickler; nothing of it is trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from forkmon.errors import FormatError
from forkmon.formats.pickle_tensors import DTYPES
from forkmon.formats.pickles import Stub, load
from forkmon.formats.safetensors import TENSOR_CAP
from forkmon.text import safe

CHUNKS_CAP = 4_000_000
"""Most chunks of all tensors together."""
_INT64_END = 1 << 63
_BASE_NAME = re.compile(r"[^/\\\0]+")


@dataclass(frozen=True, slots=True)
class Stored:
    """A range of a file that holds one chunk of a tensor, or one pickled object."""

    file: str
    """Base name; checked to be one."""
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A box of a tensor, and the range that holds it."""

    start: tuple[int, ...]
    shape: tuple[int, ...]
    stored: Stored


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor as the metadata describes it."""

    name: str
    path: tuple[str, ...]
    """Where it was in the state dict; empty where the metadata do not say."""
    dtype: str
    """forkmon's name where it has one, else torch's."""
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class Metadata:
    """What one `.metadata` says."""

    tensors: tuple[Entry, ...]
    objects: Mapping[str, Stored]
    """Pickled objects that are no tensors, by name."""


Placed = Mapping[tuple[str, tuple[int, ...] | None], Stored]


def parse_metadata(raw: bytes, what: str) -> Metadata:
    """Return what the bytes of a `.metadata` say, checked; FormatError for nonsense.

    `what` names the file in an error, already safe.
    """
    fields = _fields(load(raw, what), "Metadata", what)
    described = _mapping(fields.get("state_dict_metadata"), f"{what}: its state_dict_metadata")
    if len(described) > TENSOR_CAP:
        raise FormatError(f"{what}: {len(described):,} entries, beyond {TENSOR_CAP:,}")
    placed = _placed(fields.get("storage_data"), what)
    paths = _paths(fields.get("planner_data"))
    tensors: list[Entry] = []
    objects: dict[str, Stored] = {}
    for name, entry in described.items():
        if not isinstance(name, str):
            raise FormatError(f"{what}: an entry's name is no text")
        if isinstance(entry, Stub) and entry.kind == "BytesStorageMetadata":
            stored = placed.get((name, None))
            if stored is not None:
                objects[name] = stored
        else:
            tensors.append(_entry(name, paths.get(name, ()), entry, placed, what))
    return Metadata(tuple(tensors), objects)


def merged(parts: Sequence[Metadata]) -> Metadata:
    """Return what the ranks' own metadata say together; each rank names only its own chunks."""
    found: dict[str, Entry] = {}
    objects: dict[str, Stored] = {}
    for part in parts:
        objects.update(part.objects)
        for entry in part.tensors:
            first = found.setdefault(entry.name, entry)
            if (first.dtype, first.shape) != (entry.dtype, entry.shape):
                raise FormatError(
                    f"tensor {safe(entry.name)!r}: its ranks differ in dtype or shape"
                )
            # What every rank holds whole is written by each of them: the first one counts.
            boxes = {(chunk.start, chunk.shape): chunk for chunk in entry.chunks}
            boxes |= {(chunk.start, chunk.shape): chunk for chunk in first.chunks}
            chunks = tuple(boxes[key] for key in sorted(boxes))
            found[entry.name] = Entry(first.name, first.path, first.dtype, first.shape, chunks)
    return Metadata(tuple(found.values()), objects)


def _entry(
    name: str, path: tuple[str, ...], entry: object, placed: Placed, what: str
) -> Entry:  # fmt: skip
    where = f"{what}: tensor {safe(name)!r}"
    fields = _fields(entry, "TensorStorageMetadata", where)
    chunks: list[Chunk] = []
    for described in _sequence(fields.get("chunks"), f"{where}: its chunks"):
        box = _fields(described, "ChunkStorageMetadata", where)
        start = _size(box.get("offsets"), where)
        shape = _size(box.get("sizes"), where)
        stored = placed.get((name, start)) or placed.get((name, None))
        if stored is None:
            raise FormatError(f"{where}: nothing says where its chunk at {list(start)} is stored")
        chunks.append(Chunk(start, shape, stored))
    dtype = _dtype(fields.get("properties"), where)
    return Entry(name, path, dtype, _size(fields.get("size"), where), tuple(chunks))


def _placed(storage: object, what: str) -> Placed:
    """Return where each (name, offset) is stored."""
    entries = _mapping(storage, f"{what}: its storage_data")
    if len(entries) > CHUNKS_CAP:
        raise FormatError(f"{what}: {len(entries):,} chunks, beyond {CHUNKS_CAP:,}")
    placed: dict[tuple[str, tuple[int, ...] | None], Stored] = {}
    for index, info in entries.items():
        key = _fields(index, "MetadataIndex", what)
        name, at = key.get("fqn"), key.get("offset")
        if not isinstance(name, str):
            raise FormatError(f"{what}: a chunk's name is no text")
        where = f"{what}: tensor {safe(name)!r}"
        offset = None if at is None else _size(at, where)
        placed[name, offset] = _stored(_fields(info, "_StorageInfo", where), where)
    return placed


def _stored(info: Mapping[str, object], where: str) -> Stored:
    if info.get("transform_descriptors"):
        raise FormatError(
            f"{where}: written through an extension (compression?), which is not read; save it "
            "without one"
        )
    file, offset, length = info.get("relative_path"), info.get("offset"), info.get("length")
    if (
        not isinstance(file, str)
        or not _BASE_NAME.fullmatch(file)
        or file in (".", "..")
        or not file.isprintable()
    ):
        raise FormatError(
            f"{where}: stored in {safe(file)!r}, which is no file of its directory; not followed"
        )
    return Stored(file, _natural(offset, where), _natural(length, where))


def _paths(planner: object) -> dict[str, tuple[str, ...]]:
    """Return the place of each name in the state dict; what is of another shape says nothing."""
    found: dict[str, tuple[str, ...]] = {}
    if isinstance(planner, dict):
        for name, path in cast("dict[object, object]", planner).items():
            if isinstance(name, str) and _may_be_path(path, name):
                parts = tuple(str(part) for part in cast("Sequence[object]", path)
                              if isinstance(part, (str, int)))  # fmt: skip
                if ".".join(parts) == name:
                    found[name] = parts
    return found


def _may_be_path(path: object, name: str) -> bool:
    """Return whether something has as many parts as a name at most, and is no longer."""
    if not isinstance(path, (tuple, list)):
        return False
    parts = cast("Sequence[object]", path)
    return len(parts) <= 1 + name.count(".") and all(
        not isinstance(part, str) or len(part) <= len(name) for part in parts
    )


def _dtype(properties: object, where: str) -> str:
    """Return a tensor's dtype: the first of the properties' state, or of their attributes."""
    named: object = None
    if isinstance(properties, Stub):
        state: object = properties.state
        named = properties.fields.get("dtype")
        if isinstance(state, tuple) and state:
            named = cast("tuple[object, ...]", state)[0]
    if not isinstance(named, Stub):
        raise FormatError(f"{where} has no dtype")
    return DTYPES.get(named.kind, named.kind)


def _fields(value: object, kind: str, what: str) -> Mapping[str, object]:
    """Return the attributes of an object that is to be of the class `kind`."""
    if isinstance(value, Stub) and value.kind == kind:
        return value.fields
    raise FormatError(f"{what}: no metadata of torch's distributed checkpoints ({kind} expected)")


def _mapping(value: object, what: str) -> Mapping[object, object]:
    if not isinstance(value, dict):
        raise FormatError(f"{what} is no mapping")
    return cast("dict[object, object]", value)


def _sequence(value: object, what: str) -> Iterator[object]:
    if not isinstance(value, (list, tuple)):
        raise FormatError(f"{what} is no list")
    yield from cast("Sequence[object]", value)


def _size(value: object, where: str) -> tuple[int, ...]:
    return tuple(_natural(item, where) for item in _sequence(value, f"{where}: a size of it"))


def _natural(value: object, where: str) -> int:
    if type(value) is not int or not 0 <= value < _INT64_END:
        raise FormatError(f"{where}: {safe(value, 40)} is no size and no offset")
    return value
