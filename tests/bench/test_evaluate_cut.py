"""A cut of the evaluation: forks are found, healthy tensors are left alone, the file resumes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Records = list[dict[str, Any]]
Evaluate = Callable[..., tuple[Records, str]]

HERE = Path(__file__).resolve().parent
NULLS = ("stationary", "root growth", "norm gains", "cadence change", "skew growth")


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    """Return a caller of the command that gives its records and what it printed."""

    def call(*arguments: object) -> tuple[Records, str]:
        out = tmp_path / "results.jsonl"
        done = subprocess.run(
            [sys.executable, str(HERE / "evaluate.py"), "--out", str(out), *map(str, arguments)],
            capture_output=True, text=True, check=True, timeout=110,
            env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
        )  # fmt: skip
        return [json.loads(line) for line in out.read_text("utf-8").splitlines()], done.stdout

    return call


def worlds(*names: str) -> list[str]:
    """Return the arguments that choose worlds."""
    return ["--worlds", *names, "--others", "0", "--healthy", "0"]


def kinds(record: dict[str, Any]) -> set[str]:
    """Return the kinds of alerts of a run."""
    return {alert[0] for alert in record["alerts"]}


def test_healthy_tensors_raise_no_split_and_no_regime(evaluate: Evaluate) -> None:
    """Five lives of each null, the rounded ones in bf16 and fp16: no false alarm at all."""
    records, table = evaluate(*worlds(*NULLS), "--runs", 5)
    assert {(r["world"], r["dtype"]) for r in records} >= {
        ("norm gains", "bf16"), ("norm gains", "f16"), ("root growth", "bf16"),
    }  # fmt: skip
    assert [r for r in records if kinds(r) & {"SPLIT", "REGIME"}] == []
    assert "| norm gains | 2048 | bf16 | default | 5 | 0 (0.00 % to 52.18 %) |" in table


@pytest.mark.parametrize(
    ("world", "within"),
    [
        ("pitchfork", 14), ("20/80 to 6 sd", 14), ("exact zeros to 50 %", 2),
        ("scale jump 20 %", 2), ("1 outlier row of 64", 2), ("Adam's first step", 0),
    ],
)  # fmt: skip
def test_what_happens_is_found_soon(world: str, within: int, evaluate: Evaluate) -> None:
    """Every one of four lives, the median within so many checkpoints of the truth."""
    records, _ = evaluate(*worlds(world), "--forks", 4)
    delays = []
    for record in records:
        found = [at - record["truth"] for kind, _, at in record["alerts"] if kind == record["kind"]]
        assert found, record
        delays.append(min(found))
    assert sorted(delays)[len(delays) // 2] <= within


def test_a_stopped_evaluation_goes_on(evaluate: Evaluate) -> None:
    """What is in the file is not computed again; a torn last line is."""
    first, _ = evaluate(*worlds("stationary"), "--runs", 2)
    more, _ = evaluate(*worlds("stationary"), "--runs", 3)
    assert more[:2] == first
    assert [r["seed"] for r in more] == [0, 1, 2]


def test_other_methods_are_compared_at_equal_debounce(evaluate: Evaluate) -> None:
    """Areas under the curve and delays of ours and theirs, and PELT beside REGIME."""
    pytest.importorskip("ruptures")
    arguments = ["--worlds", "stationary", "50/50 to 4 sd", "--healthy", "0"]
    _, table = evaluate(*arguments, "--runs", 3, "--forks", 2, "--others", 2, "--n", 512)
    assert "| world | n | forkmon | dip, dithered | diptest | GMM-BIC |" in table
    assert "| 50/50 to 4 sd | 512 | 1.000, 1.00, " in table
    assert "| stationary | 0.00 |" in table
