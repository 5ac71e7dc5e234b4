"""The measurement: reading alone and statistics of the same warm bytes, in turn."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import local
from types import TracebackType
from typing import Self

from forkmon.commands.bench_files import Case
from forkmon.engines.local import CHUNK_BYTES, LocalEngine, Span, spans
from forkmon.engines.protocol import Engine
from forkmon.errors import ForkmonError
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import ITEM_BYTES
from forkmon.stats.blocks import BLOCK
from forkmon.stats.row import StatRow
from forkmon.worker.backends import Device, choose_device, open_engine

CAT = "cat"
READ = "read"
DISTRIBUTION = "distribution"
WHOLE = "whole Summary"

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Rate:
    """The best of several runs over one case."""

    what: str
    seconds: float
    bytes: int
    elements: int

    @property
    def gigabytes(self) -> float:
        """Return 10^9 bytes a second."""
        return self.bytes / self.seconds / 1e9

    @property
    def gigaelements(self) -> float:
        """Return 10^9 elements a second."""
        return self.elements / self.seconds / 1e9

    def times(self, other: Rate) -> float:
        """Return how many times as long this takes as the other, byte for byte."""
        return other.gigabytes / self.gigabytes


@dataclass(frozen=True, slots=True)
class Measured:
    """One case's rates by name, and what the statistics said."""

    case: Case
    rates: dict[str, Rate]
    rows: dict[str, dict[str, StatRow]]
    """For each kind of statistics: a row for each tensor by name."""


class Benchmark:
    """Engines that stay warm from case to case; a context manager that ends them."""

    def __init__(
        self, *, threads: int, repeat: int, device: Device, clock: Clock = time.perf_counter
    ) -> None:
        self._threads = threads
        self._repeat = repeat
        self._device = device
        self._clock = clock
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        cpu = choose_device("cpu")
        self._whole = enter(open_engine(threads=self._threads, device=cpu))
        from forkmon.kernels.cpu import CpuKernel  # its cache has its place now

        distribution = CpuKernel(distribution_only=True)
        self._distribution = enter(
            LocalEngine(distribution, threads=self._threads, with_modality=False)
        )
        self._reading = enter(ReadingAlone(self._threads))
        self._on_device = None
        if self._device.name != "cpu":
            self._on_device = enter(open_engine(threads=self._threads, device=self._device))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def measure(self, case: Case) -> Measured:
        """Run everything once to warm up, then in turn, and keep the best of each."""
        rows: dict[str, dict[str, StatRow]] = {}
        tasks: dict[str, Callable[[], object]] = {
            CAT: lambda: _cat(case),
            READ: lambda: self._reading.run(case),
            DISTRIBUTION: lambda: rows.update({DISTRIBUTION: _rows(self._distribution, case)}),
            WHOLE: lambda: rows.update({WHOLE: _rows(self._whole, case)}),
        }
        gpu = self._on_device
        if gpu is not None:
            name = f"{WHOLE}, {self._device.name}"
            tasks[name] = lambda: rows.update({name: _rows(gpu, case)})
        for task in tasks.values():
            task()
        best = dict.fromkeys(tasks, float("inf"))
        for _ in range(self._repeat):
            for name, task in tasks.items():
                began = self._clock()
                task()
                best[name] = min(best[name], self._clock() - began)
        sizes = dict.fromkeys(tasks, case.bytes) | {CAT: case.ref.fingerprint.bytes}
        return Measured(
            case, {n: Rate(n, s, sizes[n], case.elements) for n, s in best.items()}, rows
        )


class ReadingAlone:
    """The engine's reading and nothing else: same spans, chunks, buffers and threads."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "forkmon-read")
        self._own = local()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def run(self, case: Case) -> int:
        """Read every tensor once and return the bytes read."""
        with _open(case) as files:
            waiting = [
                self._pool.submit(self._read, files, span)
                for tensor in case.tensors
                for span in spans(tensor)
            ]
            return sum(future.result() for future in waiting)

    def _read(self, files: OpenFiles, span: Span) -> int:
        item = ITEM_BYTES[span.tensor.dtype]
        step = max(BLOCK, CHUNK_BYTES // item // BLOCK * BLOCK)
        buffer: memoryview | None = getattr(self._own, "buffer", None)
        if buffer is None or len(buffer) < step * item:
            buffer = self._own.buffer = memoryview(bytearray(step * item))
        done = 0
        for first in range(span.first, span.last, step):
            chunk = buffer[: min(step, span.last - first) * item]
            files.read_into(span.tensor, first, chunk)
            done += len(chunk)
        return done


@contextmanager
def _open(case: Case) -> Generator[OpenFiles]:
    # The file is to stay warm: the next measurement reads it again.
    with OpenFiles(case.ref, keep_cached=True) as files:
        yield files


def _rows(engine: Engine, case: Case) -> dict[str, StatRow]:
    found: dict[str, StatRow] = {}
    with _open(case) as files:
        for tensor, finished in engine.run(files, case.tensors):
            found[tensor.name] = finished.row()
            finished.reduced()
    return found


def _cat(case: Case) -> None:
    paths = [str(path) for path in case.ref.files]
    try:
        subprocess.run(["cat", "--", *paths], stdout=subprocess.DEVNULL, check=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError) as error:
        raise ForkmonError(f"the yardstick `cat FILE > /dev/null` failed: {error}") from None
