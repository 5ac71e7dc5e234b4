"""A directory of runs is told from a run by names alone, and only then looked into."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from forkmon.commands.watch import runs_in


@pytest.fixture
def runs(tmp_path: Path, sample_runs: Path) -> Path:
    """Return a directory of two runs, something else beside them."""
    root = tmp_path / "experiments"
    for name in ("first", "second"):
        shutil.copytree(sample_runs / "diverged", root / name)
    (root / "notes").mkdir()
    (root / "README.md").write_text("")
    return root


def test_the_runs_of_a_directory_are_found(runs: Path) -> None:
    """Directories that hold checkpoints are runs; others are not."""
    assert [run.name for run in runs_in(runs)] == ["first", "second"]


@pytest.mark.parametrize("name", ["checkpoint-12", "step_3.safetensors", "model.pt", "0000100"])
def test_a_run_is_no_directory_of_runs(runs: Path, name: str) -> None:
    """A checkpoint in the directory itself makes it a run."""
    (runs / name).mkdir()
    assert runs_in(runs) == ()


def test_one_run_and_no_directory_need_no_list(runs: Path, tmp_path: Path) -> None:
    """One run is opened as it is; a file and a missing path are others' affair."""
    shutil.rmtree(runs / "second")
    assert runs_in(runs) == ()
    assert runs_in(runs / "README.md") == ()
    assert runs_in(tmp_path / "nowhere") == ()
