"""What to do when a device fails: a smaller chunk, the CPU, or a fresh process."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from threading import Lock
from typing import Protocol

from forkmon.errors import DeviceFullError, DeviceLostError, ForkmonError
from forkmon.kernels.protocol import Accumulator, Bytes, Kernel, numpy_dtype
from forkmon.stats.codes import Counts
from forkmon.stats.summary import Summary
from forkmon.text import safe


class Trouble(Enum):
    """What an exception from the device's library means."""

    NONE = "not the device's"
    FULL = "out of memory"
    ABSENT = "the device cannot be opened"
    LOST = "the context is broken"


_FULL = re.compile(r"out of memory|cublas_status_alloc_failed|memory ?allocation", re.IGNORECASE)

_ABSENT = re.compile(
    r"no cuda.capable device|no cuda gpus|found no nvidia driver|driver initialization failed"
    r"|driver version is insufficient|driver on your system is too old|not compiled with cuda"
    r"|invalid device ordinal|system not yet initialized|forward compatibility"
    r"|busy or unavailable|no kernel image is available",
    re.IGNORECASE,
)

_DEVICE = re.compile(
    r"\bcuda\b|\bcudnn|\bcublas|\bnvml\b|fallen off the bus|gpu is lost|device lost|triton error",
    re.IGNORECASE,
)

_OUR_FAULT = (TypeError, ValueError, NotImplementedError, AssertionError, KeyError, IndexError)


def trouble(error: BaseException) -> Trouble:
    """Return what an exception means; an unknown error of the device counts as sticky.

    torch has no stable error codes over the versions we allow: names and texts tell.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, MemoryError) or "OutOfMemoryError" in names:
        return Trouble.FULL
    if isinstance(error, (ForkmonError, *_OUR_FAULT)):
        return Trouble.NONE
    text = str(error)
    if not ("AcceleratorError" in names or _DEVICE.search(text)):
        return Trouble.NONE
    if _FULL.search(text):
        return Trouble.FULL
    return Trouble.ABSENT if _ABSENT.search(text) else Trouble.LOST


def first_line(error: BaseException) -> str:
    """Return an error's first line, safe to show."""
    lines = str(error).strip().splitlines()
    return safe(lines[0] if lines else type(error).__name__, 200)


class DeviceAccumulator(Accumulator, Protocol):
    """An accumulator that knows how far it came before it failed."""

    @property
    def size(self) -> int:
        """Return how many elements it has taken."""
        ...


class DeviceKernel(Protocol):
    """A kernel whose accumulators can be left in the middle of a tensor."""

    name: str

    def accumulator(self, dtype: str, columns: int = 0) -> DeviceAccumulator:
        """Return a fresh accumulator, as `Kernel` does."""
        ...


class FallbackKernel:
    """Counts on a device while it can, and on the CPU from the moment it cannot."""

    def __init__(
        self,
        device: DeviceKernel,
        cpu: Kernel,
        *,
        asks_back: Callable[[], str] = lambda: "",
        max_columns: int = 1 << 23,
    ) -> None:
        """`asks_back` returns why the device must be handed back now, or an empty string.

        Matrices with more than `max_columns` columns are left to the CPU: their column sums would
        not fit into the memory that the device lends.
        """
        self.name = device.name
        self.why_not = ""
        """Why the device is no longer used; empty while it is."""
        self._device = device
        self._cpu = cpu
        self._asks_back = asks_back
        self._max_columns = max_columns
        self._lock = Lock()

    def accumulator(self, dtype: str, columns: int = 0) -> Accumulator:
        """Return a fresh accumulator on the device, or on the CPU once the device is given up."""
        if not self.why_not and (reason := self._asks_back()):
            self.retire(reason)
        if self.why_not or columns > self._max_columns:
            return self._cpu.accumulator(dtype, columns)
        try:
            first = self._device.accumulator(dtype, columns)
        except Exception as error:
            if trouble(error) is Trouble.FULL or isinstance(error, DeviceFullError):
                self.retire(first_line(error))
                return self._cpu.accumulator(dtype, columns)
            raise _lost_or_same(error) from error
        return _FallbackAccumulator(self, first, lambda: self._cpu.accumulator(dtype, columns),
                                    numpy_dtype(dtype).itemsize)  # fmt: skip

    def retire(self, reason: str) -> None:
        """Use the device no more; the first reason stays."""
        with self._lock:
            self.why_not = self.why_not or reason
            self.name = self._cpu.name


class _FallbackAccumulator:
    """An accumulator that changes horses between two chunks."""

    def __init__(
        self,
        kernel: FallbackKernel,
        device: DeviceAccumulator,
        open_cpu: Callable[[], Accumulator],
        item_bytes: int,
    ) -> None:
        self._kernel = kernel
        self._device = device
        self._open_cpu = open_cpu
        self._item_bytes = item_bytes
        self._cpu: Accumulator | None = None

    def add(self, data: Bytes, first: int) -> None:
        if self._cpu is not None:
            self._cpu.add(data, first)
            return
        before = self._device.size
        try:
            self._device.add(data, first)
        except Exception as error:
            if not isinstance(error, DeviceFullError):
                raise _lost_or_same(error) from error
            taken = self._device.size - before
            self._kernel.retire(first_line(error))
            self._cpu = self._open_cpu()
            self._cpu.add(data[taken * self._item_bytes :], first + taken)

    def summary(self) -> Summary:
        try:
            found = self._device.summary()
        except Exception as error:
            raise _lost_or_same(error, lost=(Trouble.LOST, Trouble.FULL)) from error
        return found if self._cpu is None else found.join(self._cpu.summary())

    def shifted(self, data: Bytes, pivot: float) -> Counts:
        if self._cpu is None:
            try:
                return self._device.shifted(data, pivot)
            except Exception as error:
                if not isinstance(error, DeviceFullError):
                    raise _lost_or_same(error) from error
                self._kernel.retire(first_line(error))
        return self._open_cpu().shifted(data, pivot)


def _lost_or_same(error: Exception, *, lost: tuple[Trouble, ...] = (Trouble.LOST,)) -> Exception:
    """Return the error, as DeviceLostError where the context is broken."""
    return DeviceLostError(first_line(error)) if trouble(error) in lost else error
