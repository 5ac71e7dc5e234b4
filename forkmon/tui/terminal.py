"""The terminal is given back whatever happens: signals, a crash, a tty that went away."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from textual import constants

from forkmon.errors import Exit

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from textual.driver import Driver

RESET = (
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l"  # mouse
    "\x1b[?2004l\x1b[?2048l\x1b[?1004l\x1b[<u"  # paste, in-band resize, focus, kitty keys
    "\x1b[?2026l\x1b[?1049l\x1b[0m\x1b[?7h\x1b[?25h"  # sync, screen, colours, wrap, cursor
)
"""Undo every mode Textual may have set; for when it could not do so itself."""

SIGNALS: dict[signal.Signals, int] = {
    signal.SIGTERM: Exit.TERMINATED,
    signal.SIGHUP: Exit.TERMINATED,
    signal.SIGQUIT: Exit.TERMINATED,
    signal.SIGINT: Exit.INTERRUPTED,
}
"""Signals that end forkmon cleanly, and the exit code of each."""

LOOK_SECONDS = 1.0
"""How often the watch over the tty looks whether it is still wanted; a hang-up wakes it at once."""

LAST_RESORT_SECONDS = 4.5
"""An exit on a signal may take so long (the worker gets 3 s); then the process just ends."""

DEAD_TTY_SECONDS = 1.0
"""With the terminal gone nobody waits for a clean end."""


class Terminal:
    """Owns what must happen to the terminal when the app ends in whatever way.

    Signals and the watch work although the event loop is stuck: a terminal that takes no more
    output (a frozen ssh) blocks Textual inside a write.
    """

    def __init__(self, stop: Callable[[int], None], kill_worker: Callable[[], None]) -> None:
        self._stop = stop
        self._kill_worker = kill_worker
        self._handlers: dict[signal.Signals, Any] = {}
        self._last_resort: threading.Timer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._detached = threading.Event()
        self.restored = True
        """False while the driver has the alternate screen."""
        self.gone = False
        """Whether the terminal hung up."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the signals over and begin to watch the tty; call it in the main thread."""
        self._loop = loop
        for number, code in SIGNALS.items():
            if signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup asked for it
            self._handlers[number] = signal.signal(number, partial(self._signalled, code))
        threading.Thread(target=self._watch, name="tty-watch", daemon=True).start()

    def detach(self) -> None:
        """Give the signals back; a last resort that is under way stays until `restore`."""
        self._detached.set()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def restore(self) -> None:
        """Write what is still to be undone straight to the terminal; safe to call twice."""
        if self._last_resort is not None:
            self._last_resort.cancel()
            self._last_resort = None
        if not self.restored:  # else Textual has done it, and twice would move the cursor
            write_reset()
            self.restored = True

    def _signalled(self, code: int, _number: int, _frame: object) -> None:
        self._end(code, LAST_RESORT_SECONDS)

    def _end(self, code: int, grace: float) -> None:
        if self._last_resort is not None or self._loop is None:
            return
        self._last_resort = threading.Timer(grace, self._give_up, (code,))
        self._last_resort.daemon = True
        self._last_resort.start()
        with contextlib.suppress(RuntimeError):  # the loop has just ended
            self._loop.call_soon_threadsafe(self._stop, code)

    def _give_up(self, code: int) -> None:
        self._kill_worker()
        write_reset()
        os._exit(code)

    def _watch(self) -> None:
        poller = select.poll()
        for stream in (sys.__stdin__, sys.__stderr__):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None and stream.isatty():
                    poller.register(stream.fileno(), 0)  # hang-ups are always told
        while not self._detached.is_set():
            if poller.poll(1000 * LOOK_SECONDS):
                self.gone = True
                self._end(Exit.TERMINATED, DEAD_TTY_SECONDS)
                return


def write_reset() -> None:
    """Write the reset sequence without blocking and without Textual."""
    for stream in (sys.__stderr__, sys.__stdout__):
        try:
            if stream is None or not stream.isatty():
                continue
            number = stream.fileno()
            if select.select([], [number], [], 0)[1]:
                os.write(number, RESET.encode("ascii"))
        except (OSError, ValueError):
            continue
        return


def driver_class(terminal: Terminal) -> type[Driver] | None:
    """Return Textual's driver with one change: it tells `terminal` who has the screen."""
    if constants.DRIVER is not None or os.name != "posix":
        return None
    from textual.drivers.linux_driver import LinuxDriver

    class TerminalDriver(LinuxDriver):
        """Textual's own driver for a tty."""

        def start_application_mode(self) -> None:
            terminal.restored = False
            super().start_application_mode()  # type: ignore[no-untyped-call]

        def stop_application_mode(self) -> None:
            super().stop_application_mode()
            terminal.restored = True

    return TerminalDriver
