"""Checkpoints of torch.distributed.checkpoint: `.metadata` and the chunks in `*.distcp`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path, PurePosixPath

from forkmon.errors import AccessError, FormatError, IncompleteError, TornError, VanishedError
from forkmon.formats.dcp_chunks import Files, check_begun, tiles_of
from forkmon.formats.dcp_metadata import Chunk, Entry, Metadata, merged, parse_metadata
from forkmon.formats.dcp_names import Named, named, unstacked
from forkmon.formats.dcp_step import step_of_checkpoint
from forkmon.formats.layout import Layout
from forkmon.formats.opening import file_print, open_as_seen, read_bytes
from forkmon.formats.proof import Damaged, Partial, Proof, Whole
from forkmon.formats.refs import ITEM_BYTES, Listing, Role, Skipped, TensorRef
from forkmon.formats.safetensors import NAME_CAP
from forkmon.formats.tiles_join import joined_tensor
from forkmon.runs.refs import CheckpointRef, FilePrint
from forkmon.text import safe

METADATA = ".metadata"
METADATA_CAP = 128 << 20
"""Longest metadata read, in bytes."""
CHUNKS_SUFFIX = ".distcp"

_SIDE_CAP = 1 << 20

_RANK_METADATA = re.compile(r"__\d{1,7}\.metadata")
_OPTIMIZER_DIRECTORY = re.compile(r"optim(?:izer)?(?:_\d+)?")
_MODEL_DIRECTORY = re.compile(
    r"pytorch_model_fsdp(?:_\d+)?|model_and_optim|weights|model|lit_model\.pth|dist_ckpt|dcp"
)
_MEGATRON = "metadata.json"
_OLMO = ".metadata.json"
_LIGHTNING = "meta.pt"
_TRAINER = "trainer_state.json"
_BESIDE = (_MEGATRON, _LIGHTNING)


class DcpReader:
    """Reads one or several directories of chunks, each with its metadata."""

    def listing(self, ref: CheckpointRef) -> Listing:
        """Return the tensors of all ranks, each whole."""
        files = list(zip(ref.files, ref.fingerprint.files, strict=True))
        return _joined(_parts(files))


@dataclass(frozen=True, slots=True)
class _Part:
    """A directory of chunks within the checkpoint."""

    directory: str
    """Relative to the checkpoint, `.` for itself."""
    files: Files

    @property
    def role(self) -> Role | None:
        """Return what all tensors of it are, if its name says so."""
        name = PurePosixPath(self.directory).name
        return "optimizer" if _OPTIMIZER_DIRECTORY.fullmatch(name) else None


def recognise(names: frozenset[str]) -> Layout | None:
    """Return the layout of a directory with chunks in it, or in known ones below it."""
    directories = sorted({_parent(name) for name in names if _is_chunk(name)})
    if "." in directories:
        directories = ["."]
    directories = [name for name in directories if _known(name)]
    if not any(_MODEL_DIRECTORY.fullmatch(name) or name == "." for name in directories):
        return None
    wanted = [
        name for name in names
        if _parent(name) in directories and (_is_chunk(name) or _is_beside(name))
    ]  # fmt: skip
    marker = _marker(names, directories)
    return Layout("dcp", tuple(sorted(wanted)), marker, required=marker is not None)


def prove(directory: Path, files: Sequence[str]) -> Proof:
    """Return whether the metadata are there, and all the chunks in files long enough for them."""
    try:
        seen = [(directory / name, file_print(name, os.lstat(directory / name))) for name in files]
        parts = _parts(seen)
        read = [(part, _metadata(part)) for part in parts]
        for part, metadata in read:
            _check_lengths(part, metadata)
        step, epoch = step_of_checkpoint([(part.files, metadata) for part, metadata in read])
    except (FormatError, AccessError) as error:
        return Damaged(str(error))
    except (IncompleteError, TornError, VanishedError) as error:
        return Partial(f"still being written: {error}", f"incomplete: {error}")
    except FileNotFoundError as error:
        return Partial("still being written", f"incomplete: {safe(error)}")
    return Whole(zero_tail=False, step=step, epoch=epoch)


def _parent(name: str) -> str:
    return name.rpartition("/")[0] or "."


def _is_chunk(name: str) -> bool:
    base = PurePosixPath(name).name
    return name.endswith(CHUNKS_SUFFIX) or base == METADATA or bool(_RANK_METADATA.fullmatch(base))


def _is_beside(name: str) -> bool:
    return PurePosixPath(name).name in _BESIDE


def _known(directory: str) -> bool:
    return directory == "." or bool(
        _MODEL_DIRECTORY.fullmatch(directory) or _OPTIMIZER_DIRECTORY.fullmatch(directory)
    )


def _marker(names: frozenset[str], directories: Sequence[str]) -> str | None:
    """Return what is written last; without any metadata of all ranks nothing tells the end."""
    if "model_and_optim" in directories:
        return _OLMO
    if directories == ["."]:
        late = next((name for name in _BESIDE if name in names), None)
        own = any(_RANK_METADATA.fullmatch(name) for name in names) and METADATA not in names
        return late or (None if own else METADATA)
    if _TRAINER in names:
        return _TRAINER
    # The optimizer is saved after the model.
    last = next((name for name in directories if _OPTIMIZER_DIRECTORY.fullmatch(name)), None)
    return f"{last or directories[-1]}/{METADATA}"


def _parts(files: Sequence[tuple[Path, FilePrint]]) -> list[_Part]:
    ordered = sorted(files, key=lambda file: _parent(file[1].name))
    return [
        _Part(directory, {PurePosixPath(seen.name).name: (path, seen) for path, seen in group})
        for directory, group in groupby(ordered, key=lambda file: _parent(file[1].name))
    ]


def _metadata(part: _Part) -> Metadata:
    """Return what the metadata of all ranks together say of a directory."""
    if METADATA in part.files:
        return _read_metadata(*part.files[METADATA])
    own = sorted(name for name in part.files if _RANK_METADATA.fullmatch(name))
    if not own:
        raise IncompleteError(f"{safe(part.directory)}: its {METADATA} is not written yet")
    return merged([_read_metadata(*part.files[name]) for name in own])


def _read_metadata(path: Path, seen: FilePrint) -> Metadata:
    if seen.size > METADATA_CAP:
        raise FormatError(f"{safe(path.name)}: metadata of {seen.size:,} bytes are not read")
    fd = open_as_seen(path, seen)
    try:
        raw = read_bytes(fd, 0, seen.size, path)
    finally:
        os.close(fd)
    if not raw.strip(b"\0"):
        raise IncompleteError(f"{safe(path.name)}: not written yet")
    return parse_metadata(raw, safe(path.name))


def _is_megatron(part: _Part) -> bool:
    """Return whether Megatron's own file beside the chunks says that it wrote them."""
    if _MEGATRON not in part.files or part.files[_MEGATRON][1].size > _SIDE_CAP:
        return False
    path, seen = part.files[_MEGATRON]
    fd = open_as_seen(path, seen)
    try:
        body: object = json.loads(read_bytes(fd, 0, seen.size, path))
    except (ValueError, RecursionError):
        return False
    finally:
        os.close(fd)
    return isinstance(body, dict) and "sharded_backend" in body


