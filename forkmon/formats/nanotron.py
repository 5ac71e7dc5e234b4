"""Nanotron's checkpoints: a safetensors file for each parameter and rank, joined over the ranks."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from forkmon.errors import AccessError, FormatError, IncompleteError, TornError, VanishedError
from forkmon.formats import safetensors
from forkmon.formats.json_size import values_in
from forkmon.formats.layout import Layout
from forkmon.formats.nanotron_slices import pairs_of, shape_of
from forkmon.formats.opening import file_print, open_as_seen, open_regular, read_bytes
from forkmon.formats.proof import Damaged, Partial, Proof, Whole
from forkmon.formats.refs import ITEM_BYTES, Listing, Skipped, TensorRef, Tile
from forkmon.formats.tiles import cut
from forkmon.formats.tiles_join import joined_tensor
from forkmon.runs.refs import CheckpointRef, FilePrint
from forkmon.text import safe

MARKER = "model_config.json"
STEP_FILE = "checkpoint_metadata.json"
_STEP_FILE_CAP = 16 << 20
_STEP_VALUES_CAP = 1_000_000
_KEY = "data"
_FILE = re.compile(
    r"model/(?P<module>(?:[^/]+/)*)model_(?P<leaf>[^/]+?)(?:\.safetensors)?"
    r"(?P<ranks>_pp-rank-\d+-of-\d+_tp-rank-\d+-of-(?P<tp>\d{1,6})"
    r"(?:_exp-rank-\d+-of-(?P<exp>\d{1,6}))?)?\.safetensors"
)


class NanotronReader:
    """Reads one file per parameter and tensor-parallel rank."""

    def listing(self, ref: CheckpointRef) -> Listing:
        """Return the parameters, each whole."""
        files = zip(ref.files, ref.fingerprint.files, strict=True)
        return _joined([(path, seen) for path, seen in files if _FILE.fullmatch(seen.name)])


def recognise(names: frozenset[str]) -> Layout | None:
    """Return the layout of a nanotron checkpoint; `names` must reach down to its leaves."""
    weights = sorted(name for name in names if _FILE.fullmatch(name))
    ranked = any("_tp-rank-" in name for name in weights)
    if not weights or not (ranked or STEP_FILE in names or MARKER in names):
        return None
    extra = [STEP_FILE] if STEP_FILE in names else []
    return Layout("nanotron", tuple(sorted([*weights, *extra])), MARKER, required=True)


def prove(directory: Path, files: Sequence[str]) -> Proof:
    """Return whether every parameter has the files of all its ranks, each of its full length."""
    try:
        seen = [
            (directory / name, file_print(name, os.lstat(directory / name)))
            for name in files
            if _FILE.fullmatch(name)
        ]
        _joined(seen)
        step = _step(directory / STEP_FILE) if STEP_FILE in files else None
    except (FormatError, AccessError) as error:
        return Damaged(str(error))
    except (IncompleteError, TornError, VanishedError) as error:
        return Partial(f"still being written: {error}", f"incomplete: {error}")
    except FileNotFoundError as error:
        return Partial("still being written", f"incomplete: {safe(error)}")
    return Whole(zero_tail=False, step=step)


def _joined(files: Sequence[tuple[Path, FilePrint]]) -> Listing:
    by_name: dict[str, list[tuple[Path, FilePrint]]] = {}
    for path, seen in files:
        by_name.setdefault(_name(seen.name), []).append((path, seen))
    if len(by_name) > safetensors.TENSOR_CAP:
        raise FormatError(f"{len(by_name):,} tensors, beyond {safetensors.TENSOR_CAP:,}")
    found = [_parameter(name, parts) for name, parts in sorted(by_name.items())]
    tensors = tuple(one for one in found if isinstance(one, TensorRef))
    return Listing(tensors, tuple(one for one in found if isinstance(one, Skipped)))


def _name(relative: str) -> str:
    match = _match(relative)
    return f"{match['module'].replace('/', '.')}{match['leaf']}"


def _match(relative: str) -> re.Match[str]:
    match = _FILE.fullmatch(relative)
    if match is None:
        raise FormatError(f"{safe(relative)}: no file of a parameter")
    return match


def _parameter(name: str, parts: Sequence[tuple[Path, FilePrint]]) -> TensorRef | Skipped:
    """Return a parameter out of its ranks' files."""
    what = f"tensor {safe(name)!r}"
    match = _match(parts[0][1].name)
    wanted = int(match["tp"] or 1) * int(match["exp"] or 1)
    if len(parts) < wanted:
        raise IncompleteError(f"{what}: files of {len(parts):,} of its {wanted:,} ranks are there")
    headers = [_header(path, seen) for path, seen in parts]
    held = [_data(header, what) for header in headers]
    whole: TensorRef | None = None
    tiles: list[Tile] = []
    for header, tensor in zip(headers, held, strict=True):
        if isinstance(tensor, Skipped):
            return replace(tensor, name=name)
        shape, found = _tiles(header, tensor, f"{safe(tensor.file.name)}: {what}")
        whole = whole or replace(tensor, name=name, shape=shape)
        if (whole.dtype, whole.shape) != (tensor.dtype, shape):
            raise FormatError(f"{what}: its ranks differ in dtype or shape")
        tiles += found
    if whole is None:
        raise IncompleteError(f"{what} has no file")
    return joined_tensor(whole, tiles, what)


