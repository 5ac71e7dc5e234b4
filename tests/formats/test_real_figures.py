"""The figures of real checkpoints, from the command line: those that their frameworks give."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from forkmon.cli import main

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
AGE = 1000.0
CASES = (
    "hf_trainer", "hf_bin_sharded", "lightning_ema", "dcp_mesh", "fsdp1_local", "fsdp2_per_rank",
    "dcp_safetensors", "nanotron", "ultralytics", "torch_kinds", "torch_legacy", "gguf", "npz",
)  # fmt: skip
WRAPPERS = re.compile(r"^(?:model|_orig_mod|module)\.")
NOT_MEASURED = re.compile(r"num_batches_tracked$|^view\.(?:tied|expanded)$|^empty$")
"""Counters, second names of a tensor, and what has no elements of its own."""


def scanned(case: str, into: Path, capsys: pytest.CaptureFixture[str]) -> dict[int, dict[str, Any]]:
    """Return the tensors that `forkmon scan` measures, by step and name."""
    run = into / "run"
    shutil.copytree(FIXTURES / case / "run", run, symlinks=True)
    old = time.time() - AGE
    for path in run.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (old, old))
    capsys.readouterr()
    assert main(["scan", str(run), "--json", "--device", "cpu"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["checkpoints"]
    return {one["step"]: {t["name"]: t for t in one["tensors"]} for one in found}


@pytest.mark.parametrize("case", CASES)
def test_means_and_deviations_are_the_frameworks(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the directory to the figures: every weight's mean and standard deviation."""
    expected: dict[str, Any] = json.loads((FIXTURES / case / "expected.json").read_text("utf-8"))
    found = scanned(case, tmp_path, capsys)
    compared = 0
    for checkpoint in expected["checkpoints"]:
        measured = found[checkpoint["step"]]
        for name, (_, _, _, mean, std) in checkpoint["tensors"]["model"].items():
            if NOT_MEASURED.search(name):
                continue
            tensor = measured.get(name) or measured[WRAPPERS.sub("", name)]
            assert tensor["mean"] == pytest.approx(mean, rel=1e-9, abs=1e-12)
            assert tensor["std"] == pytest.approx(std, rel=1e-7, abs=1e-12)
            compared += 1
    assert compared
