"""A checkpoint of safetensors files: one, the shards of an index, or the shards of many ranks."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats import safetensors, safetensors_joined, sharded
from forkmon.formats.opening import open_as_seen
from forkmon.formats.refs import Listing
from forkmon.runs.refs import CheckpointRef, FilePrint
from forkmon.text import safe


class SafetensorsReader:
    """Reads a single safetensors file, or several with or without their index."""

    def listing(self, ref: CheckpointRef) -> Listing:
        """Return the tensors of all files, in file order."""
        parts = [
            file_listing(path, seen)
            for path, seen in zip(ref.files, ref.fingerprint.files, strict=True)
        ]
        if any(safetensors_joined.is_part(part) for part in parts):
            return safetensors_joined.joined(parts)
        whole = Listing(
            tuple(tensor for part in parts for tensor in part.tensors),
            tuple(skip for part in parts for skip in part.skipped),
            tuple(dict(pair for part in parts for pair in part.metadata).items()),
        )
        _check_names(whole)
        _check_one_save(parts)
        held = [
            {one.name for one in part.tensors} | {one.name for one in part.skipped}
            for part in parts
        ]
        sharded.check_index(ref, held)
        return whole


def file_listing(path: Path, seen: FilePrint) -> Listing:
    """Return what one settled file holds; IncompleteError where it is shorter than it says."""
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
