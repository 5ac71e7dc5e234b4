"""What is printed of hostile names: the raw bytes hold nothing that a terminal would obey."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from .hostile_corpus import cases

FLAGS = ("--settle", "0.1", "--device", "cpu")
OURS = re.compile(r"\x1b\[[0-9;]*m|\r\x1b\[K|\r\n")
"""Colours, the line of progress wiped away, and a terminal's line ends."""
KINDS = ("names", "index_escape", "dcp_path_7", "log_lines_names", "log_table_formula", "st_html")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose files, tensors, metadata and logs are all called hostile things."""
    root = tmp_path_factory.mktemp("hostile") / "run\x1b[2J\u202e[red]"
    root.mkdir()
    made = cases()
    for kind in KINDS:
        made[kind](root if kind == "names" else root / f"checkpoint-{len(kind)}1")
    made["log_lines_names"](root)
    return root


def commands(run: Path) -> dict[str, list[str]]:
    """Return the commands whose answers hold names."""
    files = sorted(run.glob("step_*"))
    scan = ["scan", str(run), "--no-store", *FLAGS]
    return {
        "scan": scan, "json": [*scan, "--json"],
        "show": ["show", str(next(file for file in files if "step_2" in file.name))],
        "wrong": ["show", str(run / "step_2\x1b[2J.safetensors"), "no\x1b[2Jsuch"],
        "usage": ["scan", "\x1b[2J", "--no-such\x1b[2J"],
    }  # fmt: skip


def obeyed(text: str) -> set[str]:
    """Return the characters of a text that are more than ink, but for line ends."""
    hidden = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    return {char for char in text if unicodedata.category(char) in hidden} - {"\n"}


@pytest.mark.parametrize("kind", ["scan", "json", "show", "wrong", "usage"])
def test_what_is_piped_is_plain_text(run: Path, kind: str) -> None:
    """Both streams are UTF-8 without control, format, surrogate or private characters."""
    done = subprocess.run(
        [sys.executable, "-m", "forkmon", *commands(run)[kind]],
        capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    for raw in (done.stdout, done.stderr):
        assert obeyed(raw.decode("utf-8")) == set()
    assert b"Traceback" not in done.stderr, done.stderr[-2000:]
    shown = done.stdout + done.stderr
    assert b"\\u{1b}" in shown or b"\\u001b" in shown


@pytest.mark.parametrize("kind", ["scan", "show"])
def test_a_terminal_is_told_colours_and_nothing_else(run: Path, kind: str) -> None:
    """The same on a terminal, once what forkmon itself writes to one is taken away."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "forkmon", *commands(run)[kind]],
        stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
        env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        shown += part
    os.close(master)
    assert process.wait(timeout=60) in (0, 1)
    assert obeyed(OURS.sub("\n", shown.decode("utf-8"))) == set()
    assert b"u{1b}" in shown
