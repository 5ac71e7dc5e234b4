"""A run directory, a clock and a wall that a test moves by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from forkmon.runs.filesystem import FileSystem
from forkmon.runs.poll import Poller, Sight

SETTLE = 5.0
LOCAL = FileSystem("ext4", network=False)
NOW = 1_800_000_000.0
WEIGHTS = {"w": torch.arange(1.0, 9.0)}


@dataclass
class Run:
    """A run directory, its poller and the time in which both live."""

    root: Path
    now: float = NOW
    ticks: float = 0.0
    poller: Poller = field(init=False)

    def __post_init__(self) -> None:
        self.poller = self.new_poller(self.root)

    def new_poller(
        self,
        root: Path,
        *,
        roles: frozenset[str] = frozenset({"model"}),
        file_system: FileSystem = LOCAL,
    ) -> Poller:
        return Poller(
            root,
            interval=2.0,
            settle=SETTLE,
            roles=roles,
            clock=lambda: self.ticks,
            wall=lambda: self.now,
            file_system=file_system,
        )

    def poll(self, after: float = 0.0) -> Sight:
        """Look again after so many seconds."""
        self.now += after
        self.ticks += after
        return self.poller.poll()

    def steps(self, after: float = 0.0) -> list[int]:
        return [ref.step for ref in self.poll(after).ready]

    def touch(self, path: Path, age: float = 0.0) -> Path:
        """Let a file have been written `age` seconds ago."""
        ns = int((self.now - age) * 1e9)
        os.utime(path, ns=(ns, ns))
        return path

    def write(self, path: Path, data: bytes, age: float = 0.0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.touch(path, age)

    def weights(
        self, name: str, *, age: float = 0.0, value: float = 1.0, step: int | None = None
    ) -> Path:
        """Write a small safetensors file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = None if step is None else {"step": str(step)}
        save_file({"w": np.full(8, value, np.float32)}, path, metadata=metadata)
        return self.touch(path, age)

    def torch(self, name: str, content: object = None, *, age: float = 0.0) -> Path:
        """Save what a trainer saves with torch: a few weights unless `content` says otherwise."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(WEIGHTS if content is None else content, path)
        return self.touch(path, age)

    def ready(self, after: float = 0.0) -> dict[str, tuple[int, str]]:
        """Look, and return step and format of what is ready by its path in the run."""
        return {
            str(ref.path.relative_to(self.root)): (ref.step, ref.format)
            for ref in self.poll(after).ready
        }

    def trainer(self, name: str, *, age: float = 0.0, marked: bool = True) -> Path:
        """Write a Trainer's checkpoint directory."""
        self.weights(f"{name}/model.safetensors", age=age)
        if marked:
            state = {"global_step": 77, "epoch": 1.5, "log_history": []}
            self.write(self.root / name / "trainer_state.json", json.dumps(state).encode(), age)
        return self.root / name


def counted(patch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that grows with every path whose status is asked for from now on."""
    calls: list[Path] = []
    lstat, stat = Path.lstat, Path.stat

    def counting_lstat(self: Path) -> os.stat_result:
        calls.append(self)
        return lstat(self)

    def counting_stat(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        calls.append(self)
        return stat(self, follow_symlinks=follow_symlinks)

    patch.setattr(Path, "lstat", counting_lstat)
    patch.setattr(Path, "stat", counting_stat)
    return calls


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return an empty run directory with its poller."""
    root = tmp_path / "run"
    root.mkdir()
    return Run(root)


@pytest.fixture
def make_run() -> Callable[[Path], Run]:
    """Return a maker of runs on any path, existing or not."""
    return Run
