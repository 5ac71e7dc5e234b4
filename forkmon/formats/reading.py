"""A settled checkpoint's tensors: what it holds, and their bytes, read with `pread` only."""

from __future__ import annotations

import errno
import os
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from forkmon.errors import FormatError, IncompleteError, TornError, VanishedError
from forkmon.formats import safetensors, sharded
from forkmon.formats.opening import GONE, explained, file_print, fill, open_regular
from forkmon.formats.refs import ITEM_BYTES, Listing, TensorRef
from forkmon.runs.refs import CheckpointRef, FilePrint
from forkmon.text import safe

KEPT_OPEN = 32
"""Checkpoints of more files than this open a file for each read: descriptors are scarce."""


class Reader(Protocol):
    """What a format must offer; registered by its name in `READERS`."""

    def listing(self, ref: CheckpointRef) -> Listing:
        """Return everything the checkpoint holds, headers only."""
        ...


class SafetensorsReader:
    """Reads a single safetensors file, or several with or without their index."""

    def listing(self, ref: CheckpointRef) -> Listing:
        """Return the tensors of all files, in file order."""
        parts = [
            _file_listing(path, seen)
            for path, seen in zip(ref.files, ref.fingerprint.files, strict=True)
        ]
        whole = Listing(
            tuple(tensor for part in parts for tensor in part.tensors),
            tuple(skip for part in parts for skip in part.skipped),
            tuple(dict(pair for part in parts for pair in part.metadata).items()),
        )
        _check_names(whole)
        _check_one_save(parts)
        _check_index(ref, parts)
        return whole


READERS: dict[str, Reader] = {"safetensors": SafetensorsReader()}


def listing(ref: CheckpointRef) -> Listing:
    """Return everything the checkpoint holds; only headers are read."""
    reader = READERS.get(ref.format)
    if reader is None:
        raise FormatError(f"{safe(ref.path.name)}: format {safe(ref.format)} has no reader")
    return reader.listing(ref)


def _file_listing(path: Path, seen: FilePrint) -> Listing:
    fd = _open_as_seen(path, seen)
    try:
        header = safetensors.read_header(fd, seen.size, path)
    finally:
        os.close(fd)
    if seen.size < header.promised:
        raise IncompleteError(
            f"{safe(path.name)}: the header promises {header.promised:,} bytes, "
            f"the file has {seen.size:,}"
        )
    if seen.size > header.promised:
        extra = seen.size - header.promised
        raise FormatError(f"{safe(path.name)}: {extra:,} bytes after its last tensor")
    return header.listing


def _check_names(whole: Listing) -> None:
    if len(whole.tensors) > safetensors.TENSOR_CAP:
        raise FormatError(f"{len(whole.tensors):,} tensors, beyond {safetensors.TENSOR_CAP:,}")
    twice = [name for name, n in Counter(t.name for t in whole.tensors).items() if n > 1]
    if twice:
        raise FormatError(f"tensor {safe(twice[0])!r} comes in two of its files")


def _check_one_save(parts: list[Listing]) -> None:
    steps = {step for part in parts if (step := dict(part.metadata).get("step"))}
    if len(steps) > 1:
        raise FormatError(f"its shards come from different steps: {safe(sorted(steps))}")


def _check_index(ref: CheckpointRef, parts: list[Listing]) -> None:
    """Hold the shards against their index: shards of an earlier save lack some of its tensors."""
    index = _index_of(ref)
    if index is None:
        return
    weight_map = sharded.read_index(index)
    held = {
        seen.name: {t.name for t in part.tensors} | {s.name for s in part.skipped}
        for seen, part in zip(ref.fingerprint.files, parts, strict=True)
    }
    for tensor, shard in weight_map.items():
        if shard not in held:
            raise TornError(f"{safe(index.name)} changed: it now names {safe(shard)}")
        if tensor not in held[shard] and len(tensor) <= safetensors.NAME_CAP:
            raise FormatError(
                f"{safe(shard)} lacks {safe(tensor)!r}, which the index promises: "
                "shards of two saves mixed?"
            )


def _index_of(ref: CheckpointRef) -> Path | None:
    if len(ref.files) == 1 and not sharded.SHARD.match(ref.fingerprint.files[0].name):
        return None
    match = sharded.SHARD.match(ref.fingerprint.files[0].name)
    stem = match["stem"] if match else "model"
    index = ref.path / f"{stem}{sharded.INDEX_SUFFIX}"
    return index if index.is_file() else None


def _open_as_seen(path: Path, seen: FilePrint) -> int:
    """Open a file and make sure that it is still the one that settled."""
    fd = open_regular(path)
    if file_print(seen.name, os.fstat(fd)) != seen:
        os.close(fd)
        raise TornError(f"{safe(path.name)} changed since it settled; waiting for it again")
    return fd


class OpenFiles:
    """A settled checkpoint's files, open for reading by many threads at once."""

    def __init__(self, ref: CheckpointRef, *, keep_cached: bool = False) -> None:
        self._seen = dict(zip(ref.files, ref.fingerprint.files, strict=True))
        self._keep_cached = keep_cached
        self._open: dict[Path, int] = {}

    def __enter__(self) -> Self:
        if len(self._seen) > KEPT_OPEN:
            return self
        try:
            for path, seen in self._seen.items():
                self._open[path] = _open_as_seen(path, seen)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def read_into(self, tensor: TensorRef, first: int, out: memoryview) -> None:
        """Fill `out` with the bytes of the tensor's elements from index `first` on."""
        raw = out.cast("B")
        begin = first * ITEM_BYTES[tensor.dtype]
        if first < 0 or begin + len(raw) > tensor.bytes:
            raise ValueError(f"{safe(tensor.name)!r} ends before element {first} + {len(raw)} B")
        fd = self._open.get(tensor.file)
        if fd is not None:
            self._fill(fd, tensor.offset + begin, raw, tensor.file)
        else:
            self._fill_anew(tensor.offset + begin, raw, tensor.file)

    def verify(self) -> None:
        """Raise unless every file is still, by path and by descriptor, the one that settled."""
        for path, seen in self._seen.items():
            try:
                if file_print(seen.name, path.lstat()) != seen:
                    raise TornError(f"{safe(path.name)} changed while it was read; read again")
                fd = self._open.get(path)
                if fd is not None and file_print(seen.name, os.fstat(fd)) != seen:
                    raise TornError(f"{safe(path.name)} was replaced while it was read")
            except OSError as error:
                raise explained(error, path) from None

    def _fill(self, fd: int, offset: int, out: memoryview, path: Path) -> None:
        try:
            fill(fd, offset, out, path)
        except VanishedError:
            # ESTALE: the server forgot the handle; the file may still be there under its name.
            self._fill_anew(offset, out, path)

    def _fill_anew(self, offset: int, out: memoryview, path: Path) -> None:
        fd = _open_as_seen(path, self._seen[path])
        try:
            fill(fd, offset, out, path)
        finally:
            self._close_one(fd, offset, len(out))

    def _close(self) -> None:
        for fd in self._open.values():
            self._close_one(fd)
        self._open.clear()

    def _close_one(self, fd: int, first: int = 0, length: int = 0) -> None:
        # The trainer's page cache is not ours to fill; what was dirty stays.
        if not self._keep_cached and hasattr(os, "posix_fadvise"):
            try:
                os.posix_fadvise(fd, first, length, os.POSIX_FADV_DONTNEED)
            except OSError as error:
                if error.errno not in GONE | {errno.EINVAL, errno.ENOSYS, errno.EIO}:
                    raise
        os.close(fd)
