"""Alerts and verdicts on the sample runs, by the command that people use, against their logs."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forkmon.cli import main

Report = dict[str, Any]
Scan = Callable[[Path], Report]


@pytest.fixture(scope="module")
def scanned() -> dict[Path, Report]:
    """Return the reports so far: a run is scanned once."""
    return {}


@pytest.fixture
def scan(scanned: dict[Path, Report], capsys: pytest.CaptureFixture[str]) -> Scan:
    """Return `forkmon scan RUN --json`."""

    def report(run: Path) -> Report:
        if run not in scanned:
            assert main(["scan", str(run), "--no-store", "--json", "--device", "cpu"]) == 0
            scanned[run] = json.loads(capsys.readouterr().out)
        return scanned[run]

    return report


def of_kind(report: Report, *kinds: str) -> list[dict[str, Any]]:
    """Return the alerts of some kinds."""
    return [alert for alert in report["alerts"] if alert["kind"] in kinds]


def log(run: Path, name: str) -> dict[int, float]:
    """Return a logged figure by step."""
    rows = json.loads((run / "trainer_state.json").read_text("utf-8"))["log_history"]
    return {row["step"]: row[name] for row in rows if name in row}


def test_the_first_step_of_adam_forks_every_vector(scan: Scan, sample_runs: Path) -> None:
    """20 of 22 vectors are two heaps at step 1 and one again by step 8; nothing else is told."""
    report = scan(sample_runs / "tiny-lm")
    assert Counter(a["kind"] for a in report["alerts"]) == {"INIT_SPLIT": 20, "MERGE": 20}
    begun = of_kind(report, "INIT_SPLIT")
    assert {(a["onset"], a["step"], a["severity"]) for a in begun} == {(1, 1, "info")}
    assert not [a for a in begun if a["tensor"].endswith("k.bias")]
    closed = of_kind(report, "MERGE")
    assert {a["tensor"] for a in closed} == {a["tensor"] for a in begun}
    assert max(a["onset"] for a in closed) <= 8
    assert {a["severity"] for a in closed} == {"info"}


def test_a_model_that_learns_is_healthy(scan: Scan, sample_runs: Path) -> None:
    """Its held-out loss falls to the end, and the verdict says no other."""
    assert scan(sample_runs / "tiny-lm")["verdict"] == {"state": "healthy", "reasons": ["no alert"]}


def test_grokking_is_flagged_as_it_happens(scan: Scan, sample_runs: Path) -> None:
    """One event of the whole run within two checkpoints of the fall of the test loss."""
    run = sample_runs / "grokking"
    report = scan(run)
    losses = log(run, "test_loss")
    worst = max(losses.values())
    fallen = min(s for s, v in losses.items() if s > 1000 and v < worst / 2)
    steps = [c["step"] for c in report["checkpoints"]]
    (event,) = of_kind(report, "GLOBAL")
    near = min(range(len(steps)), key=lambda i: abs(steps[i] - fallen))
    assert abs(steps.index(event["step"]) - near) <= 2


def test_no_storm_goes_before_the_transition(scan: Scan, sample_runs: Path) -> None:
    """In the 46 checkpoints before it, less than one warning a tensor, and the real fork of q."""
    report = scan(sample_runs / "grokking")
    before = [a for a in report["alerts"] if a["severity"] != "info" and a["step"] < 1341]
    tensors = len(report["checkpoints"][0]["tensors"])
    assert len(before) < tensors
    splits = {a["tensor"]: a["onset"] for a in before if a["kind"] == "SPLIT"}
    assert 48 <= splits["blocks.0.attn.q.weight"] <= 64
    assert 784 <= splits["blocks.0.attn.v.weight"] <= 937


def test_a_model_that_has_generalised_is_not_ill(scan: Scan, sample_runs: Path) -> None:
    """The test loss stays low at the end: healthy or converged, with its events as reasons."""
    run = sample_runs / "grokking"
    assert log(run, "test_loss")[3000] < 0.01
    verdict = scan(run)["verdict"]
    assert verdict["state"] in {"healthy", "converged"}
    assert 1 <= len(verdict["reasons"]) <= 3


def test_divergence_is_told_before_the_first_nan(
    scan: Scan, sample_runs: Path, tmp_path: Path
) -> None:
    """With the checkpoints up to step 15, all finite, the run is diverging; from NaN on too."""
    finite = tmp_path / "diverged"
    for directory in (sample_runs / "diverged").glob("checkpoint-*"):
        if int(directory.name.partition("-")[2]) <= 15:
            shutil.copytree(directory, finite / directory.name)
    early = scan(finite)
    assert not of_kind(early, "NONFINITE")
    assert early["verdict"]["state"] == "diverging"
    whole = scan(sample_runs / "diverged")
    assert whole["verdict"]["state"] == "diverging"
    assert "NaN" in whole["verdict"]["reasons"][0]
    assert min(a["step"] for a in of_kind(whole, "NONFINITE")) == 16
    assert min(a["step"] for a in of_kind(whole, "RUNAWAY")) == 1
    assert not of_kind(whole, "PROVENANCE", "TWIN")