def _header(path: Path, seen: FilePrint) -> Listing:
    fd = open_as_seen(path, seen)
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
        raise FormatError(f"{safe(path.name)}: bytes after its last tensor")
    return header.listing


def _data(header: Listing, what: str) -> TensorRef | Skipped:
    held: list[TensorRef | Skipped] = [*header.tensors, *header.skipped]
    for one in held:
        if one.name == _KEY:
            return one
    raise FormatError(f"{what}: its file holds no tensor called {_KEY!r}")


def _tiles(header: Listing, tensor: TensorRef, what: str) -> tuple[tuple[int, ...], list[Tile]]:
    """Return the whole parameter's shape, and where this file's elements are in it."""
    metadata = dict(header.metadata)
    told = metadata.get("local_global_slices_pairs")
    start = (0,) * len(tensor.shape)
    own = Tile(tensor.file, tensor.offset, start, tensor.shape)
    if not told:
        return tensor.shape, [own]
    shape = shape_of(metadata.get("unsharded_shape", ""), what)
    tiles: list[Tile] = []
    for local, place in pairs_of(told, tensor.shape, shape, what):
        ends = tuple(at + size for at, size in zip(*local, strict=True))
        part = cut(own, local[0], ends, ITEM_BYTES[tensor.dtype])
        if local[1] != place[1] or (part is None and 0 not in local[1]):
            raise FormatError(f"{what}: a slice of it and its place in the whole differ in size")
        if part is not None:
            tiles.append(replace(part, start=place[0]))
    return shape, tiles


def _step(path: Path) -> int | None:
    """Return the last training step that the metadata name."""
    fd = open_regular(path)
    try:
        size = os.fstat(fd).st_size
        raw = read_bytes(fd, 0, size, path) if size <= _STEP_FILE_CAP else b""
        raw = raw if values_in(raw) <= _STEP_VALUES_CAP else b""
    finally:
        os.close(fd)
    try:
        body: object = json.loads(raw or b"null")
    except (ValueError, RecursionError):
        raise IncompleteError(f"{safe(path.name)}: no valid JSON yet") from None
    metas = cast("dict[str, object]", body).get("metas") if isinstance(body, dict) else None
    step = cast("dict[str, object]", metas).get("last_train_step") if isinstance(metas, dict) else 0
    return step if type(step) is int and 0 < step < 1 << 60 else None
