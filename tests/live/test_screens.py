"""forkmon on a real terminal: waiting, hostile names, every size, a bad checkpoint, the demo."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from forkmon import config
from forkmon.commands.replay import checkpoints

from .conftest import Start, children

PAYLOADS = {
    "a window title": "\x1b]0;pwned\x07",
    "a cleared screen": "\x1b[2J\x1b[H",
    "a colour, 8 bits": "\x9b31m",
    "a link": "\x1b]8;;https://evil.example\x1b\\",
    "a text that runs backwards": "\u202eabc",
}
"""What a terminal would obey if it came through as it is."""

MARKUP = "[@click=app.exit][red]x[/red]"


def land(run: Path, step: int, **extra: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Path:
    """Write a small checkpoint as one file."""
    rng = np.random.default_rng(step)
    weights = {
        "h.0.weight": rng.standard_normal((32, 32), np.float32) * (1 + step / 100),
        "h.1.weight": rng.standard_normal((32, 32), np.float32),
    }
    path = run / f"step_{step}.safetensors"
    save_file({**weights, **extra}, path)
    return path


def test_an_empty_directory_says_what_it_waits_for(start: Start, run: Path) -> None:
    """What is looked for stands on the screen until the first checkpoint comes."""
    forkmon = start(run)
    text = forkmon.until_says("waiting for the first checkpoint", "● live")
    assert "checkpoint-N/" in text
    assert "step*.safetensors" in text
    assert "q quit" in text
    land(run, 3)
    text = forkmon.until_says("step 3 · 1 checkpoint ·", "1 histogram")
    assert "waiting for" not in text


def test_a_bad_checkpoint_hides_no_good_one(start: Start, run: Path) -> None:
    """Its reason is an alert, and the next good one appears."""
    land(run, 1)
    forkmon = start(run)
    forkmon.until_says("step 1 · 1 checkpoint ·")
    (run / "step_2.safetensors").write_bytes(b"\xff" * 4096)
    forkmon.until_says("UNREADABLE", "step_2.safetensors", "1 unreadable")
    land(run, 3)
    forkmon.until_says("step 3 · 2 checkpoints", "UNREADABLE")


def test_names_from_files_never_speak_to_the_terminal(start: Start, tmp_path: Path) -> None:
    """Tensor, file and directory names that hold escape sequences are shown, not obeyed."""
    run = tmp_path / f"run{PAYLOADS['a window title']}"
    run.mkdir()
    names = [*PAYLOADS.values(), MARKUP]
    hostile = {f"evil.{name}.weight": np.ones(16, np.float32) for name in names}
    (run / f"step_9{PAYLOADS['a cleared screen']}.safetensors").write_bytes(b"\xff" * 100)
    (run / f"notes{PAYLOADS['a colour, 8 bits']}.safetensors").write_bytes(b"")
    land(run, 1, **hostile)
    forkmon = start(run, size=(160, 50))
    forkmon.until_says("step 1 · 1 checkpoint", "pwned", "evil")
    forkmon.press("/")
    forkmon.until_says("esc clears")
    forkmon.press("evil\r")
    forkmon.until_says("6 of 8", "[@c", r"\u{9b}31m")
    for key in ("j", "j", "j", "o", "\x1b", "n", "e", "\x1b", "3", "?"):
        forkmon.press(key)
    forkmon.until_says("Where", "move up")
    forkmon.press("\x1b")
    forkmon.until(lambda text: "move up" not in text, "the help is closed")
    forkmon.press("q")
    assert forkmon.wait() == 0
    forkmon.assert_restored()
    raw = bytes(forkmon.raw)
    for what, payload in PAYLOADS.items():
        if what != "a cleared screen":  # forkmon's own sequences may begin like that one
            assert payload.encode() not in raw, what
        assert f"evil.{payload}".encode() not in raw, what
    assert b"\x1b]0;" not in raw
    assert b"\x1b]8;" not in raw
    assert "\x9b".encode() not in raw
    assert "\u202e".encode() not in raw


def test_it_follows_a_window_that_shrinks(start: Start, run: Path) -> None:
    """The header stays to 60x15; below that a notice says what is needed; it comes back."""
    for step in (1, 2):
        land(run, step)
    forkmon = start(run)
    forkmon.until_says("step 2 · 2 checkpoints")
    for size in ((80, 24), (60, 15)):
        forkmon.resize(size)
        forkmon.until(lambda text: "forkmon" in text.splitlines()[0], f"the header at {size}")
        text = forkmon.until_says("● live", "h", "1 hist")
        assert all(len(row) <= size[0] for row in text.splitlines())
    forkmon.resize((40, 10))
    forkmon.until_says("40×10 is too small", "forkmon needs 60×15", "q quits")
    land(run, 3)
    forkmon.resize((120, 40))
    forkmon.until_says("step 3 · 3 checkpoints", "1 histogram", "● live")
    forkmon.press("q")
    assert forkmon.wait() == 0
    forkmon.assert_restored()


def test_keys_that_arrive_together_are_taken_in_turn(start: Start, run: Path) -> None:
    """Over a slow line `/`, a pattern and enter come in one packet: all of it is the filter."""
    land(run, 1)
    forkmon = start(run)
    forkmon.until_says("step 1 · 1 checkpoint", "h")
    forkmon.press("/h.1\r")
    forkmon.until_says("1 of 2", timeout=5)


def test_no_colour_and_ascii_are_kept_to(start: Start, run: Path) -> None:
    """NO_COLOR sets no colour; --ascii draws with ASCII alone."""
    land(run, 1)
    forkmon = start(run, "--ascii", NO_COLOR="1")
    text = forkmon.until_says("step 1 - 1 checkpoint", "live")
    assert text.isascii()
    forkmon.press("3")
    assert forkmon.until(lambda text: "count" not in text, "the curves").isascii()
    forkmon.press("q")
    assert forkmon.wait() == 0
    assert set(re.findall(rb"\x1b\[[0-9;]*[34]8;[0-9;]*m", forkmon.raw)) == set()


def test_the_demo_trains_to_its_end_on_the_screen(
    start: Start, environment: dict[str, str]
) -> None:
    """Every checkpoint of the sample run arrives; its directory is gone afterwards."""
    steps = [ref.step for ref in checkpoints(config.shipped("sample_runs") / "tiny-lm")]
    forkmon = start("demo", "--every", ".2", size=(140, 40))
    many = f"step {max(steps):,} · {len(steps)} checkpoints"
    forkmon.until(lambda text: many in text, many, timeout=100)
    forkmon.until_says("tiny-lm (demo)", "● live", "loss")
    forkmon.press("q")
    assert forkmon.wait() == 0
    forkmon.assert_restored()
    assert not children(forkmon.process.pid)
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


def test_the_demo_without_a_terminal_prints_the_triage(environment: dict[str, str]) -> None:
    """In a batch job it replays without a screen, and says what one would have seen."""
    steps = [ref.step for ref in checkpoints(config.shipped("sample_runs") / "tiny-lm")]
    done = subprocess.run(
        [sys.executable, "-m", "forkmon", "demo"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"step {max(steps):,} analysed" in done.stdout
    assert f"{len(steps)} checkpoints, steps {min(steps)} to {max(steps):,}" in done.stdout
    assert "most changed" in done.stdout
    assert "\x1b" not in done.stdout
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


@pytest.mark.parametrize("command", [["{run}"], ["watch", "{run}"]])
def test_without_term_there_is_no_monitor(start: Start, run: Path, command: list[str]) -> None:
    """TERM=dumb gets one line that names `scan`, and exit code 2."""
    forkmon = start(*(word.format(run=run) for word in command), TERM="dumb")
    assert forkmon.wait() == 2
    assert b"forkmon: error: " in forkmon.raw
    assert b"forkmon scan" in forkmon.raw
    assert b"\x1b[?1049h" not in forkmon.raw


def test_the_demo_on_a_dumb_terminal_needs_no_screen(start: Start) -> None:
    """It replays as it does in a batch job."""
    demo = start("demo", TERM="dumb")
    assert demo.wait(100) == 0
    assert b"most changed" in demo.raw
    assert b"\x1b[?1049h" not in demo.raw
