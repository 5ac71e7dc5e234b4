"""The UI's numbers under a real pseudo-terminal; run by hand: `python tests/bench/ui_numbers.py`.

Prints start to first paint beside a bare Textual app of the same run, key to paint while a
checkpoint is being stored, idle traffic and CPU, and the bytes of one checkpoint update.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import random
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from forkmon.stats.names import ancestors
from forkmon.stats.row import StatRow
from forkmon.store.values import Candidate, TensorKey, Trace
from forkmon.store.writer import Writer

COLUMNS, ROWS = 120, 40
STARTS = 7
KEYS = 200
IDLE_SECONDS = 20.0
QUIET = 0.05
BARE = """
from textual.app import App, ComposeResult
from textual.widgets import Static
class Bare(App):
    def compose(self) -> ComposeResult:
        yield Static("ready")
Bare().run()
"""


def say(text: str) -> None:
    """Print one line now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# -- the store -----------------------------------------------------------------------------


def names(tensors: int) -> list[str]:
    """Return names of a transformer: ten tensors a layer."""
    parts = ("attn.q", "attn.k", "attn.v", "attn.out", "ln_1", "ln_2", "mlp.in", "mlp.out")
    leaves = [*(f"{part}.weight" for part in parts), "mlp.in.bias", "mlp.out.bias"]
    return [f"model.layers.{i // 10}.{leaves[i % 10]}" for i in range(tensors)]


def row_of(draw: random.Random) -> StatRow:
    """Return plausible numbers."""
    v = draw.random()
    return StatRow(4096, v / 100, 0.02 + v, v, v, -v, v, 99 * v, 64 * v, 0, 0, 0, (v,) * 9)


def candidate(step: int) -> Candidate:
    """Return the place of a step."""
    return Candidate(
        segment=1, generation=1, parent_segment=None, step=step, version=1, path=f"/run/{step}",
        format="safetensors", digest=f"d{step}", content_digest=f"c{step}", bytes=10**9,
        mtime=time.time(), epoch=None, device="cpu",
    )  # fmt: skip


@dataclass(frozen=True)
class Model:
    """Which rows a checkpoint has."""

    tensors: Sequence[TensorKey]
    blocks: Sequence[TensorKey]

    @classmethod
    def of(cls, tensors: int) -> Model:
        """Return a model of so many tensors."""
        known = names(tensors)
        blocks = sorted({block for name in known for block in ancestors(name)})
        return cls(
            [TensorKey(name, "tensor", "model", "bf16", (64, 64)) for name in known],
            [TensorKey(name, "block") for name in blocks],
        )


def open_writer(path: Path) -> Writer:
    """Open the store as its writer."""
    return Writer.open(path, run=Path("/run"), name="big", kernel="bench")


def add(writer: Writer, model: Model, step: int, *, traced: bool, pause: float = 0.0) -> None:
    """Store one checkpoint in small transactions, as the worker does."""
    draw = random.Random(step)
    attempt = writer.begin(**candidate(step))
    size = 64 if pause else 4096
    for first in range(0, len(model.tensors), size):
        some = model.tensors[first : first + size]
        traces = [(key, Trace(draw.getrandbits(64), SKETCH, None)) for key in some]
        writer.add(attempt, [(key, row_of(draw), None) for key in some], traces if traced else ())
        end = time.perf_counter() + pause
        while time.perf_counter() < end:
            pass  # the work of a kernel
    writer.add(attempt, [(key, row_of(draw), None) for key in model.blocks])
    writer.promote(attempt, seconds=1.0)


SKETCH = struct.pack("<256f", *(random.Random(0).gauss(0, 1) for _ in range(256)))


def build(path: Path, tensors: int, steps: int) -> None:
    """Store so many steps; sketches at the first and the last two, where the screen needs them."""
    model = Model.of(tensors)
    with open_writer(path) as writer:
        for step in range(steps):
            add(writer, model, step * 100, traced=step == 0 or step >= steps - 2)


# -- the terminal --------------------------------------------------------------------------


class Terminal:
    """A program on a pseudo-terminal, and what it writes."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.began = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.execv(argv[0], list(argv))  # noqa: S606

    def read(self, seconds: float) -> bytes:
        """Return what is written within so many seconds, as soon as something is."""
        if not select.select([self.fd], [], [], max(0.0, seconds))[0]:
            return b""
        try:
            return os.read(self.fd, 1 << 20)
        except OSError:
            return b""

    def until(self, text: bytes, seconds: float = 60.0) -> float:
        """Return when `text` appeared, in seconds since the start."""
        seen = b""
        end = time.perf_counter() + seconds
        while text not in seen:
            if time.perf_counter() > end:
                raise TimeoutError(f"{text!r} never came; the end of what did: {seen[-400:]!r}")
            seen += self.read(1.0)
        return time.perf_counter() - self.began

    def drain(self, quiet: float, most: float = 30.0) -> int:
        """Read until nothing comes for `quiet` seconds; return how many bytes came."""
        total, end = 0, time.perf_counter() + most
        while time.perf_counter() < end:
            got = self.read(quiet)
            if not got:
                break
            total += len(got)
        return total

    def cpu(self) -> float:
        """Return the CPU seconds of the process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the program."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@contextmanager
