"""The local engine: threads over spans of tensors, results in the order asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from threading import local
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from forkmon.engines.threads import usable_threads
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import ITEM_BYTES, TensorRef
from forkmon.kernels import modality
from forkmon.kernels.protocol import Kernel, numpy_dtype
from forkmon.stats import sample
from forkmon.stats.blocks import BLOCK
from forkmon.stats.codes import Counts
from forkmon.stats.parts import SPAN
from forkmon.stats.summary import Finished, Summary

CHUNK_BYTES = 4 << 20
"""Bytes read at once by each thread."""

AHEAD = 4
"""Spans a thread that are handed out before the oldest is collected: what waits in memory."""


@dataclass(frozen=True, slots=True)
class Span:
    """Elements [first, last) of one tensor."""

    tensor: TensorRef
    first: int
    last: int


class LocalEngine:
    """Runs a kernel on this machine's threads; a context manager that ends them."""

    def __init__(
        self, kernel: Kernel, *, threads: int | None = None, chunk_bytes: int = CHUNK_BYTES,
        with_modality: bool = True,
    ) -> None:  # fmt: skip
        self._kernel = kernel
        self._with_modality = with_modality
        self._chunk_bytes = chunk_bytes
        self._threads = threads or usable_threads()
        self._ahead = AHEAD * self._threads
        self._pool = ThreadPoolExecutor(self._threads, "forkmon-kernel")
        self._own = local()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._pool.shutdown(cancel_futures=True)

    @property
    def kernel(self) -> Kernel:
        """Return the kernel that it runs."""
        return self._kernel

    @property
    def note(self) -> str:
        """Return why the first tensor may take longer; empty where it does not."""
        return ""

    def run(
        self, files: OpenFiles, tensors: Sequence[TensorRef]
    ) -> Generator[tuple[TensorRef, Finished]]:
        """Yield each tensor's numbers in the order given; reading errors are raised."""
        work = ((span, self._pool.submit(self._summarise, files, span)) for span in _all(tensors))
        waiting: deque[tuple[Span, Future[Summary]]] = deque()
        ending: deque[tuple[TensorRef, Future[Finished]]] = deque()
        try:
            whole: Summary | None = None
            waiting.extend(islice(work, self._ahead))
            while waiting:
                span, part = waiting.popleft()
                waiting.extend(islice(work, 1))
                done = part.result()
                whole = done if whole is None else whole.join(done).compacted()
                if span.last == span.tensor.size:
                    end = self._pool.submit(self._finish, files, span.tensor, whole)
                    ending.append((span.tensor, end))
                    whole = None
                while ending and (ending[0][1].done() or len(ending) > self._ahead):
                    tensor, end = ending.popleft()
                    yield tensor, end.result()
            for tensor, end in ending:
                yield tensor, end.result()
        finally:
            for _, part in waiting:
                part.cancel()
            for _, end in ending:
                end.cancel()

    def _finish(self, files: OpenFiles, tensor: TensorRef, whole: Summary) -> Finished:
        rows = tensor.shape[0] if row_length(tensor) else 0
        finished = whole.finish(rows)
        if finished.needs_recount():
            at = finished.pivot()
            finished = finished.with_shifted(self._recount(files, tensor, at), at)
        if not self._with_modality:
            return finished
        return replace(finished, modality=modality.views(whole, finished, rows))

    def _summarise(self, files: OpenFiles, span: Span) -> Summary:
        dtype, size = span.tensor.dtype, span.tensor.size
        accumulator = self._kernel.accumulator(dtype, row_length(span.tensor))
        picked = sample.EMPTY
        for first, data in self._chunks(files, span):
            accumulator.add(data, first)
            if self._with_modality:
                values = data.view(numpy_dtype(dtype))
                picked = picked.join(sample.taken(values, dtype, first, size))
        return replace(accumulator.summary(), sample=picked)

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
    """Return a tensor cut on the fixed borders that keep float sums in one order.

    An empty tensor is one empty span.
    """
    return [
        Span(tensor, first, min(first + SPAN, tensor.size))
        for first in range(0, max(1, tensor.size), SPAN)
    ]


def _all(tensors: Sequence[TensorRef]) -> Iterator[Span]:
    for tensor in tensors:
        yield from spans(tensor)


def row_length(tensor: TensorRef) -> int:
    """Return the row length of a matrix with several rows and columns, else 0."""
    if len(tensor.shape) < 2 or tensor.shape[0] < 2 or tensor.size == 0:
        return 0
    columns = tensor.size // tensor.shape[0]
    return columns if columns > 1 else 0
