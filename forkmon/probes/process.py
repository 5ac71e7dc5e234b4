"""Running probes in a process of their own: niced, limited, and gone when nobody waits for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import IO, Final, Self

import forkmon
from forkmon.errors import Exit, UsageError
from forkmon.probes.encoding import encode
from forkmon.probes.outcome import (
    Event,
    Failed,
    Job,
    Limits,
    Moved,
    Why,
    from_json,
    ref_to_json,
)
from forkmon.text import safe

GRACE_SECONDS: Final = 5.0
"""A process keeps its own deadline; it is killed when it misses it by this much."""

START_SECONDS: Final = 60.0
"""How much longer the first answer may take: a busy machine starts processes slowly."""

THREADS: Final = 2
"""Of BLAS in the process: memory and a busy machine are spared."""

_START: Final = (
    "import sys; sys.path.append(sys.argv.pop()); "
    "from forkmon.probes.__main__ import main; sys.exit(main())"
)
"""What `python -m forkmon.probes` does, but for the current directory: it may be the run's, and
a json.py in it must not be imported."""

_TAIL: Final = 400
"""Characters of its last words that are repeated."""

_LINES: Final = 50
"""Lines of its last words that are kept."""


class ProbeProcess:
    """A job under way; a context manager that ends its process. `cancel` is for any thread."""

    def __init__(self, job: Job, limits: Limits | None = None) -> None:
        self._job = job
        self._limits = limits or Limits()
        self._lines: Queue[str | None] = Queue()
        self._words: list[str] = []
        self._cancelled = threading.Event()
        env = {name: str(THREADS) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS",
                                               "MKL_NUM_THREADS")}  # fmt: skip
        self._process = subprocess.Popen(  # noqa: S603 -- this interpreter, words of our own
            [sys.executable, "-P", "-c", _START, str(Path(forkmon.__file__).parents[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env},
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
        )
        self._stdin = _pipe(self._process.stdin)
        self._stdout = _pipe(self._process.stdout)
        self._stderr = _pipe(self._process.stderr)
        self._listeners = [
            threading.Thread(target=self._hear, daemon=True),
            threading.Thread(target=self._remember, daemon=True),
        ]
        for listener in self._listeners:
            listener.start()

    def __enter__(self) -> Self:
        self._ask()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def pid(self) -> int:
        """Return the process's number."""
        return self._process.pid

    def cancel(self) -> None:
        """Ask the process to stop: it answers for the checkpoint under way, then ends."""
        self._cancelled.set()
        self._close_stdin()

    def events(self) -> Iterator[Event]:
        """Yield what happens, until each checkpoint has its outcome or the job was cancelled.

        UsageError for a probe or parameters that do not exist.
        """
        answered = 0
        deadline = self._deadline() + START_SECONDS
        while answered < len(self._job.checkpoints):
            event = self._next(deadline, answered)
            yield event
            if isinstance(event, Moved):
                continue
            answered += 1
            deadline = self._deadline()
            if isinstance(event, Failed) and event.why in ("cancelled", "died"):
                return

    def _deadline(self) -> float:
        return time.monotonic() + self._limits.seconds + GRACE_SECONDS

    def _ask(self) -> None:
        job = self._job
        request = {
            "probe": job.probe,
            "parameters": job.parameters,
            "checkpoints": [ref_to_json(ref) for ref in job.checkpoints],
            "root": None if job.root is None else str(job.root),
            "limits": encode(self._limits),
        }
        # A process that died tells why when its outcome is asked for.
        with suppress(OSError):
            self._stdin.write(json.dumps(request) + "\n")
            self._stdin.flush()

    def _next(self, deadline: float, place: int) -> Event:
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            self._process.kill()
            return self._failed(place, "died", f"killed: deaf for {GRACE_SECONDS:g} s past its end")
        if line is None:
            return self._ended(place)
        try:
            return from_json(json.loads(line))
        except ValueError as error:
            self._process.kill()
            return self._failed(place, "died", f"it spoke nonsense: {safe(error)}")

    def _ended(self, place: int) -> Failed:
        """Return the outcome that a process which ended early did not tell."""
        code = self._process.wait()
        self._listeners[1].join()
        said = "".join(self._words).strip()[-_TAIL:]
        if code == Exit.USAGE:
            raise UsageError(said)
        if self._cancelled.is_set():
            return self._failed(place, "cancelled", "cancelled")
        if code == -signal.SIGKILL:
            return self._failed(place, "memory", "killed, as the system does when memory is short")
        if "MemoryError" in said or "Memory allocation" in said or "memory" in said.lower():
            more = f"it needs more than {self._limits.memory_mb:,} MB"
            return self._failed(place, "memory", f"cancelled: {more}")
        return self._failed(place, "died", f"its process ended with {code}: {safe(said, _TAIL)}")

    def _failed(self, place: int, why: Why, reason: str) -> Failed:
        ref = self._job.checkpoints[place]
        return Failed(place, self._job.probe, str(ref.path), ref.step, why, reason)

    def _hear(self) -> None:
        for line in self._stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _remember(self) -> None:
        for line in self._stderr:
            self._words.append(line)
            del self._words[:-_LINES]

    def _close_stdin(self) -> None:
        with suppress(OSError, ValueError):
            self._stdin.close()

    def _end(self) -> None:
        self._close_stdin()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for listener in self._listeners:
            listener.join()
        self._stdout.close()
        self._stderr.close()


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise ValueError("the process was started without pipes")
    return stream