def _check_lengths(part: _Part, metadata: Metadata) -> None:
    """Raise unless all files reach to the end of their chunks, and the last of these is there."""
    last: dict[str, tuple[Entry, Chunk]] = {}
    for entry in metadata.tensors:
        for chunk in entry.chunks:
            stored = chunk.stored
            if stored.file not in part.files:
                raise IncompleteError(
                    f"tensor {safe(entry.name)!r}: {safe(stored.file)} is not there"
                )
            size = part.files[stored.file][1].size
            if stored.offset + stored.length > size:
                raise IncompleteError(
                    f"{safe(stored.file)}: tensor {safe(entry.name)!r}: its chunk ends at byte "
                    f"{stored.offset + stored.length:,}, the file has {size:,}"
                )
            if stored.offset >= last.get(stored.file, (entry, chunk))[1].stored.offset:
                last[stored.file] = (entry, chunk)
    for file, (entry, chunk) in last.items():
        check_begun(*part.files[file], entry, chunk)


def _joined(parts: Sequence[_Part]) -> Listing:
    tensors: list[TensorRef] = []
    skipped: list[Skipped] = []
    notes: list[tuple[str, str]] = []
    several = sum(part.role is None for part in parts) > 1
    for part in parts:
        metadata = _metadata(part)
        kinds = named(metadata.tensors, part.role)
        if several and part.role is None:  # several models in one checkpoint
            kinds = [replace(kind, name=f"{part.directory}.{kind.name}") for kind in kinds]
        wanted: list[tuple[Entry, Named]] = []
        for entry, kind in zip(metadata.tensors, kinds, strict=True):
            skip = _skipped(entry, kind)
            if skip is None:
                wanted.append((entry, kind))
            elif kind.role != "optimizer" or skip.is_parameter:
                skipped.append(skip)
        found = _tensors(wanted, part.files)
        apart, more = unstacked(found, megatron=_is_megatron(part))
        tensors += apart
        notes += more
    return Listing(tuple(tensors), tuple(skipped), (), tuple(notes))


def _skipped(entry: Entry, kind: Named) -> Skipped | None:
    if kind.aside:
        return Skipped(kind.name[:NAME_CAP], entry.dtype[:40], kind.aside, is_parameter=False)
    reason = ""
    if entry.dtype not in ITEM_BYTES:
        reason = f"dtype {safe(entry.dtype, 40)} is not read by this version"
    elif not kind.name or len(kind.name) > NAME_CAP:
        reason = f"its name has {len(kind.name):,} characters"
    return Skipped(kind.name[:NAME_CAP], entry.dtype[:40], reason) if reason else None


def _tensors(wanted: Sequence[tuple[Entry, Named]], files: Files) -> list[TensorRef]:
    tiles = tiles_of([entry for entry, _ in wanted], files)
    anywhere = next(iter(files.values()))[0]
    found: list[TensorRef] = []
    for entry, kind in wanted:
        what = f"tensor {safe(entry.name)!r}"
        stored_as = entry.name if entry.name != kind.name else ""
        whole = TensorRef(
            kind.name, entry.dtype, entry.shape, anywhere, 0, kind.role, stored_as=stored_as
        )
        found.append(joined_tensor(whole, tiles[entry.name], what))
    return found
