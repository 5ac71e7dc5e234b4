"""Keeps the worker process alive and speaks its line protocol; the UI survives whatever it does."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from forkmon import wire
from forkmon.text import SafeText, safe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Phase = Literal["starting", "live", "waiting", "restarting", "stopped"]

EX_CONFIG = wire.EX_CONFIG
"""The worker's exit code for a configuration that no restart can mend."""

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
"""Seconds between two starts of a worker that keeps dying; doubled each time."""

GOOD_SECONDS = 30.0
"""A worker that lived so long starts the back-off anew."""

STDERR_LINES = 200
STOP_SECONDS = 2.0
TERMINATE_SECONDS = 1.0
PIPE_SECONDS = 1.0
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a person needs to know about the worker process."""

    phase: Phase = "starting"
    why: str = ""
    """Empty while all is well; else how the last worker ended."""
    pid: int = 0
    restarts: int = 0


STARTING = WorkerState()


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the supervisor waits, in seconds."""

    first_delay: float = FIRST_DELAY
    longest_delay: float = LONGEST_DELAY
    good: float = GOOD_SECONDS
    stop: float = STOP_SECONDS
    terminate: float = TERMINATE_SECONDS


class Supervisor:
    """Runs one worker after the other until `stop`; all its callbacks run in the event loop."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        said: Callable[[wire.Event], None],
        changed: Callable[[WorkerState], None],
        timing: Timing | None = None,
    ) -> None:
        self._argv = tuple(argv)
        self._said = said
        self._changed = changed
        self._timing = timing or Timing()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._stopping = False
        self._delay = self._timing.first_delay
        self._died_of = ""
        self._device: tuple[str, ...] = ()
        self.stderr: deque[SafeText] = deque(maxlen=STDERR_LINES)
        """The last lines the workers wrote to stderr, oldest first."""
        self.state = WorkerState()

    def start(self) -> None:
        """Start the first worker soon; call it once, in the running loop."""
        self._task = asyncio.create_task(self._run(), name="supervisor")

    def send(self, command: wire.Command) -> None:
        """Tell the worker something; silently nothing while none is running."""
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return
        with contextlib.suppress(OSError, RuntimeError):
            process.stdin.write(wire.encode(command))

    def nudge(self) -> None:
        """Do not wait out the back-off: try again now, also after a stop for good."""
        self._delay = self._timing.first_delay
        if self._task is not None and self._task.done() and not self._stopping:
            self._set("starting", "")
            self.start()
        self._nudge.set()

    async def stop(self) -> None:
        """End the worker: asked first, then terminated, then killed; no process is left behind."""
        self._stopping = True
        self._nudge.set()
        await self._end_process()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def kill(self) -> None:
        """End the worker at once, without the event loop."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _end_process(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.send(wire.Stop())
        if process.stdin is not None:
            process.stdin.close()
        if await _ended(process, self._timing.stop):
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        if await _ended(process, self._timing.terminate):
            return
        self.kill()
        await _ended(process, self._timing.terminate)

    async def _run(self) -> None:
        while not self._stopping:
            code = await self._one_worker()
            if not self._goes_on(code):
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._nudge.wait(), self._delay)
            self._delay = min(
                max(self._delay * 2, self._timing.first_delay), self._timing.longest_delay
            )

    async def _one_worker(self) -> int:
        self._nudge.clear()
        after = [*(("--died-of", self._died_of) if self._died_of else ()), *self._device]
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                *after,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=2 * wire.MAX_LINE,
            )
        except OSError as error:
            self._set("stopped", f"cannot start: {error.strerror or error}")
            return EX_CONFIG
        self._process = process
        self.state = replace(self.state, pid=process.pid)
        if self._stopping:  # asked to stop while the process was being made
            await self._end_process()
        pipes = [
            asyncio.create_task(self._listen(process)),
            asyncio.create_task(self._drain(process)),
        ]
        code = await _death(process)
        # A grandchild may hold the pipes open for ever: what is in them is read, no more.
        _, open_pipes = await asyncio.wait(pipes, timeout=PIPE_SECONDS)
        for pipe in open_pipes:
            pipe.cancel()
        # asyncio's Process has no public way to close what somebody else still holds open.
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001
        if clock() - started >= self._timing.good:
            self._delay = self._timing.first_delay
        return code

    def _goes_on(self, code: int) -> bool:
        """Say how the worker ended; return whether another one is to be started."""
        if self._stopping:
            return False
        last = self.stderr[-1] if self.stderr else ""
        if code == 0:
            self._set("stopped", self.state.why or "ended")
            return False
        if code == EX_CONFIG:
            self._set("stopped", self.state.why if self.state.phase == "stopped" else last)
            return False
        self._died_of = _signal_name(-code) if code < 0 else ""
        if code == wire.EX_DEVICE_LOST:
            # Its context cannot be mended, and no tensor is to blame: at once again, on the CPU.
            self._device = ("--device", "cpu", "--device-why", last or "the GPU was lost")
            self._delay = 0.0
        why = self._died_of or (f"exit {code}" + (f": {last}" if last else ""))
        self._set("restarting", why, restarts=self.state.restarts + 1)
        return True

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - asked for a pipe above
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than the limit; asyncio dropped it
                self._said(wire.Log("the worker wrote a line that is too long; skipped"))
                continue
            if not line:
                return
            self._hear(line)

    def _hear(self, line: bytes) -> None:
        try:
            event = wire.decode(line)
        except (ValueError, RecursionError):
            shown = safe(line.decode("utf-8", "backslashreplace").strip(), 80)
            self._said(wire.Log(f"the worker wrote something that is no message: {shown}"))
            return
        match event:
            case wire.Hello():
                self._set("waiting" if event.viewer else "live", event.viewer)
            case wire.Bye():
                self.state = replace(self.state, why=safe(event.reason))
            case wire.Rescan() | wire.Focus() | wire.Stop():
                self._said(wire.Log("the worker sent a command; only the UI may"))
                return
            case _:
                pass
        self._said(event)

    async def _drain(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None  # noqa: S101 - asked for a pipe above
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:
                continue
            if not line:
                return
            text = safe(line.decode("utf-8", "backslashreplace").rstrip())
            if text:
                self.stderr.append(text)

    def _set(self, phase: Phase, why: str, *, restarts: int | None = None) -> None:
        kept = self.state.restarts if restarts is None else restarts
        self.state = replace(self.state, phase=phase, why=safe(why), restarts=kept)
        self._changed(self.state)


async def _death(process: asyncio.subprocess.Process) -> int:
    """Return the exit code once there is one.

    `Process.wait` also waits for the pipes, which a grandchild may keep open for ever.
    """
    waiting = asyncio.create_task(process.wait())
    while process.returncode is None:
        await asyncio.wait({waiting}, timeout=LOOK_SECONDS)
    waiting.cancel()
    return process.returncode


async def _ended(process: asyncio.subprocess.Process, seconds: float) -> bool:
    try:
        await asyncio.wait_for(_death(process), seconds)
    except TimeoutError:
        return False
    return True


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
