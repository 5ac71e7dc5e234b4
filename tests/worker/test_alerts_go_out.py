"""From a checkpoint on disk to the user's command: the whole way, in a real recorder."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from forkmon.cli import main
from forkmon.engines.local import LocalEngine
from forkmon.kernels.cpu import CpuKernel
from forkmon.runs.poll import Poller
from forkmon.store.writer import Writer
from forkmon.worker.devices import Device
from forkmon.worker.outward import Outward, Targets
from forkmon.worker.session import Session

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


def test_a_stall_is_told_once_and_never_stored(tmp_path: Path) -> None:
    """A live run that goes quiet is told to the command; a run that had ended before is not."""
    run, log = tmp_path / "run", tmp_path / "log"
    run.mkdir()
    began = 1_700_000_000.0
    for step in range(5):
        path = run / f"step_{step}.safetensors"
        save_file({"w": np.full(8, step, np.float32)}, path)
        os.utime(path, (began + 60 * step, began + 60 * step))
    now = [began + 30]
    told: list[str] = []
    command = (sys.executable, "-c", RECORD, str(log))
    with Writer.open(tmp_path / "s.db", run=run, name="run", kernel="t") as writer:
        out = Outward(Targets(command), str(run), told.append)
        session = Session(
            run,
            writer,
            Poller(run, interval=0.01, settle=0.01),
            engine=lambda: LocalEngine(CpuKernel(), threads=1),
            device=Device("cpu", "a test"),
            notify=lambda _: None,
            outward=out,
            wall=lambda: now[0],
        )
        session.look()
        while session.analyse_next():
            pass
        now[0] = began + 60 * 4 + 1000
        assert not session.analyse_next()
        assert not session.analyse_next()
        out.close()
        assert all(alert.kind != "STALLED" for alert in writer.reader().alerts())
    bodies = [json.loads(line)[1] for line in log.read_text().splitlines()]
    kinds = [alert["kind"] for body in bodies for alert in body["alerts"]]
    assert kinds.count("STALLED") == 1
    assert told == []
