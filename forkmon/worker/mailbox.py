"""Commands from the UI: read by a thread from stdin, taken by the worker between two tensors."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from io import FileIO
from types import FrameType

from forkmon import wire


class StopRequestedError(Exception):
    """The worker was told to stop, or nobody listens to it any more."""


class Mailbox:
    """Commands in order of arrival; a Stop overtakes all others."""

    def __init__(self) -> None:
        self._commands: deque[wire.Command] = deque()
        self._stopped = threading.Event()
        self._arrived: Callable[[], None] = lambda: None

    def on_arrival(self, call: Callable[[], None]) -> None:
        """Call `call` (from any thread) whenever something arrives."""
        self._arrived = call

    def listen(self, stream: FileIO) -> None:
        """Read commands from `stream` in a thread; its end means Stop."""
        threading.Thread(target=self._read, args=(stream,), name="mailbox", daemon=True).start()

    def stop(self) -> None:
        """Ask the worker to stop; safe in a signal handler."""
        self._stopped.set()
        self._arrived()

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Ask the worker to stop, as a signal handler."""
        self.stop()

    def take(self) -> list[wire.Command]:
        """Return the commands that arrived since the last call."""
        self.check()
        taken: list[wire.Command] = []
        while self._commands:
            taken.append(self._commands.popleft())
        return taken

    def check(self) -> None:
        """Raise StopRequestedError if the worker was told to stop."""
        if self._stopped.is_set():
            raise StopRequestedError

    def _read(self, stream: FileIO) -> None:
        for line in _lines(stream):
            try:
                message = wire.decode(line)
            except (ValueError, RecursionError):
                continue  # a garbled wish is no reason to end; the UI repeats what matters
            match message:
                case wire.Stop():
                    break
                case wire.Rescan() | wire.Focus():
                    self._commands.append(message)
                    self._arrived()
                case _:
                    continue
        self.stop()


def _lines(stream: FileIO) -> Iterator[bytes]:
    rest = b""
    while data := stream.read(wire.MAX_LINE):
        *whole, rest = (rest + data).split(b"\n")
        yield from whole
        if len(rest) > wire.MAX_LINE:
            rest = b""  # no message is so long; what follows of it is garbage too
