"""The command line as scripts see it: arguments in, exit code, stdout and stderr out."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from forkmon.cli import main

LONG_AGO = 1_700_000_000
"""A modification time, so old that nothing needs to settle."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Return stdout as the one JSON object it must be."""
        parsed = json.loads(self.out, parse_constant=_not_json)
        assert isinstance(parsed, dict)
        return parsed

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return stdout as JSON lines."""
        return [json.loads(line, parse_constant=_not_json) for line in self.out.splitlines()]


def _not_json(word: str) -> object:
    raise AssertionError(f"{word} is not JSON")


Call = Callable[..., Answer]
Weights = dict[str, NDArray[Any]]
Land = Callable[..., Path]


def weights(step: int) -> Weights:
    """Return a small model's weights at a step."""
    rng = np.random.default_rng(step)
    return {
        "h.0.attn.weight": (rng.standard_normal((16, 16)) * 0.02).astype(np.float32),
        "h.0.attn.bias": np.full(16, 1 + step, np.float32),
        "h.1.mlp.weight": (rng.standard_normal((16, 64)) * 0.02).astype(np.float16),
        "h.1.scale": np.array(step + rng.standard_normal(), np.float64),
    }


@pytest.fixture(scope="session")
def numba_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where compiled kernels stay for all tests of a session."""
    path = tmp_path_factory.getbasetemp() / "numba"
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture
def forkmon(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, numba_cache: Path
) -> Iterator[Call]:
    """Return what runs a command line in this process."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(numba_cache))
    monkeypatch.setenv("FORKMON_SETTLE", "0.2")
    before = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
        out, err = capsys.readouterr()
        return Answer(int(code), out, err)

    yield call
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return an empty run directory."""
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def land() -> Land:
    """Return what writes a checkpoint that settled long ago: `land(run, step, content)`."""

    def write(run: Path, step: int, content: Weights | None = None) -> Path:
        path = run / f"step_{step}.safetensors"
        save_file(weights(step) if content is None else content, path)
        os.utime(path, (LONG_AGO + step, LONG_AGO + step))
        return path

    return write
