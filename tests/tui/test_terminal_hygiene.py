"""Under a real pseudo-terminal: given back whatever happens, and left when it is gone."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Maker

WORKER = (
    "import json, os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); "
    "print(json.dumps(dict(e='hello', pid=1, version='0', store='s', device='cpu', why='w')), "
    "flush=True); sys.stdin.read()"
)

APP = """
import sys
from pathlib import Path
from forkmon.store.reader import Reader
from forkmon.tui.app import Launch, run
store, pidfile, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if mode == "crash":
    from forkmon.tui.screens.opener import Opener
    def boom(self):
        raise ZeroDivisionError("a bug of ours")
    Opener.help = boom
worker = None if mode == "view" else (sys.executable, "-c", sys.argv[4], pidfile)
sys.exit(run(Launch(run=store.with_suffix(""), store=store, open_source=lambda: Reader.open(store),
                    worker=worker, title="tiny-lm")))
"""


class Terminal:
    """An app under a pseudo-terminal."""

    def __init__(self, store: Path, mode: str, *, ignore_hangup: bool = False) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.pidfile = store.with_suffix(".pid")
        self.out = b""

        def prepare() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignore_hangup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        self.process = subprocess.Popen(
            [sys.executable, "-c", APP, str(store), str(self.pidfile), mode, WORKER],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=prepare,  # noqa: PLW1509 - a controlling terminal needs it
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
        )

    def read_until(self, condition: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
        """Read the terminal until a condition holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, (
                f"waited for {what}; the end is {self.out[-2000:]!r}"
            )
            self.read()

    def read(self) -> None:
        """Read what there is."""
        if select.select([self.master], [], [], 0.05)[0]:
            try:
                self.out += os.read(self.master, 65536)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise

    def ready(self) -> None:
        """Wait for the first scene and, where there is one, the worker."""
        self.read_until(lambda: b"tiny-lm" in self.out and b"density" in self.out, "the screen")

    def ended(self, timeout: float = 15.0) -> int:
        """Read to the end; return the exit code."""
        self.read_until(lambda: self.process.poll() is not None, "the end", timeout)
        self.read()
        return self.process.returncode

    def worker(self) -> int:
        """Return the worker's pid once it has told."""
        self.read_until(
            lambda: self.pidfile.exists() and bool(self.pidfile.read_text()), "the worker's pid"
        )
        return int(self.pidfile.read_text())

    def close(self) -> None:
        """Take everything away."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for number in (self.master, self.slave):
            try:
                os.close(number)
            except OSError:
                continue


Open = Callable[..., Terminal]


@pytest.fixture
def open_terminal() -> Iterator[Open]:
    """Return a function that starts the app under a terminal of its own."""
    opened: list[Terminal] = []

    def start(maker: Maker, mode: str = "live", **more: Any) -> Terminal:
        opened.append(Terminal(maker.path, mode, **more))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def is_gone(pid: int, timeout: float = 5.0) -> bool:
    """Tell whether a process ends within the timeout."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        select.select([], [], [], 0.02)
    return False


def assert_given_back(terminal: Terminal, since: int) -> None:
    """Assert that screen, cursor, paste mode and line discipline are as they were."""
    out = terminal.out[since:]
    for sequence in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?2004l", b"\x1b[<u"):
        assert sequence in out
    assert out.count(b"\x1b[?1049l") == 1
    assert termios.tcgetattr(terminal.slave)[:4] == terminal.before[:4]
    if b"\x1b[?1003h" in terminal.out:
        assert b"\x1b[?1003l" in out


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGINT, 130), (signal.SIGQUIT, 143)],
)
def test_a_signal_ends_it_cleanly(
    make_store: Callable[..., Maker], open_terminal: Open, number: signal.Signals, code: int
) -> None:
    """The terminal is as before, the exit code names the signal, no worker is left."""
    terminal = open_terminal(make_store())
    terminal.ready()
    worker = terminal.worker()
    since = len(terminal.out)
    terminal.process.send_signal(number)
    assert terminal.ended() == code
    assert_given_back(terminal, since)
    assert is_gone(worker)


