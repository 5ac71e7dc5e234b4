"""The worker as the UI knows it: a process that speaks lines, on a run of small checkpoints."""

from __future__ import annotations

import os
import queue
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from safetensors.numpy import save_file

from forkmon import wire

E = TypeVar("E", bound=wire.Event)

LONG_AGO = 1_700_000_000
"""A modification time, so old that nothing needs to settle."""


class WorkerProcess:
    """A real worker; what it says is taken line by line, what it is told goes to its stdin."""

    def __init__(self, run: Path, store: Path, *options: str, env: dict[str, str]) -> None:
        self.events: list[wire.Event | wire.Command] = []
        """Everything it has said so far."""
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "forkmon.worker", str(run), "--store", str(store),
                "--interval", "0.1", "--settle", "0.1", "--threads", "1", *options,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def tell(self, line: wire.Command | bytes) -> None:
        """Send a command, or raw bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write(line if isinstance(line, bytes) else wire.encode(line))
        self.process.stdin.flush()

    def hang_up(self) -> None:
        """Close its stdin, as a UI that dies does."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def next(self, timeout: float = 40) -> wire.Event | wire.Command | None:
        """Return what it says next; None when it has ended or said nothing for `timeout`."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            return None
        if not line:
            self._lines.put(b"")
            return None
        assert len(line) <= wire.MAX_LINE
        self.events.append(wire.decode(line))
        return self.events[-1]

    def until(
        self, kind: type[E], fits: Callable[[E], bool] = lambda _: True, timeout: float = 40
    ) -> E:
        """Return the next event of a kind (that fits); fail when none comes."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            event = self.next(left)
            if isinstance(event, kind) and fits(event):
                return event
            if event is None and self.process.poll() is not None:
                break
        pytest.fail(f"no such {kind.__name__}; it said {self.events}; exit {self.process.poll()}")

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)

    def ended(self, timeout: float = 20) -> int:
        """Return its exit code, everything it said in `events`."""
        code = self.process.wait(timeout)
        while self.next(timeout) is not None:
            pass
        return code

    def errors(self) -> str:
        """Return what it wrote to stderr, once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def close(self) -> None:
        """End it whatever it does."""
        self.kill()
        self.process.wait(10)
        self._thread.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with suppress(ValueError):
            for line in self.process.stdout:
                self._lines.put(line)
        self._lines.put(b"")


StartWorker = Callable[..., WorkerProcess]
Land = Callable[..., Path]


def write_checkpoint(run: Path, step: int, *, at: float | None = None, scale: float = 1.0) -> Path:
    """Write a small model at a step: three types, eleven tensors, deterministic."""
    rng = np.random.default_rng(step)
    weights: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.floating]]] = {}
    for block in range(3):
        matrix = rng.standard_normal((24, 40)) * 0.02 * scale
        weights[f"h.{block}.attn.weight"] = matrix.astype(np.float32)
        weights[f"h.{block}.mlp.weight"] = rng.standard_normal((40, 24)).astype(np.float16)
        weights[f"h.{block}.ln.weight"] = 1 + 0.01 * rng.standard_normal(24)
    weights["head.weight"] = rng.standard_normal((300, 24)).astype(np.float32)
    weights["step"] = np.full(4, step, np.float32)
    path = run / f"step_{step}.safetensors"
    save_file(weights, path)
    moment = LONG_AGO + 60 * step if at is None else at
    os.utime(path, (moment, moment))
    return path


def check_integrity(store: Path) -> None:
    """Check that SQLite finds no fault in the file."""
    connection = sqlite3.connect(store)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()


@pytest.fixture(scope="session")
def numba_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where compiled kernels stay for all tests of a session."""
    path = tmp_path_factory.getbasetemp() / "numba"
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return an empty run directory."""
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return where the worker's store will be."""
    return tmp_path / "state" / "run.db"


@pytest.fixture
def land() -> Land:
    """Return what writes a checkpoint: `land(run, step)`."""
    return write_checkpoint


@pytest.fixture
def start(run: Path, store: Path, numba_cache: Path) -> Iterator[StartWorker]:
    """Return what starts a worker on `run` and `store` (or on others)."""
    opened: list[WorkerProcess] = []

    def begin(
        *options: str,
        on: Path | None = None,
        into: Path | None = None,
        numba: Path | None = None,
    ) -> WorkerProcess:
        env = {**os.environ, "NUMBA_CACHE_DIR": str(numba or numba_cache)}
        opened.append(WorkerProcess(on or run, into or store, *options, env=env))
        return opened[-1]

    yield begin
    for worker in opened:
        worker.close()
