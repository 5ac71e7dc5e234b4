"""The files of torch.save before 1.6: five pickles, then each storage's length and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats.opening import read_bytes
from forkmon.formats.pickle_tensors import STORED_BYTES, storage_of
from forkmon.formats.pickles import (
    PICKLE_CAP,
    EndedEarlyError,
    Storage,
    load_from,
)
from forkmon.text import safe

MAGIC: Final = 0x1950A86A20F9469CFC6C
MAGIC_BYTES: Final = MAGIC.to_bytes(10, "little")
_PROTOCOL: Final = 1001
_FIRST_BYTES: Final = 1 << 20
_KEYS_CAP: Final = 1_000_000
_LENGTH_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Legacy:
    """What a legacy file holds."""

    root: object
    storages: dict[str, tuple[int, int]]
    """Offset and length in bytes, by key."""
    data_start: int
    """Where the first storage's length is: the pickles end there."""
    promised: int
    """The length in bytes of the whole file."""


@dataclass(slots=True)
class _Storages:
    """The storages that the pickle names, and the parts of storages of the oldest files."""

    found: dict[str, Storage] = field(default_factory=dict[str, Storage])
    parts: dict[str, tuple[str, int, Storage]] = field(
        default_factory=dict[str, tuple[str, int, Storage]]
    )

    def persistent(self, identity: object) -> object:
        """Return what an id of the pickle stands for."""
        storage = storage_of(identity)
        fields = cast("tuple[object, ...]", identity) if isinstance(identity, tuple) else ()
        if len(fields) == 4 and fields[0] == "module":
            return fields[1]  # a class, with its source: nobody reads that
        if not isinstance(storage, Storage):
            return storage
        self.found[storage.key] = storage
        part = fields[5] if len(fields) > 5 else None
        return storage if part is None else self._part(storage, part)

    def _part(self, whole: Storage, described: object) -> Storage:
        fields = cast("Sequence[object]", described) if isinstance(described, tuple) else ()
        if len(fields) != 3:
            raise ValueError
        key, offset, numel = fields
        if not isinstance(key, str) or not isinstance(offset, int) or not isinstance(numel, int):
            raise TypeError
        if not 0 <= offset <= offset + numel <= whole.numel:
            raise ValueError
        part = Storage(whole.dtype, f"{whole.key}/{key}", numel)
        self.parts[part.key] = (whole.key, offset, part)
        return part


def read_legacy(fd: int, size: int, path: Path) -> Legacy:
    """Return what a legacy file of `size` bytes holds, complete or still growing.

    Raises IncompleteError while the pickles themselves are not all there.
    """
    window = min(size, _FIRST_BYTES)
    while True:
        raw = read_bytes(fd, 0, window, path)
        try:
            return _parsed(fd, raw, size, path)
        except EndedEarlyError:
            if window == size:
                raise IncompleteError(f"{safe(path.name)}: its pickles are not all there") from None
        if window >= PICKLE_CAP:
            raise FormatError(f"{safe(path.name)}: a pickle beyond {PICKLE_CAP:,} bytes")
        window = min(size, 4 * window, PICKLE_CAP)


def _parsed(fd: int, raw: bytes, size: int, path: Path) -> Legacy:
    what = safe(path.name)
    storages = _Storages()
    magic, at = load_from(raw, 0, what)
    if magic != MAGIC:
        raise FormatError(f"{what}: a pickle that torch.save did not write; not read")
    protocol, at = load_from(raw, at, what)
    system, at = load_from(raw, at, what)
    if protocol != _PROTOCOL or not isinstance(system, dict):
        raise FormatError(f"{what}: of another protocol of torch's")
    if cast("dict[object, object]", system).get("little_endian") is not True:
        raise FormatError(f"{what}: written on a big-endian machine; not read")
    root, at = load_from(raw, at, what, storages.persistent)
    keys, at = load_from(raw, at, what)
    if not isinstance(keys, list) or len(cast("list[object]", keys)) > _KEYS_CAP:
        raise FormatError(f"{what}: its list of storages is none")
    placed, promised = _placed(fd, at, size, cast("list[object]", keys), storages, path)
    return Legacy(root, placed, at, promised)


def _placed(
    fd: int, at: int, size: int, keys: list[object], storages: _Storages, path: Path
) -> tuple[dict[str, tuple[int, int]], int]:
    """Return where each storage is; those beyond the file's end are where they will be."""
    placed: dict[str, tuple[int, int]] = {}
    for key in keys:
        storage = storages.found.get(str(key) if isinstance(key, (str, int)) else "")
        if storage is None or storage.key in placed:
            raise FormatError(f"{safe(path.name)}: a storage that nothing in it names")
        length = storage.numel * _item_bytes(storage.dtype, path)
        if at + _LENGTH_BYTES <= size:
            given = int.from_bytes(read_bytes(fd, at, _LENGTH_BYTES, path), "little", signed=True)
            if given != storage.numel:
                raise FormatError(
                    f"{safe(path.name)}: storage {safe(storage.key)} has {given:,} elements and "
                    f"was to have {storage.numel:,}"
                )
        placed[storage.key] = (at + _LENGTH_BYTES, length)
        at += _LENGTH_BYTES + length
    for key, (whole, offset, part) in storages.parts.items():
        if whole in placed:
            item = _item_bytes(part.dtype, path)
            placed[key] = (placed[whole][0] + offset * item, part.numel * item)
    return placed, at


def _item_bytes(dtype: str, path: Path) -> int:
    if dtype not in STORED_BYTES:
        raise FormatError(f"{safe(path.name)}: a storage of {safe(dtype, 40)}, not known here")
    return STORED_BYTES[dtype]


def is_legacy(head: bytes) -> bool:
    """Return whether a file begins as torch.save's legacy files do, in any pickle protocol."""
    return head[:1] == b"\x80" and MAGIC_BYTES in head[:40]
