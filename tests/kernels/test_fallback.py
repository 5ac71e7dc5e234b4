"""The fallback: where a device stops the CPU goes on, with the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from forkmon.kernels.choose import DeviceFullError, DeviceLostError, FallbackKernel
from forkmon.kernels.cpu import CpuAccumulator, CpuKernel
from forkmon.stats.blocks import BLOCK
from forkmon.stats.summary import Summary

Raw = NDArray[np.uint8]

LOST = RuntimeError("CUDA error: an illegal memory access was encountered")


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class FailingAccumulator(CpuAccumulator):
    """Takes `good` elements of a chunk, then fails."""

    def __init__(self, dtype: str, columns: int, good: int, error: Exception | None) -> None:
        super().__init__(dtype, columns)
        self._good, self._error = good, error

    @property
    def size(self) -> int:
        return self._size

    def add(self, data: Raw, first: int) -> None:
        if self._error is None:
            super().add(data, first)
            return
        super().add(data[: 2 * self._good], first)
        raise self._error


@dataclass
class FailingKernel:
    """A kernel of a device that fails."""

    error: Exception | None
    good: int = 0
    at_once: bool = False
    name: str = "fake"
    made: int = 0

    def accumulator(self, dtype: str, columns: int = 0) -> FailingAccumulator:
        self.made += 1
        if self.at_once and self.error:
            raise self.error
        return FailingAccumulator(dtype, columns, self.good, self.error)


def summary_of(kernel: Any, data: Raw) -> Summary:
    """Return the summary of bf16 bytes, in two chunks."""
    accumulator = kernel.accumulator("bf16", 64)
    accumulator.add(data[: 4 * BLOCK], 0)
    accumulator.add(data[4 * BLOCK :], 2 * BLOCK)
    summary: Summary = accumulator.summary()
    return summary


@pytest.mark.parametrize("good", [0, 1024, BLOCK])
def test_the_cpu_goes_on_where_a_full_device_stopped(good: int) -> None:
    """No element is lost or counted twice, and later tensors do not try again."""
    data = np.random.default_rng(0).integers(0, 100, 6 * BLOCK).astype(np.uint8)
    device = FailingKernel(DeviceFullError("cuda:0 is out of memory"), good)
    kernel = FallbackKernel(device, CpuKernel())
    found, expected = summary_of(kernel, data), summary_of(CpuKernel(), data)
    assert (found.codes, found.digest) == (expected.codes, expected.digest)
    rows = found.finish(data.size // 128).channels
    assert rows is not None
    assert rows.rows.count == data.size // 128
    assert (kernel.name, kernel.why_not) == ("cpu", "cuda:0 is out of memory")
    assert summary_of(kernel, data) == expected
    assert device.made == 1


def test_a_device_that_cannot_begin_is_given_up() -> None:
    """Not even the tables fit: the CPU takes the tensor from its start."""
    kernel = FallbackKernel(FailingKernel(OutOfMemoryError("CUDA out of memory"), at_once=True),
                            CpuKernel())  # fmt: skip
    data = np.zeros(6 * BLOCK, np.uint8)
    assert summary_of(kernel, data) == summary_of(CpuKernel(), data)
    assert kernel.why_not == "CUDA out of memory"


def test_a_lost_device_is_no_matter_for_the_cpu() -> None:
    """What it counted before is not trusted: the whole process is replaced."""
    kernel = FallbackKernel(FailingKernel(LOST), CpuKernel())
    with pytest.raises(DeviceLostError, match="illegal memory access"):
        summary_of(kernel, np.zeros(6 * BLOCK, np.uint8))
    assert kernel.why_not == ""


def test_a_device_that_is_asked_back_is_left_between_tensors() -> None:
    """The tensor under way is finished on it, the next one is counted on the CPU."""
    reasons = iter(["", "GPU 0 is busy: python 4242"])
    device = FailingKernel(None)
    kernel = FallbackKernel(device, CpuKernel(), asks_back=lambda: next(reasons))
    data = np.zeros(6 * BLOCK, np.uint8)
    assert summary_of(kernel, data) == summary_of(kernel, data)
    assert (device.made, kernel.why_not) == (1, "GPU 0 is busy: python 4242")


def test_very_wide_matrices_stay_on_the_cpu() -> None:
    """Their column sums alone would fill what the device lends."""
    device = FailingKernel(None)
    kernel = FallbackKernel(device, CpuKernel(), max_columns=63)
    kernel.accumulator("bf16", 64)
    assert (device.made, kernel.why_not) == (0, "")
