"""The upload: order, two buffers, a byte cap, and what happens when the device is full or lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Barrier, Lock

import numpy as np
import pytest
from numpy.typing import NDArray

from forkmon.engines.upload import SLOTS, WORK_BYTES, Budget, Uploader
from forkmon.kernels.choose import (
    DeviceFullError,
    DeviceLostError,
    Trouble,
    trouble,
)
from forkmon.stats.blocks import BLOCK

Raw = NDArray[np.uint8]

FULL = RuntimeError("CUDA error: out of memory")
LOST = RuntimeError("CUDA error: an illegal memory access was encountered")


@dataclass
class FakeDevice:
    """A device made of host memory, which writes down all that it is told."""

    device: str = "cuda:0"
    free: int = 8 << 30
    log: list[str] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)
    """Raised by the next allocations."""
    taken: int = 0
    most: int = 0
    events: int = 0
    lock: Lock = field(default_factory=Lock)

    def free_bytes(self) -> int:
        return self.free

    def allocate(self, size: int) -> Raw:
        if self.fails:
            raise self.fails.pop(0)
        self.log.append(f"allocate {size}")
        self.taken += size
        self.most = max(self.most, self.taken)
        return np.zeros(size, np.uint8)

    def copy(self, data: Raw, buffer: Raw) -> int:
        buffer[: len(data)] = data
        return self._event(f"copy {data[0]}")

    @contextmanager
    def computing(self) -> Iterator[None]:
        yield

    def follow(self, event: int) -> None:
        self.log.append(f"follow {event}")

    def mark(self) -> int:
        return self._event("mark")

    def wait(self, event: int) -> None:
        self.log.append(f"wait {event}")

    def view(self, buffer: Raw, size: int) -> Raw:
        return buffer[:size]

    def hand_back(self) -> None:
        self.log.append("hand back")
        self.taken = 0

    def _event(self, what: str) -> int:
        with self.lock:
            self.events += 1
            self.log.append(f"{what} -> {self.events}")
            return self.events


def opened(device: FakeDevice, **budget: int) -> Uploader[Raw, int, Raw]:
    """Return an uploader on a fake device."""
    return Uploader(device, Budget(**budget))


def slices(count: int, size: int = 100) -> list[Raw]:
    """Return slices, each filled with its number."""
    return [np.full(size, i, np.uint8) for i in range(count)]


def test_two_buffers_take_turns() -> None:
    """A buffer is filled anew only after what it held was counted; no third one is made."""
    device = FakeDevice()
    uploader = opened(device)
    for data in slices(3):
        with uploader.load(data) as view:
            assert np.array_equal(view, data)
    assert device.log == [
        "allocate 100", "copy 0 -> 1", "follow 1", "mark -> 2",
        "allocate 100", "copy 1 -> 3", "follow 3", "mark -> 4",
        "wait 2", "copy 2 -> 5", "follow 5", "mark -> 6",
    ]  # fmt: skip


def test_the_next_slice_is_copied_while_one_is_counted() -> None:
    """With two threads a copy begins while the other one still computes."""
    device = FakeDevice()
    uploader = opened(device)
    first, second = slices(2)
    with ThreadPoolExecutor(1) as pool, uploader.load(first):
        other = pool.submit(lambda: uploader.load(second).__enter__())
        while not any(line.startswith("copy 1") for line in device.log):
            assert not other.done()
        assert not any(line.startswith("mark") for line in device.log)


def test_threads_share_two_buffers_and_get_their_own_bytes() -> None:
    """Whoever loads sees his slice, and never more than two are on the device."""
    device = FakeDevice()
    uploader = opened(device)
    together = Barrier(6)

    def bring(data: Raw) -> bool:
        together.wait()
        seen = []
        for _ in range(50):
            with uploader.load(data) as view:
                seen.append(np.array_equal(view, data))
        return all(seen)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(bring, slices(6)))
    assert sum(line.startswith("allocate") for line in device.log) <= SLOTS


@pytest.mark.parametrize("cap", [64 << 20, 100 << 20, 512 << 20, 4 << 30])
def test_slices_fit_under_the_cap(cap: int) -> None:
    """Intermediates and both buffers of the widest type together stay under it."""
    elements = Budget(cap=cap).slice_elements()
    assert elements % BLOCK == 0
    assert elements * (WORK_BYTES + SLOTS * 8) <= cap or elements == BLOCK


def test_buffers_grow_by_replacement_and_are_handed_back() -> None:
    """A larger slice frees the small buffer first; release leaves nothing."""
    device = FakeDevice()
    uploader = opened(device)
    for size in (100, 100, 300):
        with uploader.load(np.zeros(size, np.uint8)):
            pass
    uploader.release()
    assert device.log[-1] == "hand back"
    with uploader.load(np.zeros(100, np.uint8)):
        pass
    assert device.log[-4] == "allocate 100"  # what came before is gone


def test_the_first_shortage_halves_the_slices_the_second_one_ends_it() -> None:
    """Out of memory is tried again once, smaller."""
    uploader = opened(FakeDevice(fails=[FULL, FULL]))
    whole = uploader.slice_elements
    for last in (False, True):
        with pytest.raises(RuntimeError) as caught, uploader.load(slices(1)[0]):
            pass
        if last:
            with pytest.raises(DeviceFullError, match="even for small chunks"):
                uploader.recover(caught.value)
        else:
            uploader.recover(caught.value)
    assert uploader.slice_elements == whole // 2


def test_memory_that_others_need_is_left_to_them() -> None:
    """Free memory is looked at before every slice."""
    device = FakeDevice()
    uploader = opened(device, floor=1 << 30)
    with uploader.load(slices(1)[0]):
        pass
    device.free = 300 << 20
    with pytest.raises(DeviceFullError, match="only 300 MiB are free on cuda:0"):
        uploader.load(slices(1)[0]).__enter__()


def test_a_lost_device_is_never_tried_again() -> None:
    """A sticky error says that this process must go."""
    uploader = opened(FakeDevice())
    with pytest.raises(DeviceLostError, match="cuda:0 was lost: CUDA error: an illegal memory"):
        uploader.recover(LOST)
    with pytest.raises(KeyError):
        uploader.recover(KeyError("ours"))


class AcceleratorError(RuntimeError):
    """As torch 2.8 and later name it."""


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), Trouble.FULL),
        (FULL, Trouble.FULL),
        (MemoryError(), Trouble.FULL),
        (LOST, Trouble.LOST),
        (AcceleratorError("unspecified launch failure"), Trouble.LOST),
        (RuntimeError("CUDA error: device-side assert triggered"), Trouble.LOST),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), Trouble.LOST),
        (RuntimeError("CUDA error: the launch timed out and was terminated"), Trouble.LOST),
        (RuntimeError("CUDA error: unknown error"), Trouble.LOST),
        (RuntimeError("Triton Error [CUDA]: misaligned address"), Trouble.LOST),
        (RuntimeError("No CUDA GPUs are available"), Trouble.ABSENT),
        (RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
         Trouble.ABSENT),
        (AssertionError("Torch not compiled with CUDA enabled"), Trouble.NONE),
        (RuntimeError("shape '[3]' is invalid for input of size 4"), Trouble.NONE),
        (ValueError("CUDA"), Trouble.NONE),
        (DeviceFullError("cuda:0 is out of memory"), Trouble.NONE),
    ],
)  # fmt: skip
def test_errors_are_told_apart(error: Exception, means: Trouble) -> None:
    """What the library says decides: smaller, elsewhere, or a fresh process."""
    assert trouble(error) is means
