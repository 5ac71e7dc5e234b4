"""Events to the UI: written by a thread, so that a UI that does not read stops no analysis."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import Protocol

from forkmon import wire

WAITING = 200
"""Events kept for a UI that does not read; the oldest go first, for the store says what."""

FLUSH_SECONDS = 1.0
"""How long the end of the worker waits for the last events to be read."""


class Stoppable(Protocol):
    """What ends when nobody listens any more."""

    def stop(self) -> None:
        """End soon; called from any thread."""
        ...


class Speaker:
    """Writes events to a file descriptor, in order, from a thread of its own."""

    def __init__(self, fd: int, listener: Stoppable) -> None:
        """Write to `fd`; stop `listener` when nobody can read it any more."""
        self._fd = fd
        self._listener = listener
        self._events: deque[wire.Event] = deque(maxlen=WAITING)
        self._ready = threading.Condition(threading.RLock())
        self._closing = False
        self._thread = threading.Thread(target=self._write, name="speaker", daemon=True)
        self._thread.start()

    def say(self, event: wire.Event) -> None:
        """Take an event; returns at once. Progress and polls take the place of older ones."""
        with self._ready:
            if self._events and isinstance(event, (wire.Progress, wire.Polled)):
                newest = self._events[-1]
                if type(newest) is type(event):
                    self._events.pop()
            self._events.append(event)
            self._ready.notify()

    def close(self) -> None:
        """Write what is left, for as long as somebody reads."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        self._thread.join(FLUSH_SECONDS)

    def _write(self) -> None:
        while (event := self._next()) is not None:
            line = memoryview(wire.encode(event))
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except OSError:
                self._listener.stop()
                return

    def _next(self) -> wire.Event | None:
        with self._ready:
            while not self._events:
                if self._closing:
                    return None
                self._ready.wait()
            return self._events.popleft()
