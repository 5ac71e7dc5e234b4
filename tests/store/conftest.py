"""What the store's tests build: checkpoints with numbers, and real processes that write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forkmon.stats.reduced import Reduced
from forkmon.stats.row import StatRow
from forkmon.store.values import Candidate, TensorKey
from forkmon.store.writer import Writer

Rows = list[tuple[TensorKey, StatRow, Reduced | None]]


def _candidate(step: int, **changes: object) -> Candidate:
    candidate: dict[str, object] = {
        "segment": 0,
        "generation": 0,
        "parent_segment": None,
        "step": step,
        "version": 0,
        "path": f"/run/checkpoint-{step}",
        "format": "safetensors",
        "digest": f"d{step}",
        "content_digest": f"c{step}",
        "bytes": 1000 + step,
        "mtime": 1.5 + step,
        "epoch": None,
        "device": "cpu",
    }
    return {**candidate, **changes}  # type: ignore[typeddict-item]


def _row(value: float) -> StatRow:
    quantiles = tuple(value + i for i in range(9))
    return StatRow(
        100, value, 1.0, 0.0, None, value - 1, value + 1, 2.0, 3.0, 4, 0, 0, quantiles, 5, 1
    )


def _rows(step: int, count: int = 3) -> Rows:
    rows: Rows = [(TensorKey("", "block"), _row(step), None)]
    for i in range(count):
        key = TensorKey(f"h.{i}.weight", "tensor", dtype="bf16", shape=(4, 5))
        rows.append((key, _row(step + i), Reduced(0.0, (-3, step + 1), (7, 9))))
    return rows


@pytest.fixture
def candidate() -> Callable[..., Candidate]:
    """Return a maker of candidates: `candidate(step, segment=1, ...)`."""
    return _candidate


@pytest.fixture
def rows() -> Callable[..., Rows]:
    """Return a maker of the rows of a step: one block and some tensors."""
    return _rows


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return where a store may be made."""
    return tmp_path / "state" / "run.db"


@pytest.fixture
def open_writer(store: Path) -> Callable[[], Writer]:
    """Return a maker of writers of the store."""
    return lambda: Writer.open(store, run=Path("/run"), name="run", kernel="k1")


@pytest.fixture
def writer(open_writer: Callable[[], Writer]) -> Iterator[Writer]:
    """Return an open writer of a new store."""
    with open_writer() as writer:
        yield writer


@pytest.fixture
def put() -> Callable[..., int]:
    """Return a function that stores a whole checkpoint and returns its id."""

    def stored(writer: Writer, step: int, count: int = 3, **changes: object) -> int:
        attempt = writer.begin(**_candidate(step, **changes))
        writer.add(attempt, _rows(step, count))
        writer.promote(attempt, seconds=0.5)
        return attempt

    return stored


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a starter of Python processes; all are gone after the test."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
