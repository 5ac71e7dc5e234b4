"""The local engine: threads over spans of tensors, results in the order asked for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from threading import local
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import ITEM_BYTES, TensorRef
from forkmon.kernels.protocol import Kernel
from forkmon.stats.blocks import BLOCK
from forkmon.stats.codes import Counts
from forkmon.stats.parts import SPAN
from forkmon.stats.summary import Finished, Summary, empty

CHUNK_BYTES = 4 << 20
"""Bytes read at once by each thread."""

AHEAD = 32
"""Spans handed out before the oldest one is collected: bounds what waits in memory."""


@dataclass(frozen=True, slots=True)
class Span:
    """Elements [first, last) of one tensor."""

    tensor: TensorRef
    first: int
    last: int


class LocalEngine:
    """Runs a kernel on this machine's threads; a context manager that ends them."""

    def __init__(
        self, kernel: Kernel, *, threads: int | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> None:  # fmt: skip
        self._kernel = kernel
        self._chunk_bytes = chunk_bytes
        self._pool = ThreadPoolExecutor(threads or usable_threads(), "forkmon-kernel")
        self._own = local()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._pool.shutdown(cancel_futures=True)

    def run(
        self, files: OpenFiles, tensors: Sequence[TensorRef]
    ) -> Generator[tuple[TensorRef, Finished]]:
        """Yield each tensor's numbers in the order given; reading errors are raised."""
        waiting: deque[tuple[TensorRef, list[Future[Summary]]]] = deque()
        pending = 0
        try:
            for tensor in tensors:
                futures = [
                    self._pool.submit(self._summarise, files, span) for span in spans(tensor)
                ]
                waiting.append((tensor, futures))
                pending += len(futures)
                while pending > AHEAD:
                    done, parts = waiting.popleft()
                    pending -= len(parts)
                    yield done, self._finish(files, done, parts)
            while waiting:
                done, parts = waiting.popleft()
                yield done, self._finish(files, done, parts)
        finally:
            for _, parts in waiting:
                for part in parts:
                    part.cancel()

    def _finish(
        self, files: OpenFiles, tensor: TensorRef, parts: list[Future[Summary]]
    ) -> Finished:
        whole = reduce(Summary.join, (part.result() for part in parts), empty(tensor.dtype))
        finished = whole.finish(tensor.shape[0] if row_length(tensor) else 0)
        if finished.needs_recount():
            at = finished.pivot()
            finished = finished.with_shifted(self._recount(files, tensor, at), at)
        return finished

    def _summarise(self, files: OpenFiles, span: Span) -> Summary:
        accumulator = self._kernel.accumulator(span.tensor.dtype, row_length(span.tensor))
        for first, data in self._chunks(files, span):
            accumulator.add(data, first)
        return accumulator.summary()

    def _recount(self, files: OpenFiles, tensor: TensorRef, at: float) -> Counts:
        accumulator = self._kernel.accumulator(tensor.dtype)
        whole = Span(tensor, 0, tensor.size)
        tables = (accumulator.shifted(data, at) for _, data in self._chunks(files, whole))
        return sum(tables, start=accumulator.shifted(np.zeros(0, np.uint8), at))

    def _chunks(self, files: OpenFiles, span: Span) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (index of the first element, its bytes), the buffer reused from chunk to chunk."""
        item = ITEM_BYTES[span.tensor.dtype]
        step = max(BLOCK, self._chunk_bytes // item // BLOCK * BLOCK)
        buffer = self._buffer(step * item)
        for first in range(span.first, span.last, step):
            data = buffer[: min(step, span.last - first) * item]
            files.read_into(span.tensor, first, data.data)
            yield first, data

    def _buffer(self, size: int) -> NDArray[np.uint8]:
        """Return this thread's buffer: allocating one a chunk would cost a page fault a page."""
        buffer: NDArray[np.uint8] | None = getattr(self._own, "buffer", None)
        if buffer is None or len(buffer) < size:
            buffer = np.empty(size, np.uint8)
            self._own.buffer = buffer
        return buffer


def spans(tensor: TensorRef) -> list[Span]:
    """Return a tensor cut on the fixed borders that keep float sums in one order."""
    return [
        Span(tensor, first, min(first + SPAN, tensor.size)) for first in range(0, tensor.size, SPAN)
    ]


def row_length(tensor: TensorRef) -> int:
    """Return the row length of a matrix with several rows and columns, else 0."""
    if len(tensor.shape) < 2 or tensor.shape[0] < 2 or tensor.size == 0:
        return 0
    columns = tensor.size // tensor.shape[0]
    return columns if columns > 1 else 0


def usable_threads() -> int:
    """Return how many threads this process may use beside a training job: at most four."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    return max(1, min(4, allowed))
