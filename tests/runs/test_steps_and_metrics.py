"""Steps from names and side files; the trainer's numbers from its log."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.runs.metrics import Logs
from forkmon.runs.steps import Named, from_name, from_state, is_alias


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("checkpoint-500", Named(500)),
        ("checkpoint_500", Named(500)),
        ("step100.safetensors", Named(100)),
        ("step-00000100", Named(100)),
        ("run1_step_100.safetensors", Named(100)),
        ("stage1-step500-tokens4B", Named(500)),
        ("global_step100", Named(100)),
        ("iter_0000100", Named(100)),
        ("epoch_3", Named(3, 3.0, "epoch")),
        ("epoch=3-step=100.safetensors", Named(100, 3.0)),
        ("ep3-ba100", Named(100, 3.0)),
        ("checkpoint-epoch7", Named(7, 7.0, "epoch")),
        ("STEP_9", Named(9)),
        ("1000", Named(1000)),
        ("model_000100.safetensors", Named(100, unit="number")),
        ("checkpoint_2_1500.pt", Named(1500, 2.0)),
        ("checkpoint3.pt", Named(3, unit="number")),
        ("checkpoint-3.pth.tar", Named(3, unit="number")),
        ("model_0004999.pth", Named(4999, unit="number")),
        ("epoch=3-step=100-v1.ckpt", Named(100, 3.0)),
        ("ep3-ba100-rank0.pt", Named(100, 3.0)),
        ("state_step000100.pt", Named(100)),
        ("gpt--val_loss=2.31-step=500-consumed_samples=8000-last", Named(500)),
        ("best_coco_bbox_mAP_epoch_3.pth", Named(3, 3.0, "epoch")),
        ("hpc_ckpt_3.ckpt", Named(3, unit="number")),
        ("step1000-unsharded", Named(1000)),
        ("model.safetensors", None),
        ("latest", None),
        ("timestep", None),
        ("footstep12x", None),
        ("step_" + "9" * 40, None),
        ("step_٣", None),
        ("", None),
    ],
)
def test_steps_are_read_from_names(name: str, named: Named | None) -> None:
    """The usual names give their step, others none."""
    assert from_name(name) == named


@given(st.text(max_size=40))
def test_any_name_has_a_step_that_fits_a_store_or_none(name: str) -> None:
    """No name raises, and no step exceeds 63 bits."""
    named = from_name(name)
    assert named is None or 0 <= named.step < 2**63
    is_alias(name)


@pytest.mark.parametrize(
    ("name", "alias"),
    [("latest", True), ("best.safetensors", True), ("model_final", True), ("fastest", False)],
)
def test_aliases_are_known_by_name(name: str, alias: bool) -> None:
    """latest, last, best and final are words, not parts of words."""
    assert is_alias(name) is alias


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b'{"global_step": 12, "epoch": 1.5}', Named(12, 1.5)),
        (b'{"global_step": 12, "epoch": NaN}', Named(12)),
        (b'{"global_step": true}', None),
        (b'{"global_step": -1}', None),
        (b'{"global_step": 1.5}', None),
        (b"[1]", None),
        (b"{", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_the_state_file_gives_step_and_epoch_or_nothing(
    tmp_path: Path, raw: bytes, named: Named | None
) -> None:
    """A broken side file is as good as none."""
    (tmp_path / "trainer_state.json").write_bytes(raw)
    assert from_state(tmp_path) == named


def test_metrics_are_the_finite_numbers_of_the_newer_log(tmp_path: Path) -> None:
    """Curves come in step order; words, booleans and non-finite values are left out."""
    log = [
        {"step": 20, "loss": 2.0, "note": "x", "flag": True, "grad_norm": float("nan")},
        {"step": 10, "loss": 3, "eval_loss": 3.5, "huge": 10**400},
        {"step": "30", "loss": 1.0},
        {"loss": 1.0},
        "nonsense",
        {"step": 20, "loss": 1.5},
    ]
    newest = tmp_path / "checkpoint-20"
    newest.mkdir()
    (newest / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    assert Logs(tmp_path).curves(newest) == {
        "loss": [(10, 3.0), (20, 1.5)],
        "eval_loss": [(10, 3.5)],
    }
    root = tmp_path / "trainer_state.json"
    root.write_text(json.dumps({"log_history": [{"step": 1, "loss": 9.0}]}))
    os.utime(root, (1, 1))
    assert len(Logs(tmp_path).curves(newest)["loss"]) == 2
    assert Logs(tmp_path).curves(None) == {"loss": [(1, 9.0)]}
    assert Logs(tmp_path / "none").curves(None) == {}


def test_a_fifo_in_place_of_the_log_does_not_hang(tmp_path: Path) -> None:
    """Side files are opened like weights: never blocking."""
    os.mkfifo(tmp_path / "trainer_state.json")
    assert Logs(tmp_path).curves(None) == {}
