"""The training step that a distributed checkpoint carries inside, if it carries one."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats.dcp_chunks import Files, tiles_of
from forkmon.formats.dcp_metadata import Entry, Metadata, Stored
from forkmon.formats.opening import open_as_seen, read_bytes
from forkmon.formats.refs import ITEM_BYTES
from forkmon.formats.torch_file import read_torch, read_torch_range
from forkmon.formats.torch_tree import step_of
from forkmon.runs.refs import FilePrint

_SIDE_FILE = "meta.pt"
"""What Lightning saves beside the chunks: all of a checkpoint but its tensors."""
_SIDE_CAP = 64 << 20
_OBJECT_CAP = 1 << 16
_STEP = re.compile(
    r"(?:(?:train_state|trainer|train|training|state|app|progress)\.)*"
    r"(?:global_step|iteration|iter_num|step)"
)
_INTEGERS = frozenset({"u8", "i8", "i16", "i32", "i64", "u16", "u32", "u64"})
_STEP_END = 1 << 60


def step_of_checkpoint(
    parts: Sequence[tuple[Files, Metadata]],
) -> tuple[int | None, float | None]:
    """Return (step, epoch) as the files say them: the side file first, then what is stored."""
    for files, _ in parts:
        if _SIDE_FILE in files:
            return _of_side_file(*files[_SIDE_FILE])
    for files, metadata in parts:
        for name in sorted(metadata.objects):
            if _STEP.fullmatch(name):
                step = _of_object(metadata.objects[name], files)
                if step is not None:
                    return step, None
        for entry in metadata.tensors:
            if _STEP.fullmatch(entry.name) and entry.shape in ((), (1,)):
                step = _of_tensor(entry, files)
                if step is not None:
                    return step, None
    return None, None


def _of_side_file(path: Path, seen: FilePrint) -> tuple[int | None, float | None]:
    if seen.size > _SIDE_CAP:
        return None, None
    fd = open_as_seen(path, seen)
    try:
        return step_of(read_torch(fd, seen.size, path).root)
    finally:
        os.close(fd)


def _of_object(stored: Stored, files: Files) -> int | None:
    """Return a pickled whole number, None for what is another thing."""
    if stored.file not in files or stored.length > _OBJECT_CAP:
        return None
    path, seen = files[stored.file]
    if stored.offset + stored.length > seen.size:
        return None
    fd = open_as_seen(path, seen)
    try:
        found = read_torch_range(fd, stored.offset, stored.length, path).root
    except (FormatError, IncompleteError):
        return None
    finally:
        os.close(fd)
    return _step(found)


def _of_tensor(entry: Entry, files: Files) -> int | None:
    if entry.dtype not in _INTEGERS:
        return None
    tiles = tiles_of([entry], files)[entry.name]
    if len(tiles) != 1:
        return None
    path, seen = files[tiles[0].file.name]
    fd = open_as_seen(path, seen)
    try:
        raw = read_bytes(fd, tiles[0].offset, ITEM_BYTES[entry.dtype], path)
    finally:
        os.close(fd)
    return _step(int.from_bytes(raw, "little", signed=entry.dtype.startswith("i")))


def _step(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _STEP_END else None
