"""How long an unchanged scan takes beside an interpreter that does nothing; never gates on time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from safetensors.numpy import save_file

TENSORS, STEPS, TIMES = 50, 20, 5


def timed(*argv: str) -> tuple[float, str]:
    """Return the median seconds of a few runs of a program, and its last stdout."""
    seconds: list[float] = []
    for _ in range(TIMES):
        began = time.perf_counter()
        out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        seconds.append(time.perf_counter() - began)
    return median(seconds), out


def test_an_unchanged_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second answer is the first one, and comes from the store."""
    rng = np.random.default_rng(0)
    for step in range(STEPS):
        weights = {f"h.{i}.weight": rng.standard_normal(256, np.float32) for i in range(TENSORS)}
        path = tmp_path / f"step_{step}.safetensors"
        save_file(weights, path)
        os.utime(path, (1_700_000_000 + step, 1_700_000_000 + step))
    scan = (sys.executable, "-m", "forkmon", "scan", str(tmp_path), "--json")
    first = json.loads(subprocess.run(scan, capture_output=True, text=True, check=True).stdout)
    nothing, _ = timed(sys.executable, "-c", "pass")
    seconds, out = timed(*scan)
    assert json.loads(out) == first
    assert sum(len(c["tensors"]) for c in first["checkpoints"]) == TENSORS * STEPS
    with capsys.disabled():
        sys.stdout.write(
            f"\nunchanged scan, {TENSORS * STEPS:,} tensor-steps: {seconds:.2f} s, "
            f"{seconds / nothing:.0f} times `python -c pass` ({nothing * 1000:.0f} ms)\n"
        )
