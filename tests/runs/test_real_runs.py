"""Runs that the frameworks themselves wrote: each checkpoint is found, of its step, no other."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from forkmon.runs.filesystem import FileSystem
from forkmon.runs.poll import Poller

FIXTURES = Path(__file__).parents[1] / "fixtures"
RUNS = sorted(path.parent.name for path in FIXTURES.glob("*/expected.json"))
LOCAL = FileSystem("ext4", network=False)
NOW = 1_800_000_000.0


def expected(name: str) -> dict[str, Any]:
    """Return what was noted of a run when it was made."""
    noted: dict[str, Any] = json.loads((FIXTURES / name / "expected.json").read_text("utf-8"))
    return noted


def copied(name: str, target: Path) -> Path:
    """Return a copy of a run whose files have the ages they had in it."""
    run = target / "run"
    shutil.copytree(FIXTURES / name / "run", run, symlinks=True)
    ages: dict[str, float | str] = expected(name)["files"]
    for file, age in ages.items():
        if isinstance(age, str):  # a second name of another file
            (run / file).unlink(missing_ok=True)
            (run / file).hardlink_to(run / age)
        elif not (run / file).is_symlink():
            os.utime(run / file, (NOW - 1000 - age, NOW - 1000 - age))
    return run


@pytest.mark.parametrize("name", RUNS)
def test_what_a_framework_wrote_is_found(name: str, tmp_path: Path) -> None:
    """Path, format, step and epoch of each checkpoint are those that its framework means."""
    run = copied(name, tmp_path)
    checkpoints = expected(name)["checkpoints"]
    poller = Poller(
        run, interval=2, settle=5, clock=lambda: 0.0, wall=lambda: NOW, file_system=LOCAL
    )
    sight = poller.poll()
    found = {
        ref.path.relative_to(run).as_posix(): (ref.format, ref.step, ref.epoch)
        for ref in sight.ready
    }
    assert found == {one["path"]: (one["format"], one["step"], one["epoch"]) for one in checkpoints}
    assert not sight.waiting
    assert not sight.broken
    ignored = {one.path.relative_to(run).as_posix() for one in sight.ignored}
    assert {alias for one in checkpoints for alias in one["aliases"]} <= ignored
