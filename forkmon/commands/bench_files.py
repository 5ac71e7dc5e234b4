"""Checkpoints to measure on: bell-shaped values of every dtype, and zeros."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forkmon.errors import ForkmonError
from forkmon.formats import reading
from forkmon.formats.opening import file_print
from forkmon.formats.refs import ITEM_BYTES, TensorRef
from forkmon.runs.refs import CheckpointRef, Fingerprint
from forkmon.stats import grids
from forkmon.text import safe

MEGABYTE = 1_000_000

SCALE = 0.02
"""Standard deviation of the values: that of fresh transformer weights."""

TENSORS = 4
COLUMNS = 4096
PATTERN = 1 << 22
"""Elements drawn; they repeat from there on, which no kernel can notice."""

SEED = 20_261_120

Floats = NDArray[np.float32]

_SAFETENSORS_NAMES = {
    "bf16": "BF16", "f16": "F16", "f32": "F32", "f64": "F64", "f8_e4m3": "F8_E4M3", "i8": "I8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One checkpoint to measure."""

    label: str
    dtype: str
    """The dtypes of its tensors, joined by commas."""
    ref: CheckpointRef
    tensors: tuple[TensorRef, ...]

    @property
    def bytes(self) -> int:
        """Return the bytes of its tensors together."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def elements(self) -> int:
        """Return the elements of its tensors together."""
        return sum(tensor.size for tensor in self.tensors)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a made checkpoint holds."""

    label: str
    dtype: str
    zeros: bool = False


RECIPES = (
    Recipe("bf16", "bf16"),
    Recipe("bf16 zeros", "bf16", zeros=True),
    Recipe("f16", "f16"),
    Recipe("f32", "f32"),
    Recipe("f64", "f64"),
    Recipe("fp8 e4m3", "f8_e4m3"),
    Recipe("int8", "i8"),
)


def existing_case(ref: CheckpointRef) -> Case:
    """Return a checkpoint of the user's, as it is."""
    tensors = reading.listing(ref).tensors
    if not tensors:
        raise ForkmonError(f"{safe(ref.path)}: it holds no tensor that forkmon can read")
    dtypes = ", ".join(sorted({tensor.dtype for tensor in tensors}))
    return Case(dtypes, dtypes, ref, tensors)


def make(directory: Path, recipe: Recipe, size: int) -> Case:
    """Write a checkpoint of about `size` bytes and return it; ForkmonError without the room."""
    free = shutil.disk_usage(directory).free
    if free < 2 * size:
        raise ForkmonError(
            f"{safe(directory)}: {free // MEGABYTE:,} MB free, {2 * size // MEGABYTE:,} MB needed; "
            "set TMPDIR or give a smaller --size"
        )
    path = directory / f"{recipe.label.replace(' ', '_')}.safetensors"
    rows = max(2, size // ITEM_BYTES[recipe.dtype] // TENSORS // COLUMNS)
    elements = rows * COLUMNS
    pattern = _pattern(recipe, min(PATTERN, elements * TENSORS)).tobytes()
    with path.open("wb") as file:
        file.write(_header(recipe.dtype, rows))
        left = elements * TENSORS * ITEM_BYTES[recipe.dtype]
        while left:
            left -= file.write(memoryview(pattern)[:left])
        file.flush()
        os.fsync(file.fileno())  # writing it back must not run beside the measurement
    ref = CheckpointRef(
        path, 0, "safetensors", (path,), Fingerprint((file_print(path.name, path.stat()),)),
        "marker",
    )  # fmt: skip
    return Case(recipe.label, recipe.dtype, ref, reading.listing(ref).tensors)


def bell(dtype: str, n: int, seed: int = SEED) -> NDArray[Any]:
    """Return `n` normal values as the dtype's codes, scaled as its checkpoints are."""
    return _CODES[dtype](np.random.default_rng(seed).standard_normal(n, np.float32))


def _pattern(recipe: Recipe, n: int) -> NDArray[Any]:
    codes = bell(recipe.dtype, n)
    return np.zeros_like(codes) if recipe.zeros else codes


def _header(dtype: str, rows: int) -> bytes:
    size = rows * COLUMNS * ITEM_BYTES[dtype]
    body = json.dumps({
        f"layers.{i}.weight": {
            "dtype": _SAFETENSORS_NAMES[dtype],
            "shape": [rows, COLUMNS],
            "data_offsets": [i * size, (i + 1) * size],
        }
        for i in range(TENSORS)
    }).encode()  # fmt: skip
    body += b" " * (-len(body) % 8)
    return len(body).to_bytes(8, "little") + body


def _bf16(x: Floats) -> NDArray[Any]:
    bits = (x * np.float32(SCALE)).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype("<u2")


def _e4m3(x: Floats) -> NDArray[Any]:
    """Return the nearest codes; such checkpoints are scaled to fill the type's range."""
    grid = grids.grid("f8_e4m3")
    values = grid.low[grid.order]
    middles = (values[1:] + values[:-1]) / 2
    return grid.order[np.searchsorted(middles, x * 80.0)].astype(np.uint8)


_CODES: dict[str, Callable[[Floats], NDArray[Any]]] = {
    "bf16": _bf16,
    "f16": lambda x: (x * np.float32(SCALE)).astype("<f2"),
    "f32": lambda x: (x * np.float32(SCALE)).astype("<f4"),
    "f64": lambda x: x.astype("<f8") * SCALE,
    "f8_e4m3": _e4m3,
    "i8": lambda x: np.clip(np.rint(x * 32), -127, 127).astype(np.int8),
}
