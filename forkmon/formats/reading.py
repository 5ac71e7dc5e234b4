"""A settled checkpoint's tensors: what it holds, and their bytes, read with `pread` only."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from forkmon.errors import FormatError, IncompleteError, TornError, VanishedError
from forkmon.formats import page_cache, safetensors, sharded
from forkmon.formats.logical_view import read_view
from forkmon.formats.opening import explained, file_print, fill, open_regular
from forkmon.formats.pacing import Pace
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

    def __init__(
        self, ref: CheckpointRef, *, keep_cached: bool = False, pace: Pace | None = None
    ) -> None:
        """Open lazily; `keep_cached` leaves all that is read in the page cache."""
        self._seen = dict(zip(ref.files, ref.fingerprint.files, strict=True))
        self._tidy = page_cache.CAN_TELL and not keep_cached
        self._pace = pace
        self._borrowed = page_cache.Borrowed()
        self._open: dict[Path, int] = {}

    def __enter__(self) -> Self:
        if len(self._seen) > KEPT_OPEN:
            return self
        try:
            for path in self._seen:
                self._open[path] = self._opened(path)
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
        if tensor.view is not None:
            read_view(self._read, tensor, tensor.view, first, raw)
        else:
            self._read(tensor.offset + begin, raw, tensor.file)

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

    def _opened(self, path: Path) -> int:
        fd = _open_as_seen(path, self._seen[path])
        if not self._tidy:
            page_cache.read_on(fd)
        return fd

    def _read(self, offset: int, raw: memoryview, path: Path) -> None:
        if self._pace is not None:
            self._pace.take(len(raw))
        fd = self._open.get(path)
        if fd is not None:
            self._fill(fd, offset, raw, path)
        else:
            self._fill_anew(offset, raw, path)

    def _fill(self, fd: int, offset: int, out: memoryview, path: Path) -> None:
        try:
            brought = self._fill_from(fd, offset, out, path)
        except VanishedError:
            # ESTALE: the server forgot the handle; the file may still be there under its name.
            self._fill_anew(offset, out, path)
            return
        for missing in brought:
            self._borrowed.add(fd, missing)

    def _fill_anew(self, offset: int, out: memoryview, path: Path) -> None:
        fd = self._opened(path)
        try:
            for missing in self._fill_from(fd, offset, out, path):
                page_cache.drop(fd, missing)
        finally:
            os.close(fd)

    def _fill_from(
        self, fd: int, offset: int, out: memoryview, path: Path
    ) -> list[page_cache.Range]:
        """Read, and return what this brought into the page cache."""
        missing = self._fill_cached(fd, offset, out)
        if missing is None:
            fill(fd, offset, out, path)
            return []
        for first, last in missing:
            fill(fd, first, out[first - offset : last - offset], path)
        return missing

    def _fill_cached(self, fd: int, offset: int, out: memoryview) -> list[page_cache.Range] | None:
        """Fill what the page cache holds, return what it does not; None: read it all as usual."""
        if not self._tidy:
            return None
        try:
            missing = page_cache.read_cached(fd, offset, out)
        except OSError:
            return None  # the read as usual meets the error again, and explains it
        if missing is None:
            self._tidy = False
            page_cache.read_on(fd)
        return missing

    def _close(self) -> None:
        self._borrowed.give_back()
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
