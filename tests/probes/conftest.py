"""Checkpoints for probes: written long ago, so that they are settled."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from forkmon.commands.probe_found import checkpoints
from forkmon.formats.reading import OpenFiles
from forkmon.probes.protocol import Subject
from forkmon.runs.refs import CheckpointRef

LONG_AGO = 1_700_000_000
Weights = Mapping[str, NDArray[Any]]
Land = Callable[[int, Weights], CheckpointRef]
Measure = Callable[[CheckpointRef, Callable[[Subject], Any]], Any]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return an empty run directory."""
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def land(run: Path) -> Land:
    """Return what writes a checkpoint of a step and gives its reference."""

    def write(step: int, weights: Weights) -> CheckpointRef:
        path = run / f"step_{step}.safetensors"
        save_file({name: np.ascontiguousarray(w) for name, w in weights.items()}, path)
        os.utime(path, (LONG_AGO + step, LONG_AGO + step))
        return checkpoints(path).ready[0]

    return write


@pytest.fixture
def opened() -> Measure:
    """Return what opens a checkpoint for a function of its subject."""

    def measure(ref: CheckpointRef, function: Callable[[Subject], Any]) -> Any:
        with OpenFiles(ref) as files:
            return function(Subject(ref, files))

    return measure
