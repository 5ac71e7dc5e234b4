"""`forkmon probe`: what it prints for a run, for one checkpoint, and for what goes wrong."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from forkmon.commands import probe, probe_views
from forkmon.errors import CheckpointError, UsageError
from forkmon.probes.protocol import PROBES

from .conftest import Land

Floats = NDArray[np.float32]
Ask = Callable[..., tuple[int, str]]


def weights(scale: float, name: str = "up") -> dict[str, Floats]:
    """Return two blocks of one matrix."""
    rng = np.random.default_rng(0)
    return {
        f"model.layers.{block}.mlp.{name}_proj.weight": (
            scale * rng.standard_normal((64, 48))
        ).astype(np.float32)
        for block in range(2)
    }


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Return what runs the command and gives its exit code and its stdout."""

    def run(name: str, path: Path, **options: Any) -> tuple[int, str]:
        given = {"json": False, "last": None, "set": None, "reference": None, "timeout": None,
                 "memory": None, "ascii": True, **options}  # fmt: skip
        code = probe.run(argparse.Namespace(name=name, path=path, **given))
        return code, capsys.readouterr().out

    return run


def test_a_run_is_a_table_over_steps(ask: Ask, run: Path, land: Land) -> None:
    """Every step has a line; E is 0 at the reference, which is the earliest step or the named."""
    for step in (1, 10, 100):
        land(step, weights(0.1 * (1 + np.log10(step))))
    code, out = ask("neuromfa", run)
    assert code == 0
    lines = out.splitlines()
    assert "E against step 1" in out
    rows = [line.split() for line in lines if line.split()[0] in ("1", "10", "100")]
    assert [row[0] for row in rows] == ["1", "10", "100"]
    assert float(rows[0][5]) == 0.0
    assert float(rows[2][5]) > float(rows[1][5]) > 0
    code, out = ask("neuromfa", run, json=True, reference=10, last=2)
    told = json.loads(out)
    assert (told["schema"], told["probe"], told["reference"]) == (1, "neuromfa", 10)
    assert [row["step"] for row in told["checkpoints"]] == [10, 100]
    assert told["checkpoints"][0]["emergence"]["value"] == 0.0
    assert told["checkpoints"][1]["emergence"]["value"] > 0.0
    assert told["parameters"]["s"] == 32


@pytest.mark.parametrize("name", PROBES)
def test_one_checkpoint_is_a_panel(name: str, ask: Ask, land: Land) -> None:
    """Text is plain ASCII without escapes where asked for; JSON has the same checkpoint."""
    ref = land(7, weights(0.1))
    code, out = ask(name, ref.path)
    assert code == 0
    assert out.isascii()
    assert "\x1b" not in out
    assert "1 checkpoint" in out
    told = json.loads(ask(name, ref.path, json=True)[1])
    (row,) = told["checkpoints"]
    assert (row["step"], row["status"]) == (7, "complete")
    assert row["bytes_read"] > 0
    assert row["result"]


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_has_a_view(name: str, ask: Ask, run: Path, land: Land) -> None:
    """A table over steps for each."""
    for step in (1, 2):
        land(step, weights(0.1 * step))
    assert probe_views.view(name)
    code, out = ask(name, run)
    assert code == 0
    assert "2 checkpoints" in out


def test_robust_radii_come_from_the_reference(ask: Ask, run: Path, land: Land) -> None:
    """The others are measured with the radii that the reference chose for itself."""
    for step in (1, 2):
        land(step, weights(0.1 * step))
    told = json.loads(ask("neuromfa", run, json=True, set=["mode=robust"], reference=2)[1])
    first, second = told["checkpoints"]
    assert second["parameters"]["first_radius"] == 0.0
    assert first["parameters"]["first_radius"] == second["result"]["first_radius"]
    assert first["result"]["first_radius"] == second["result"]["first_radius"]


def test_a_bad_checkpoint_does_not_hide_the_good(ask: Ask, run: Path, land: Land) -> None:
    """Its reason stands below the table and in JSON; nothing good at all is exit code 1."""
    land(1, {"bias": np.ones(4, np.float32)})
    code, out = ask("neuromfa", run)
    assert code == 1
    assert "it looks for" in out
    land(2, weights(0.1))
    (run / "step_3.safetensors").write_bytes(b"\xff" * 300)
    code, out = ask("neuromfa", run)
    assert code == 0
    assert "it looks for" in out
    told = json.loads(ask("neuromfa", run, json=True)[1])
    assert [row["status"] for row in told["checkpoints"]][:2] == ["failed", "complete"]
    assert told["checkpoints"][0]["why"] == "declined"


def test_limits_are_told(ask: Ask, land: Land) -> None:
    """Out of time: a line that says so, and exit code 1."""
    ref = land(1, weights(0.1))
    code, out = ask("neuromfa", ref.path, timeout=1e-9)
    assert code == 1
    assert "the limit" in out


def test_hostile_names_reach_no_terminal(ask: Ask, land: Land) -> None:
    """Escape sequences in a tensor's name are shown, not obeyed."""
    ref = land(1, weights(0.1, "\x1b[31mup"))
    for name in ("pruning", "spectrum"):
        code, out = ask(name, ref.path)
        assert code == 0
        assert "\x1b" not in out
        assert name == "spectrum" or "u{1b}" in out  # there the middle of names is cut


def test_what_cannot_be_is_said(ask: Ask, run: Path, land: Land) -> None:
    """No checkpoint, no such step, no such probe, no such parameter, no time."""
    with pytest.raises(CheckpointError, match="empty"):
        ask("neuromfa", run)
    land(1, weights(0.1))
    with pytest.raises(UsageError, match="--reference 5"):
        ask("neuromfa", run, reference=5)
    with pytest.raises(UsageError, match="no probe"):
        ask("astrology", run)
    with pytest.raises(UsageError, match="no parameter"):
        ask("pruning", run, set=["s=1"])
    with pytest.raises(UsageError, match="timeout"):
        ask("pruning", run, timeout=0.0)
