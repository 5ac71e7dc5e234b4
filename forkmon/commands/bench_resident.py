"""Statistics of bytes that lie on a device already, against copying them there."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from forkmon.commands.bench_files import RECIPES, Recipe, bell
from forkmon.formats.refs import ITEM_BYTES
from forkmon.kernels.protocol import Bytes
from forkmon.kernels.torch_kernel import TorchKernel
from forkmon.stats.parts import SPAN
from forkmon.stats.row import StatRow

COLUMNS = 4096


@dataclass(frozen=True, slots=True)
class Resident:
    """Best times over the same bytes on a device."""

    label: str
    bytes: int
    elements: int
    copy: float
    """Seconds of a copy on the device, which moves each byte twice: once in, once out."""
    distribution: float
    whole: float
    row: StatRow

    def of_bandwidth(self, seconds: float) -> float:
        """Return the rate of reading in `seconds` as a share of what the copy reads and writes."""
        return self.copy / (2 * seconds)


class InPlace:
    """A loader whose bytes are on the device; the host's array only tells which are meant."""

    slice_elements = SPAN

    def __init__(self, placed: Tensor) -> None:
        """Stand for `placed`, one byte an element."""
        self.device = str(placed.device)
        self._placed = placed
        self.stand_in: Bytes = np.empty(len(placed), np.uint8)  # never touched: no memory
        self._base = self.stand_in.ctypes.data

    @contextmanager
    def load(self, data: Bytes) -> Generator[Tensor]:
        """Return the bytes on the device that lie where `data` lies in the stand-in."""
        at = data.ctypes.data - self._base
        yield self._placed[at : at + len(data)]

    @contextmanager
    def computing(self) -> Generator[None]:
        """Return a context for work on the current stream."""
        yield

    def recover(self, error: Exception) -> None:
        """Raise the error: a benchmark has nothing to make room with."""
        raise error


def measure(
    recipe: Recipe,
    device: str,
    *,
    size: int,
    repeat: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Resident:
    """Return the best of `repeat` interleaved runs on `size` bytes, after one to warm up."""
    item = ITEM_BYTES[recipe.dtype]
    elements = max(1, size // item // COLUMNS) * COLUMNS
    placed = _placed(recipe, elements, device)
    loader, other = InPlace(placed), torch.empty_like(placed)
    rows: list[StatRow] = []

    def statistics(kernel: TorchKernel, columns: int) -> None:
        accumulator = kernel.accumulator(recipe.dtype, columns)
        accumulator.add(loader.stand_in, 0)
        rows[:] = [accumulator.summary().finish(elements // COLUMNS if columns else 0).row()]

    tasks: tuple[Callable[[], object], ...] = (
        lambda: other.copy_(placed),
        lambda: statistics(TorchKernel(loader, distribution_only=True), 0),
        lambda: statistics(TorchKernel(loader), COLUMNS),
    )
    best = [float("inf")] * len(tasks)
    for turn in range(repeat + 1):
        for i, task in enumerate(tasks):
            _wait(device)
            began = clock()
            task()
            _wait(device)
            if turn:
                best[i] = min(best[i], clock() - began)
    copy, distribution, whole = best
    return Resident(recipe.label, elements * item, elements, copy, distribution, whole, rows[0])


def all_rates(device: str, *, size: int, repeat: int) -> list[Resident]:
    """Return the rates of every made dtype on a device."""
    return [measure(recipe, device, size=size, repeat=repeat) for recipe in RECIPES]


def _placed(recipe: Recipe, elements: int, device: str) -> Tensor:
    drawn = bell(recipe.dtype, min(elements, 1 << 22)).view(np.uint8)
    if recipe.zeros:
        drawn = np.zeros_like(drawn)
    pattern = torch.frombuffer(drawn, dtype=torch.uint8).to(device)
    size = elements * ITEM_BYTES[recipe.dtype]
    return pattern.repeat(-(-size // len(pattern)))[:size].clone()


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
