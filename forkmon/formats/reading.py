"""A settled checkpoint's tensors: what it holds, and their bytes, read with `pread` only."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol, Self

from forkmon.errors import FormatError, TornError, VanishedError
from forkmon.formats import naming, page_cache, safetensors, sharded
from forkmon.formats.dcp import DcpReader
from forkmon.formats.deepspeed import DeepspeedReader
from forkmon.formats.gguf import GgufReader
from forkmon.formats.logical_view import ReadBytes, read_view
from forkmon.formats.megatron import MegatronReader
from forkmon.formats.nanotron import NanotronReader
from forkmon.formats.npz import NpzReader
from forkmon.formats.opening import explained, file_print, fill, open_as_seen
from forkmon.formats.pacing import Pace
from forkmon.formats.ranks import RanksReader
from forkmon.formats.refs import ITEM_BYTES, Listing, TensorRef, Tiled
from forkmon.formats.safetensors_reader import SafetensorsReader
from forkmon.formats.tiles import Boxes, boxes_of, read_tiled
from forkmon.formats.torch_reader import TorchReader
from forkmon.runs.refs import CheckpointRef, Fingerprint
from forkmon.text import safe

KEPT_OPEN = 32
"""Checkpoints of more files than this open a file for each read: descriptors are scarce."""


class Reader(Protocol):
    """What a format must offer; registered by its name in `READERS`."""

    def listing(self, ref: CheckpointRef) -> Listing:
        """Return everything the checkpoint holds, headers only."""
        ...


READERS: dict[str, Reader] = {
    "safetensors": SafetensorsReader(),
    "torch": TorchReader(),
    "npz": NpzReader(),
    "gguf": GgufReader(),
    "dcp": DcpReader(),
    "deepspeed": DeepspeedReader(),
    "megatron": MegatronReader(),
    "ranks": RanksReader(),
    "nanotron": NanotronReader(),
}


def listing(ref: CheckpointRef) -> Listing:
    """Return everything the checkpoint holds, under its plain names; only headers are read."""
    reader = READERS.get(ref.format)
    if reader is None:
        raise FormatError(f"{safe(ref.path.name)}: format {safe(ref.format)} has no reader")
    weights, beside = _apart(ref)
    stored = reader.listing(weights)
    if beside.files:
        stored = _with_optimizer(stored, READERS["torch"].listing(beside))
    if ref.format == "torch":
        _check_shards(ref, stored)
    found = naming.normalised(stored)
    _check_names(found)
    return found


def _apart(ref: CheckpointRef) -> tuple[CheckpointRef, CheckpointRef]:
    """Return the weights, and what torch saved of the optimizer beside safetensors."""
    files = list(zip(ref.files, ref.fingerprint.files, strict=True))
    aside = [ref.format == "safetensors" and is_side_file(seen.name) for _, seen in files]

    def only(wanted: bool) -> CheckpointRef:  # noqa: FBT001
        kept = [file for file, side in zip(files, aside, strict=True) if side is wanted]
        prints = Fingerprint(tuple(seen for _, seen in kept))
        return replace(ref, files=tuple(path for path, _ in kept), fingerprint=prints)

    return (only(wanted=False), only(wanted=True)) if any(aside) else (ref, only(wanted=True))


def is_side_file(name: str) -> bool:
    """Return whether a file beside safetensors is one of an optimizer that torch saved."""
    base = PurePosixPath(name).name
    return base.startswith("optimizer") and base.endswith((".pt", ".bin", ".pth"))


def _with_optimizer(weights: Listing, states: Listing) -> Listing:
    """Return both; states keep their numbers: safetensors do not keep the parameters' order."""
    return Listing(
        weights.tensors + tuple(replace(tensor, role="optimizer") for tensor in states.tensors),
        weights.skipped + tuple(replace(skip, is_parameter=False) for skip in states.skipped),
        weights.metadata,
        weights.notes + states.notes,
    )


def _check_shards(ref: CheckpointRef, found: Listing) -> None:
    """Hold the shards of torch's against their index, where there is one."""
    anywhere = {skip.name for skip in found.skipped}
    by_file = {path: set(anywhere) for path in ref.files}
    for tensor in found.tensors:
        by_file.setdefault(tensor.file, set()).add(tensor.stored_as or tensor.name)
    sharded.check_index(ref, [by_file[path] for path in ref.files])


def _check_names(found: Listing) -> None:
    if len(found.tensors) > safetensors.TENSOR_CAP:
        raise FormatError(f"{len(found.tensors):,} tensors, beyond {safetensors.TENSOR_CAP:,}")
    named = Counter((tensor.role, tensor.name) for tensor in found.tensors)
    twice = next((name for (_, name), count in named.items() if count > 1), None)
    if twice is not None:
        raise FormatError(f"two of its tensors are called {safe(twice)!r}")


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
        self._boxes: dict[int, tuple[Tiled, Boxes]] = {}

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
        read = self._read if tensor.tiled is None else self._read_from(tensor, tensor.tiled)
        if tensor.view is not None:
            read_view(read, tensor, tensor.view, first, raw)
        else:
            read(tensor.offset + begin, raw, tensor.file)

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

    def _read_from(self, tensor: TensorRef, tiled: Tiled) -> ReadBytes:
        """Return how a tensor in boxes is read as if it were a file of its elements."""
        # The Tiled is kept with its boxes: its identity would name another one once it is gone.
        known = self._boxes.get(id(tiled))
        if known is None:
            known = self._boxes.setdefault(id(tiled), (tiled, boxes_of(tiled)))
        boxes = known[1]
        item = ITEM_BYTES[tensor.dtype]

        def read(offset: int, out: memoryview, path: Path) -> None:  # noqa: ARG001
            read_tiled(self._read, boxes, item, (offset - tensor.offset) // item, out)

        return read

    def _opened(self, path: Path) -> int:
        seen = self._seen.get(path)
        if seen is None:
            raise TornError(f"{safe(path.name)} is none of its files; looked at again")
        fd = open_as_seen(path, seen)
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
