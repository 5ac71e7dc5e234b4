"""A CUDA device as the uploader sees it: pinned buffers, two streams, events."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from forkmon.kernels.protocol import Bytes

Event: TypeAlias = Any
"""A CUDA event."""

_cuda: Any = torch.cuda
"""Any: its type hints differ from one version of torch to the next."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """The same number of bytes on the host, pinned, and on the device."""

    host: Tensor
    device: Tensor


class CudaBackend:
    """One CUDA device, with a stream for copies and one for kernels."""

    def __init__(self, device: str, cap: int) -> None:
        """Open the device and limit what torch takes of it; errors are torch's own."""
        self.device = device
        self._device = torch.device(device)
        _cuda.init()
        _, total = _cuda.mem_get_info(self._device)
        _cuda.set_per_process_memory_fraction(min(1.0, cap / total), self._device)
        self._copies = _cuda.Stream(self._device)
        self._kernels = _cuda.Stream(self._device)
        with self.computing():  # a device that cannot run anything says so now
            torch.zeros(1, device=self._device).cpu()

    def free_bytes(self) -> int:
        """Return the bytes that nobody uses on the device."""
        return int(_cuda.mem_get_info(self._device)[0])

    def allocate(self, size: int) -> Buffer:
        """Return a pinned buffer on the host and one on the device, `size` bytes each."""
        # Taken on the stream that writes it first; the kernels' stream reads it, so torch must
        # not hand it on before that one is done either.
        with _cuda.device(self._device), _cuda.stream(self._copies):
            device = torch.empty(size, dtype=torch.uint8, device=self._device)
            host = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        device.record_stream(self._kernels)
        return Buffer(host, device)

    def copy(self, data: Bytes, buffer: Buffer) -> Event:
        """Put the data into the pinned buffer and begin its copy; return the copy's end."""
        size = len(data)
        np.copyto(buffer.host[:size].numpy(), data)  # releases the interpreter lock
        with _cuda.device(self._device), _cuda.stream(self._copies):
            buffer.device[:size].copy_(buffer.host[:size], non_blocking=True)
            return self._copies.record_event()

    @contextmanager
    def computing(self) -> Generator[None]:
        """Return a context in which work goes to the stream of the kernels."""
        with _cuda.device(self._device), _cuda.stream(self._kernels):
            yield

    def follow(self, event: Event) -> None:
        """Make the kernels' stream wait for an event; the host does not."""
        self._kernels.wait_event(event)

    def mark(self) -> Event:
        """Return the end of what the kernels' stream has been given so far."""
        return self._kernels.record_event()

    def wait(self, event: Event) -> None:
        """Let the host wait for an event."""
        event.synchronize()

    def view(self, buffer: Buffer, size: int) -> Tensor:
        """Return the first bytes of the device's buffer."""
        return buffer.device[:size]

    def hand_back(self) -> None:
        """Return cached memory to the device, when all its work is done."""
        _cuda.synchronize(self._device)
        _cuda.empty_cache()