@pytest.mark.parametrize(("key", "code"), [(b"q", 0), (b"\x03", 130), (b"\x11", 0)])
def test_leaving_says_that_monitoring_ends(
    make_store: Callable[..., Maker], open_terminal: Open, key: bytes, code: int
) -> None:
    """`q` restores the terminal and names what would go on; ctrl+c is an interruption."""
    terminal = open_terminal(make_store())
    terminal.ready()
    worker = terminal.worker()
    since = len(terminal.out)
    os.write(terminal.master, key)
    assert terminal.ended() == code
    assert_given_back(terminal, since)
    assert (b"forkmon record" in terminal.out[since:]) is (code == 0)
    assert is_gone(worker)


def test_a_crash_gives_the_terminal_back(
    make_store: Callable[..., Maker], open_terminal: Open
) -> None:
    """A bug of ours ends with exit code 1, a traceback and a usable terminal; no worker stays."""
    terminal = open_terminal(make_store(), "crash")
    terminal.ready()
    worker = terminal.worker()
    since = len(terminal.out)
    os.write(terminal.master, b"?")
    assert terminal.ended() == 1
    assert_given_back(terminal, since)
    assert b"a bug of ours" in terminal.out[since:]
    assert is_gone(worker)


@pytest.mark.parametrize("ignore_hangup", [True, False])
def test_it_leaves_with_its_terminal(
    make_store: Callable[..., Maker], open_terminal: Open, *, ignore_hangup: bool
) -> None:
    """A closed window ends forkmon and its worker within seconds, also under nohup."""
    terminal = open_terminal(make_store(), ignore_hangup=ignore_hangup)
    terminal.ready()
    worker = terminal.worker()
    os.close(terminal.slave)
    os.close(terminal.master)
    assert terminal.process.wait(timeout=10) in (143, -signal.SIGHUP)
    assert is_gone(worker)


def test_a_frozen_terminal_does_not_hold_it(
    make_store: Callable[..., Maker], open_terminal: Open
) -> None:
    """Where nobody takes the output any more, a signal still ends it."""
    terminal = open_terminal(make_store())
    terminal.ready()
    worker = terminal.worker()
    for _ in range(60):  # far more repaints than a pty and Textual's queue hold
        os.write(terminal.master, b"31")
    deadline = time.monotonic() + 15
    previous = -1
    while time.monotonic() < deadline:  # until the pty is full
        waiting = struct.unpack("i", fcntl.ioctl(terminal.master, termios.FIONREAD, b"\0" * 4))[0]
        if waiting == previous and waiting > 1000:
            break
        previous = waiting
        select.select([], [], [], 0.3)
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.wait(timeout=15) == 143
    assert is_gone(worker)


def test_hostile_names_never_reach_the_terminal_as_controls(
    make_store: Callable[..., Maker], open_terminal: Open
) -> None:
    """The bytes written hold the visible escape, never the sequence."""
    names = ("a\x1b]0;owned\x07\x1b[5m.weight", "[@click=app.quit]x[/].weight")
    maker = make_store(steps=(0, 1), names=names)
    terminal = open_terminal(maker, "view")
    terminal.ready()
    os.write(terminal.master, b"j")
    terminal.read_until(lambda: b"[@click=app.quit]x[/]" in terminal.out, "the first name")
    os.write(terminal.master, b"j")
    terminal.read_until(lambda: b"u{7}" in terminal.out, "the second name")
    os.write(terminal.master, b"3")
    terminal.read_until(lambda: b"skewness" in terminal.out, "the curves")
    os.write(terminal.master, b"o")
    terminal.read_until(lambda: b"provenance" in terminal.out, "the sheet")
    os.write(terminal.master, b"q")
    os.write(terminal.master, b"q")
    terminal.ended()
    out = terminal.out.replace(b"\x1b]22;default\x07", b"")  # Textual's own: pointer shape
    assert b"u{1b}" in out
    assert b"\x1b]0;" not in out
    assert b"\x1b[5m" not in out
    assert b"\x07" not in out


def test_an_idle_screen_writes_nothing(
    make_store: Callable[..., Maker], open_terminal: Open
) -> None:
    """With nothing new, two ticks of the clock send no byte."""
    terminal = open_terminal(make_store(), "view")
    terminal.ready()
    terminal.read_until(lambda: b"quit" in terminal.out, "the whole screen")
    quiet = 0
    deadline = time.monotonic() + 20
    while quiet < 50:
        assert time.monotonic() < deadline, "the screen never came to rest"
        before = len(terminal.out)
        terminal.read()
        quiet = quiet + 1 if len(terminal.out) == before else 0
