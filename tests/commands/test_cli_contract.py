"""The command line itself: help, exit codes, where errors go, signals, pipes, no terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import forkmon as package
from forkmon.cli import COMMANDS
from forkmon.errors import StoreError
from forkmon.store.reader import Reader

from .conftest import Answer, Call, Land

AS_AT_A_PROMPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from forkmon.cli import main
sys.exit(main())
"""
"""Whoever runs the tests may ignore SIGINT, and a child would inherit that."""


def test_version_and_help_go_to_stdout(forkmon: Call) -> None:
    """Exit code 0; the help names every command."""
    assert forkmon("--version") == Answer(0, f"forkmon {package.__version__}\n", "")
    answer = forkmon("--help")
    assert answer.code == 0
    assert answer.err == ""
    for name in COMMANDS:
        assert re.search(rf"^ +{name} ", answer.out, re.MULTILINE)
        assert forkmon(name, "--help").code == 0


@pytest.mark.parametrize(
    "arguments", [[], ["--no-such-option"], ["scan"], ["scan", "a", "b"], ["show"],
                  ["demo", "--run", "no-such-run"], ["scan", "x", "--json=1"]],
)  # fmt: skip
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    forkmon: Call, arguments: list[str]
) -> None:
    """The line names the next action; stdout stays empty."""
    answer = forkmon(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert re.fullmatch(r"forkmon: error: .+\n", answer.err)


@pytest.mark.parametrize("command", [[], ["watch"]])
def test_without_a_terminal_the_monitor_names_scan(
    forkmon: Call, run: Path, command: list[str]
) -> None:
    """Exit code 2, and the command that works there."""
    answer = forkmon(*command, run)
    assert answer.code == 2
    assert answer.out == ""
    assert f"forkmon scan {run}" in answer.err


def test_a_hostile_argument_is_not_obeyed(forkmon: Call) -> None:
    """An escape sequence in a path reaches no terminal through an error message."""
    for arguments in (["scan", "a\x1b]0;x\x07b"], ["--\x1b[2J"], ["show", "\x1b[2J"]):
        answer = forkmon(*arguments)
        assert answer.code in (1, 2)
        assert "\x1b" not in answer.err


def test_a_wrong_setting_names_where_it_came_from(
    forkmon: Call, run: Path, land: Land, monkeypatch: pytest.MonkeyPatch, isolated_home: Path
) -> None:
    """A bad variable is a usage error; a bad line of the config file is a warning."""
    land(run, 1)
    config = isolated_home / "config" / "forkmon" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("interval = 'soon'\ncolour = 1\n", "utf-8")
    answer = forkmon("scan", run)
    assert answer.code == 0
    assert "interval" in answer.err
    assert "colour" in answer.err
    monkeypatch.setenv("FORKMON_SETTLE", "never")
    answer = forkmon("scan", run)
    assert answer.code == 2
    assert "FORKMON_SETTLE" in answer.err


def test_who_stops_reading_ends_it_in_silence(run: Path, land: Land, numba_cache: Path) -> None:
    """`forkmon scan ... | head`: no traceback, no error."""
    path = land(run, 1)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    scan = ["scan", str(run)]
    for command in (["--help"], scan, [*scan, "--json"], [*scan, "--jsonl"], ["show", str(path)]):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [sys.executable, "-m", "forkmon", *command],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=180,
            env={**env, "NUMBA_CACHE_DIR": str(numba_cache)},
        )
        os.close(writing)
        assert done.stderr == ""
        assert done.returncode == 0


def is_open(store: Path) -> bool:
    """Return whether a writer has finished opening a new store."""
    try:
        with Reader.open(store) as reader:
            return bool(reader.run().name)
    except StoreError:
        return False


def sleeps(pid: int) -> bool:
    """Return whether a process waits for something."""
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_scan_in_order(
    forkmon: Call, run: Path, land: Land, numba_cache: Path, number: signal.Signals, code: int
) -> None:
    """The exit code tells which; the store is closed, no traceback is shown."""
    os.utime(land(run, 1))  # young: the scan waits for it to settle
    store = run.parent / "history.db"
    process = subprocess.Popen(
        [
            sys.executable, "-c", AS_AT_A_PROMPT,
            "scan", str(run), "--store", str(store), "--settle", "60",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(numba_cache)},
    )  # fmt: skip
    deadline = time.monotonic() + 30
    resting = 0
    while resting < 3:  # the store is open, and the scan sleeps between two looks
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
        resting = resting + 1 if is_open(store) and sleeps(process.pid) else 0
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert (out, err) == ("", "")
    assert not store.with_name("history.db.lock").exists()
    answer = forkmon("scan", run, "--store", store, "--json")
    assert [checkpoint["step"] for checkpoint in answer.json["checkpoints"]] == [1]


def test_record_writes_down_what_comes(run: Path, land: Land, numba_cache: Path) -> None:
    """One line a checkpoint on stdout, until SIGTERM ends it with 143."""
    land(run, 1)
    process = subprocess.Popen(
        [sys.executable, "-m", "forkmon", "record", str(run), "--interval", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(numba_cache)},
    )
    assert process.stdout is not None
    try:
        assert "recording" in process.stdout.readline()
        for step in (1, 2):
            while line := process.stdout.readline():
                if f"step {step} " in line:
                    break
            land(run, step + 1)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 143
    assert err == ""
