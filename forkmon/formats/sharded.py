"""Index files of sharded checkpoints: which shards belong together, never a path out of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import cast

from forkmon.errors import FormatError, IncompleteError, TornError
from forkmon.formats.json_size import values_in
from forkmon.formats.opening import may_lead_to, open_regular, read_bytes
from forkmon.formats.safetensors import NAME_CAP, TENSOR_CAP
from forkmon.runs.refs import CheckpointRef
from forkmon.text import safe

INDEX_SUFFIX = ".safetensors.index.json"
BIN_INDEX_SUFFIX = ".bin.index.json"
"""Of shards that torch wrote."""
INDEX_CAP = 64 * 1024 * 1024
"""Longest index read, in bytes."""
_VALUES_CAP = 2 * TENSOR_CAP
_FILE_NAME_CAP = 255
"""Longest name of a file, in bytes."""
SHARD = re.compile(
    r"^(?P<stem>.+)-(?P<number>[0-9]{5,6})-of-(?P<count>[0-9]{5,6})\.(?P<suffix>safetensors|bin)$"
)
_BASE_NAME = re.compile(r"[^/\\\0]+\.(?P<suffix>safetensors|bin)")


def read_index(path: Path, real: Path | None = None) -> dict[str, str]:
    """Return the weight map, tensor name to base name of its shard, of an index file.

    `real` is where it really is: model caches hold links to their files.
    """
    fd = open_regular(real or path)
    try:
        size = os.fstat(fd).st_size
        if size > INDEX_CAP:
            raise FormatError(f"{safe(path.name)}: an index of {size:,} bytes is not read")
        raw = read_bytes(fd, 0, size, path)
    finally:
        os.close(fd)
    return parse_index(raw, path)


def parse_index(raw: bytes, path: Path) -> dict[str, str]:
    """Return the checked weight map of an index's bytes."""
    if not raw.strip(b"\0 \t\r\n"):
        raise IncompleteError(f"{safe(path.name)}: empty")
    if values_in(raw) > _VALUES_CAP:
        raise FormatError(f"{safe(path.name)}: an index of more than {_VALUES_CAP:,} names")
    try:
        body: object = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except FormatError as error:
        raise FormatError(f"{safe(path.name)}: {error}") from None
    except RecursionError:
        raise FormatError(f"{safe(path.name)}: nested too deeply") from None
    except ValueError as error:
        raise FormatError(f"{safe(path.name)}: no valid JSON ({safe(error)})") from None
    weight_map = cast("dict[str, object]", body).get("weight_map") if _is_object(body) else None
    if not _is_object(weight_map) or not weight_map:
        raise FormatError(f"{safe(path.name)}: no weight_map in it")
    named = {
        name: _base_name(value, path)
        for name, value in cast("dict[str, object]", weight_map).items()
    }
    _check_set(set(named.values()), path)
    return named


def shard_names(weight_map: Mapping[str, str]) -> tuple[str, ...]:
    """Return the base names of the shards, each once, in name order."""
    return tuple(sorted(set(weight_map.values())))


def check_index(ref: CheckpointRef, held: Sequence[Collection[str]]) -> None:
    """Hold the shards against their index: shards of an earlier save lack some of its tensors.

    `held` are the names in each of the ref's files.
    """
    index = _index_of(ref)
    if index is None or not may_lead_to(index.resolve(), ref.path.resolve()):
        return
    names = [seen.name for seen in ref.fingerprint.files]
    by_shard = dict(zip(names, held, strict=True))
    for tensor, shard in read_index(index, index.resolve()).items():
        if shard not in by_shard:
            raise TornError(f"{safe(index.name)} changed: it now names {safe(shard)}")
        if tensor not in by_shard[shard] and len(tensor) <= NAME_CAP:
            raise FormatError(
                f"{safe(shard)} lacks {safe(tensor)!r}, which the index promises: "
                "shards of two saves mixed?"
            )


def _index_of(ref: CheckpointRef) -> Path | None:
    match = SHARD.match(ref.fingerprint.files[0].name) if ref.files else None
    if match is None and (len(ref.files) == 1 or ref.format != "safetensors"):
        return None
    suffix = BIN_INDEX_SUFFIX if match and match["suffix"] == "bin" else INDEX_SUFFIX
    index = ref.path / f"{match['stem'] if match else 'model'}{suffix}"
    return index if index.is_file() else None


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise FormatError("a name comes twice in it")
    return body


def _base_name(value: object, path: Path) -> str:
    """Return a shard's name if it names a file of the same directory and nothing else."""
    wanted = "bin" if path.name.endswith(BIN_INDEX_SUFFIX) else "safetensors"
    match = _BASE_NAME.fullmatch(value) if isinstance(value, str) else None
    if (
        match is None
        or match["suffix"] != wanted
        or not match.string.isprintable()
        or (len(match.string.encode()) > _FILE_NAME_CAP)
    ):
        raise FormatError(
            f"{safe(path.name)}: weight_map names {safe(value)!r}, which is no "
            f"{wanted} file of its own directory; not followed"
        )
    return match.string


def _check_set(names: set[str], path: Path) -> None:
    """Refuse shards of two different splits: they come from two different saves."""
    counts = {match["count"] for name in names if (match := SHARD.match(name))}
    if len(counts) > 1:
        raise FormatError(f"{safe(path.name)}: mixes shards of splits into {sorted(counts)}")
