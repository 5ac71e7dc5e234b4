"""A terminal for forkmon to run in: a pseudo-terminal, pyte as its screen, real processes."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyte
import pytest

OWN_THE_TTY = """
import fcntl, os, signal, sys, termios
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A new session has no terminal until one of its processes asks for it; then the program starts.

Signals that whoever runs the tests ignores (as a shell's `&` does SIGINT) are as at a prompt.
Done by a program of its own because forking Python beside this test's threads may deadlock.
"""

ENTER_SCREEN = b"\x1b[?1049h"
LEAVE_SCREEN = b"\x1b[?1049l"
SHOW_CURSOR = b"\x1b[?25h"
HIDE_CURSOR = b"\x1b[?25l"

Size = tuple[int, int]


class Terminal:
    """A program on a pseudo-terminal: keys go in, the screen can be waited for."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, size: Size = (120, 40)
    ) -> None:
        self.raw = bytearray()
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._changed = threading.Condition()
        self._master, self._slave = os.openpty()
        self._set_size(size)
        self.settings_before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", OWN_THE_TTY, *argv],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="pty", daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """Return what the screen shows, a line a row."""
        with self._changed:
            return "\n".join(row.rstrip() for row in self._screen.display)

    def row(self, number: int) -> str:
        """Return one row of the screen."""
        return self.text.splitlines()[number]

    def press(self, keys: str) -> None:
        """Send keys."""
        os.write(self._master, keys.encode())

    def until(self, seen: Callable[[str], bool], what: str, timeout: float = 40) -> str:
        """Wait until the screen's text satisfies a condition, and return it; else show it."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not seen(text := self.text):
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and self._quiet()):
                    state = self.process.poll()
                    pytest.fail(f"never seen: {what} (exit code {state})\n{text}\n{'=' * 40}")
                self._changed.wait(min(left, 0.25))
        return text

    def until_says(self, *parts: str, timeout: float = 40) -> str:
        """Wait until every part stands on the screen."""
        return self.until(lambda text: all(p in text for p in parts), " and ".join(parts), timeout)

    def resize(self, size: Size) -> None:
        """Change the window's size; the kernel sends SIGWINCH to who is in front."""
        with self._changed:
            self._screen.resize(columns=size[0], lines=size[1])
        self._set_size(size)

    def wait(self, timeout: float = 20) -> int:
        """Return the exit code once the program has ended and all it wrote is here."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {timeout:.0f} s:\n{self.text}")
        while not self._quiet():
            pass
        return code

    def hang_up(self) -> None:
        """Close the window: nobody has the other end of the terminal any more."""
        self._ended.set()
        self._thread.join()
        os.close(self._slave)
        os.close(self._master)
        self._slave = self._master = -1

    def child(self, words: str) -> int:
        """Return the process id of the program's child whose command line holds `words`."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for pid in children(self.process.pid):
                if words in command_line(pid):
                    return pid
            with self._changed:
                self._changed.wait(0.05)
        pytest.fail(f"no child is called {words}\n{self.text}")

    def assert_restored(self) -> None:
        """Check that the terminal is as it was before the program started."""
        raw = bytes(self.raw)
        assert raw.count(ENTER_SCREEN) >= 1
        assert raw.rfind(LEAVE_SCREEN) > raw.rfind(ENTER_SCREEN), "the alternate screen stayed"
        assert raw.rfind(SHOW_CURSOR) > raw.rfind(HIDE_CURSOR), "the cursor stayed hidden"
        for mode in (b"1000", b"1003", b"2004", b"2026"):
            on, off = raw.rfind(b"\x1b[?" + mode + b"h"), raw.rfind(b"\x1b[?" + mode + b"l")
            assert off >= on, f"mode {mode.decode()} stayed on"
        assert termios.tcgetattr(self._slave) == self.settings_before, "the line discipline changed"

    def close(self) -> None:
        """End whatever still runs, and the reader."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self._ended.set()
        self._thread.join()
        for number in (self._master, self._slave):
            if number >= 0:
                os.close(number)

    def _set_size(self, size: Size) -> None:
        packed = struct.pack("HHHH", size[1], size[0], 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, packed)

    def _quiet(self) -> bool:
        """Tell whether nothing that was written is still on its way."""
        return not select.select([self._master], [], [], 0)[0]

    def _listen(self) -> None:
        while not self._ended.is_set():
            if not select.select([self._master], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            with self._changed:
                self.raw += data
                self._stream.feed(data)
                self._changed.notify_all()


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    except OSError:
        return []
    return [int(word) for word in text.split()]


def command_line(pid: int) -> str:
    """Return a process's command line; empty when it is gone."""
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        return ""


def is_running(pid: int) -> bool:
    """Tell whether a process lives (one that is only not yet waited for does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


class Trainer:
    """A training process that trains on, and saves, only when it is told to."""

    def __init__(self, script: Path, run: Path, env: Mapping[str, str]) -> None:
        self._errors = (run.parent / "trainer.err").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(run)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**env, "OMP_NUM_THREADS": "1", "TERM": "dumb"},
            text=True,
        )

    def saves(self) -> int:
        """Let it train to its next checkpoint and return that one's step."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        while line := self.process.stdout.readline():
            word, _, step = line.strip().partition(" ")
            if word == "saved":
                return int(step)
        self._errors.seek(0)
        pytest.fail(f"the trainer ended early:\n{self._errors.read()[-3000:]}")

    def close(self) -> int:
        """Let it end by itself and return its exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process.stdout.close()
        self._errors.close()
        return code


Start = Callable[..., Terminal]
Train = Callable[[str, Path], Trainer]


@pytest.fixture(scope="session")
def numba_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where compiled kernels stay for all tests of a session."""
    path = tmp_path_factory.getbasetemp() / "numba"
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture
def environment(isolated_home: Path, numba_cache: Path) -> dict[str, str]:
    """Return the environment of a person at an ordinary terminal."""
    temporary = isolated_home / "tmp"
    temporary.mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TEXTUAL", "PYTEST", "COV"))}
    return {
        **env,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "NUMBA_CACHE_DIR": str(numba_cache),
        "COLUMNS": "80",  # a stale size must not hide the terminal's own
        "LINES": "24",
        "TMPDIR": str(temporary),
    }


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Return what starts `forkmon ...` on a terminal: `start("PATH", "--option", size=(80, 24))`.

    Checkpoints settle in a moment, so that a test need not wait for theirs.
    """
    opened: list[Terminal] = []
    quick = {"FORKMON_INTERVAL": "0.2", "FORKMON_SETTLE": "0.3", "FORKMON_THREADS": "1"}

    def begin(*arguments: object, size: Size = (120, 40), **variables: str) -> Terminal:
        argv = [sys.executable, "-m", "forkmon", *map(str, arguments)]
        env = {**environment, **quick, **variables}
        opened.append(Terminal(argv, env=env, cwd=tmp_path, size=size))
        return opened[-1]

    yield begin
    for terminal in opened:
        terminal.close()


@pytest.fixture
def train(environment: dict[str, str], tmp_path: Path) -> Iterator[Train]:
    """Return what starts a training script on a run directory in a process of its own."""
    opened: list[Trainer] = []

    def begin(source: str, run: Path) -> Trainer:
        script = tmp_path / "train.py"
        script.write_text(source, "utf-8")
        opened.append(Trainer(script, run, environment))
        return opened[-1]

    yield begin
    for trainer in opened:
        trainer.close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return an empty run directory."""
    path = tmp_path / "run"
    path.mkdir()
    return path
