"""However it ends - a signal, a closed window, a killed worker - nothing is left in disorder."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from forkmon.store.place import store_path
from forkmon.store.reader import Reader

from .conftest import Start, is_running


def land(run: Path, step: int) -> None:
    """Write a small checkpoint as one file."""
    rng = np.random.default_rng(step)
    save_file({"w": rng.standard_normal((32, 32), np.float32)}, run / f"step_{step}.safetensors")


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 15) -> None:
    """Poll a condition that no screen shows."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGINT, 130)]
)
def test_a_signal_gives_the_terminal_back(
    start: Start, run: Path, number: signal.Signals, code: int
) -> None:
    """The exit code tells the signal, the screen is as before, the worker is gone."""
    land(run, 1)
    forkmon = start(run)
    forkmon.until_says("step 1 · 1 checkpoint", "● live")
    worker = forkmon.child("forkmon.worker")
    os.kill(forkmon.process.pid, number)
    assert forkmon.wait(10) == code
    forkmon.assert_restored()
    wait_until(lambda: not is_running(worker), "the worker outlives the screen")


def test_ctrl_c_quits(start: Start, run: Path) -> None:
    """The key does what the signal does."""
    forkmon = start(run)
    forkmon.until_says("waiting for the first checkpoint")
    forkmon.press("\x03")
    assert forkmon.wait(10) == 130
    forkmon.assert_restored()


def test_a_closed_window_ends_everything(start: Start, run: Path) -> None:
    """Nobody spins on a dead terminal: screen and worker end within seconds."""
    land(run, 1)
    forkmon = start(run)
    forkmon.until_says("step 1 · 1 checkpoint", "● live")
    worker = forkmon.child("forkmon.worker")
    forkmon.hang_up()
    wait_until(lambda: forkmon.process.poll() is not None, "it survives its terminal")
    wait_until(lambda: not is_running(worker), "the worker outlives the screen")


def test_a_killed_screen_leaves_no_worker(start: Start, run: Path) -> None:
    """SIGKILL cannot be handled, but the worker's stdin ends with the screen."""
    land(run, 1)
    forkmon = start(run)
    forkmon.until_says("step 1 · 1 checkpoint", "● live")
    worker = forkmon.child("forkmon.worker")
    forkmon.process.kill()
    wait_until(lambda: not is_running(worker), "the worker outlives the screen", 5)


def test_a_killed_worker_comes_back(start: Start, run: Path) -> None:
    """The screen stays and says so; nothing stored is lost or doubled; new steps go on."""
    for step in (1, 2, 3):
        land(run, step)
    forkmon = start(run)
    forkmon.until_says("step 3 · 3 checkpoints", "● live")
    seen = 3
    for _ in range(2):
        worker = forkmon.child("forkmon.worker")
        os.kill(worker, signal.SIGKILL)
        text = forkmon.until_says("restarting", "SIGKILL")
        assert f"step {seen} · {seen} checkpoints" in text
        forkmon.until_says("● live")
        assert forkmon.child("forkmon.worker") != worker
        seen += 1
        land(run, seen)
        forkmon.until_says(f"step {seen} · {seen} checkpoints")
    forkmon.press("q")
    assert forkmon.wait() == 0
    with Reader.open(store_path(run)) as reader:
        rows = reader.checkpoints()
        assert reader.attempt() is None
    assert Counter(row.step for row in rows) == dict.fromkeys(range(1, seen + 1), 1)
    assert {(row.segment, row.version) for row in rows} == {(0, 0)}


def test_quit_while_the_worker_is_away(start: Start, run: Path) -> None:
    """Between two workers `q` still quits, and no third one starts."""
    land(run, 1)
    forkmon = start(run)
    forkmon.until_says("step 1 · 1 checkpoint", "● live")
    os.kill(forkmon.child("forkmon.worker"), signal.SIGKILL)
    forkmon.until_says("restarting")
    forkmon.press("q")
    assert forkmon.wait(10) == 0
    forkmon.assert_restored()
