"""Files that torch.save made: the objects in them, and where each storage's bytes are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats.opening import read_bytes
from forkmon.formats.pickle_tensors import storage_of
from forkmon.formats.pickle_values import Storage, TorchTensor
from forkmon.formats.pickles import PICKLE_CAP, load
from forkmon.formats.refs import ITEM_BYTES, Role, Skipped, TensorRef
from forkmon.formats.safetensors import NAME_CAP
from forkmon.formats.strided import extent, strided_ref, why_unread
from forkmon.formats.torch_legacy import is_legacy, read_legacy
from forkmon.formats.torch_zip import Archive, read_archive
from forkmon.text import safe

ZIP_MAGIC: Final = b"PK\3\4"
_PICKLE: Final = "/data.pkl"
_SHORT_CAP: Final = 64
"""Longest of the entries that hold one word."""


@dataclass(frozen=True, slots=True)
class TorchFile:
    """What a file holds."""

    root: object
    storages: Mapping[str, tuple[int, int]]
    """Absolute offset in the file and length in bytes, by key."""


def read_torch(fd: int, size: int, path: Path) -> TorchFile:
    """Return what an open file of `size` bytes holds, a zip or a legacy file by its content.

    Raises IncompleteError where its end is missing, FormatError for nonsense.
    """
    head = read_bytes(fd, 0, min(size, 40), path)
    if head.startswith(ZIP_MAGIC):
        return read_torch_range(fd, 0, size, path)
    if not is_legacy(head):
        _refuse(head, path)
    legacy = read_legacy(fd, size, path)
    if legacy.promised > size:
        raise IncompleteError(
            f"{safe(path.name)}: its storages need {legacy.promised:,} bytes, the file has {size:,}"
        )
    if legacy.promised < size:
        extra = size - legacy.promised
        raise FormatError(f"{safe(path.name)}: {extra:,} bytes after its last storage")
    return TorchFile(legacy.root, legacy.storages)


def read_torch_range(fd: int, offset: int, length: int, path: Path) -> TorchFile:
    """Return what the torch zip that lies in a range of an open file holds.

    The storages' offsets are those in the whole file.
    """
    archive = read_archive(fd, offset, length, path)
    prefix = _prefix(archive)
    root, keys = _objects(archive, prefix)
    return TorchFile(root, {key: archive.locate(f"{prefix}data/{key}") for key in keys})


def read_root(fd: int, size: int, path: Path) -> object:
    """Return the objects of an open torch zip, after a check that its storages are all there."""
    archive = read_archive(fd, 0, size, path)
    return _objects(archive, _prefix(archive))[0]


def tensor_ref(
    tensor: TorchTensor,
    name: str,
    file: Path,
    storages: Mapping[str, tuple[int, int]],
    role: Role = "model",
) -> TensorRef | Skipped:
    """Return where a tensor's elements are, checked against the storage that holds them.

    Raises FormatError where it reaches beyond its storage.
    """
    shown = name[:NAME_CAP]
    item = ITEM_BYTES.get(tensor.dtype)
    if item is None:
        return Skipped(shown, tensor.dtype[:40], why_unread(name, tensor.dtype, (), 1, NAME_CAP))
    begin, length = storages.get(tensor.storage.key, (0, -1))
    held = length // item
    reach = extent(tensor.shape, tensor.strides)
    if length < 0 or (reach and tensor.offset + reach > held):
        raise FormatError(
            f"{safe(file.name)}: tensor {safe(name)!r} reaches beyond the {max(length, 0):,} bytes "
            "stored for it"
        )
    reason = why_unread(name, tensor.dtype, tensor.shape, held, NAME_CAP)
    if reason:
        return Skipped(shown, tensor.dtype, reason)
    place = (file, begin + (tensor.offset * item if reach else 0))
    return strided_ref(name, tensor.dtype, tensor.shape, tensor.strides, place, role)


def _refuse(head: bytes, path: Path) -> None:
    if not head.strip(b"\0"):
        raise IncompleteError(f"{safe(path.name)}: nothing is written in it yet")
    raise FormatError(f"{safe(path.name)}: no file of torch.save's; not read")


def _prefix(archive: Archive) -> str:
    """Return what all names in a torch zip begin with."""
    found = [name for name in archive.entries if name.endswith(_PICKLE) and name.count("/") == 1]
    if len(found) != 1:
        raise FormatError(f"{safe(archive.path.name)}: a zip that torch.save did not write")
    prefix = found[0].removesuffix("data.pkl")
    order = f"{prefix}byteorder"
    if order in archive.entries and archive.read(order, _SHORT_CAP) != b"little":
        raise FormatError(f"{safe(archive.path.name)}: written on a big-endian machine; not read")
    return prefix


def _objects(archive: Archive, prefix: str) -> tuple[object, list[str]]:
    """Return the root object, and the keys of the storages it names."""
    keys: dict[str, None] = {}

    def persistent(identity: object) -> object:
        storage = storage_of(identity)
        if isinstance(storage, Storage):
            keys[storage.key] = None
        return storage

    raw = archive.read(f"{prefix}data.pkl", PICKLE_CAP)
    root = load(raw, safe(archive.path.name), persistent)
    missing = next((key for key in keys if f"{prefix}data/{key}" not in archive.entries), None)
    if missing is not None:
        raise FormatError(f"{safe(archive.path.name)}: storage {safe(missing)} is not in it")
    return root, list(keys)