def running(argv: Sequence[str]) -> Iterator[Terminal]:
    """Run a program on a pseudo-terminal."""
    terminal = Terminal(argv)
    try:
        yield terminal
    finally:
        terminal.close()


# -- the measurements ----------------------------------------------------------------------


def starts(view: Sequence[str]) -> None:
    """Measure starts, ours and a bare app's in turn."""
    ours: list[float] = []
    trees: list[float] = []
    bare: list[float] = []
    for _ in range(STARTS):
        with running([sys.executable, "-c", BARE]) as terminal:
            bare.append(terminal.until(b"ready"))
        with running(view) as terminal:
            ours.append(terminal.until(b"forkmon"))
            trees.append(terminal.until(b"layers"))
    base = median(bare)
    for what, took in (
        ("bare Textual app, first paint", bare),
        ("forkmon view, first paint", ours),
        ("forkmon view, the tree is there", trees),
    ):
        say(f"{what:<35}{median(took) * 1000:6.0f} ms  {median(took) / base:.2f}x")


def keys(view: Sequence[str], beside: Sequence[str]) -> None:
    """Measure keys, first alone and then while another process stores a checkpoint."""
    for what, argv in (("alone", ()), ("while a checkpoint is stored", beside)):
        with running(view) as terminal:
            terminal.until(b"layers")
            terminal.drain(1.0)
            writer = subprocess.Popen(argv) if argv else None
            took: list[float] = []
            for number in range(KEYS):
                terminal.drain(QUIET)
                os.write(terminal.fd, b"j" if number % 50 < 40 else b"k")
                sent = time.perf_counter()
                if terminal.read(5.0):
                    took.append(time.perf_counter() - sent)
            if writer is not None:
                busy = "still busy" if writer.poll() is None else "had ended"
                writer.kill()
                writer.wait()
                what = f"{what} ({busy})"  # noqa: PLW2901
            cuts = quantiles(took, n=20)
            say(
                f"key to paint, {what}: p50 {median(took) * 1000:.0f} ms, "
                f"p95 {cuts[18] * 1000:.0f} ms, worst {max(took) * 1000:.0f} ms, n {len(took)}"
            )


def idle_and_update(view: Sequence[str], store: Path, model: Model, step: int) -> None:
    """Measure an idle screen, then what one more checkpoint sends."""
    with running(view) as terminal:
        terminal.until(b"layers")
        terminal.drain(3.0)
        before, end, sent = terminal.cpu(), time.perf_counter() + IDLE_SECONDS, 0
        while (left := end - time.perf_counter()) > 0:
            sent += len(terminal.read(left))
        used = (terminal.cpu() - before) / IDLE_SECONDS
        rate = sent / IDLE_SECONDS
        say(f"idle {IDLE_SECONDS:.0f} s: {rate:.1f} B/s, {100 * used:.2f} % of a core")
        sizes: list[int] = []
        for more in range(3):
            with open_writer(store) as writer:
                add(writer, model, step + 100 * more, traced=True)
            sizes.append(terminal.drain(4.0))
        say(f"one checkpoint update at {COLUMNS}x{ROWS}: {median(sizes):,.0f} bytes ({sizes})")


def main() -> None:
    """Build the store, or do one part of the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--analyse", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.analyse is not None:
        os.nice(19)
        model = Model.of(options.tensors)
        with open_writer(options.analyse) as writer:
            for step in range(10**9, 10**9 + 50):
                add(writer, model, step, traced=True, pause=0.05)
        return
    with tempfile.TemporaryDirectory() as directory:
        store = Path(directory) / "big.store"
        began = time.perf_counter()
        build(store, options.tensors, options.steps)
        say(
            f"{options.tensors:,} tensors x {options.steps} steps stored in "
            f"{time.perf_counter() - began:.0f} s, {store.stat().st_size / 1e6:,.0f} MB; "
            f"{os.cpu_count()} cores"
        )
        view = [sys.executable, "-m", "forkmon", "view", str(store)]
        starts(view)
        model = Model.of(options.tensors)
        idle_and_update(view, store, model, options.steps * 100)
        again = [sys.executable, __file__, "--tensors", str(options.tensors)]
        keys(view, [*again, "--analyse", str(store)])


if __name__ == "__main__":
    main()
