"""Typed looks into what a rank's file holds: a tree of plain values that is never trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count as count_up
from math import prod
from pathlib import Path
from typing import cast

from forkmon.errors import FormatError
from forkmon.formats.opening import open_as_seen, open_regular
from forkmon.formats.pickles import Stub, TorchTensor
from forkmon.formats.refs import Role, Skipped, TensorRef
from forkmon.formats.safetensors import NAME_CAP
from forkmon.formats.torch_file import read_torch, tensor_ref
from forkmon.runs.refs import FilePrint
from forkmon.text import safe

DEPTH = 32
"""Deepest nesting of dictionaries that is walked."""
VISITS_CAP = 50_000
"""Most dictionaries walked: shared ones can be reached in more ways than there are atoms."""
SHAPE_CAP = 1 << 48
"""Most elements that a shape may claim."""


@dataclass(frozen=True, slots=True)
class RankFile:
    """One rank's file: its tree, and where its storages lie."""

    path: Path
    root: object
    storages: Mapping[str, tuple[int, int]]

    def tensor(self, value: object, name: str, role: Role = "model") -> TensorRef | Skipped | None:
        """Return where a tensor of this file lies, None where `value` is none."""
        if not isinstance(value, TorchTensor):
            return None
        return tensor_ref(value, name, self.path, self.storages, role)

    def vector(self, value: object) -> TensorRef | None:
        """Return where a flat tensor of this file lies, None where `value` is no such thing."""
        found = self.tensor(value, "flat partition")
        if not isinstance(found, TensorRef) or found.tiled is not None or len(found.shape) != 1:
            return None
        return found


def read_rank(path: Path, seen: FilePrint | None = None) -> RankFile:
    """Return the tree of the file at `path`, which must still be the one that was seen."""
    fd = open_regular(path) if seen is None else open_as_seen(path, seen)
    try:
        file = read_torch(fd, os.fstat(fd).st_size, path)
    finally:
        os.close(fd)
    return RankFile(path, file.root, file.storages)


def table(value: object) -> Mapping[object, object]:
    """Return a dictionary, or the attributes of a namespace; empty for anything else."""
    if isinstance(value, dict):
        return cast("Mapping[object, object]", value)
    if isinstance(value, Stub):
        return table(value.state)
    return {}


def row(value: object) -> Sequence[object]:
    """Return a list or tuple, empty for anything else."""
    return cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()


def inside(value: object, *keys: object) -> object:
    """Return what lies under keys, one after another, None where one is not there."""
    for key in keys:
        value = table(value).get(key)
    return value


def count(value: object) -> int | None:
    """Return a whole number that is not negative, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value


def shape_of(value: object, what: str) -> tuple[int, ...]:
    """Return a checked shape; FormatError where it is none. `what` is already safe."""
    told = row(value)
    sizes = [count(size) for size in told]
    shape = tuple(size for size in sizes if size is not None)
    is_row = isinstance(value, list | tuple)
    if not is_row or len(shape) != len(sizes) or prod(shape) > SHAPE_CAP:
        raise FormatError(f"{what}: {safe(list(told), 80)} is no shape")
    return shape


def tensors_in(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield name and tensor of each leaf of nested dictionaries, names joined by dots."""
    yield from _leaves(value, prefix, DEPTH, count_up())


def _leaves(
    value: object, prefix: str, depth: int, visits: Iterator[int]
) -> Iterator[tuple[str, object]]:  # fmt: skip
    if depth == 0 or next(visits) > VISITS_CAP or len(prefix) > NAME_CAP:
        raise FormatError(f"{safe(prefix)}: nested too deeply")
    for key, item in table(value).items():
        if isinstance(item, TorchTensor):
            yield f"{prefix}{key}", item
        elif isinstance(item, dict):
            yield from _leaves(cast("object", item), f"{prefix}{key}.", depth - 1, visits)
