"""From a checkpoint on disk to the user's command: the whole way, in a real recorder."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from forkmon.cli import main

RECORD = """
import json, sys
with open(sys.argv[1], "a") as log:
    log.write(json.dumps([sys.argv[2:], json.load(sys.stdin)]) + "\\n")
"""


def test_scan_tells_the_command_of_a_nan_once(tmp_path: Path) -> None:
    """A NaN reaches the command with its tensor and step; a second scan has nothing new to tell."""
    run, log, store = tmp_path / "run", tmp_path / "log", tmp_path / "s.db"
    run.mkdir()
    save_file({"w": np.ones(8, np.float32)}, run / "step_1.safetensors")
    save_file({"w": np.full(8, np.nan, np.float32)}, run / "step_2.safetensors")
    command = shlex.join([sys.executable, "-c", RECORD, str(log)])
    arguments = ["scan", str(run), "--store", str(store), "--settle", ".1", "--on-alert", command]
    assert main(arguments) == 0
    assert main(arguments) == 0
    (line,) = log.read_text().splitlines()
    told, body = json.loads(line)
    assert "kind=NONFINITE" in told
    assert "tensor=w" in told
    assert body["run"] == str(run.resolve())
    assert [(a["kind"], a["onset"]) for a in body["alerts"]] == [("NONFINITE", 2)]


def test_a_command_that_cannot_be_split_is_a_usage_error(tmp_path: Path) -> None:
    """An open quote is said before anything is read."""
    assert main(["scan", str(tmp_path), "--on-alert", "echo 'x"]) == 2
