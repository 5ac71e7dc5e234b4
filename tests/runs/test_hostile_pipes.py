"""Pipes that somebody writes into, under every name that is looked at beside weights."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from forkmon.runs.filesystem import FileSystem
from forkmon.runs.metrics import Logs
from forkmon.runs.poll import Poller
from forkmon.runs.steps import read_state

NAMES = (
    "trainer_state.json", "config.json", "metrics.csv", "metrics.jsonl", "meta.pt",
    "events.out.tfevents.1.host", "optimizer.pt", "latest", "checkpoint_metadata.json",
    "random_states_0.pkl", "latest_checkpointed_iteration.txt",
)  # fmt: skip
SAID = b'{"global_step": 9, "step": 9, "last_train_step": 9}\n' * 100


@pytest.fixture(params=[SAID, b""], ids=["full", "silent"])
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Yield a run whose side files are pipes with a writer that stays."""
    inner = tmp_path / "final"
    inner.mkdir()
    save_file({"w": torch.ones(4)}, inner / "model.safetensors")
    with ExitStack() as stack:
        for place in (tmp_path, inner):
            for name in NAMES:
                os.mkfifo(place / name)
                fd = os.open(place / name, os.O_RDWR | os.O_NONBLOCK)
                stack.callback(os.close, fd)
                os.write(fd, request.param)
        os.mkfifo(inner / "model.safetensors.index.json")
        yield tmp_path


def test_nothing_is_taken_from_a_pipe(run: Path) -> None:
    """The step that a pipe tells is none, no log is read from one, and nobody waits for it."""
    where = FileSystem("ext4", network=False)
    poller = Poller(
        run, interval=2, settle=5, clock=lambda: 0.0, wall=lambda: 4e9, file_system=where
    )
    sight = poller.poll()
    assert [ref.step for ref in sight.ready] == [0]
    assert read_state(run / "trainer_state.json") == {}
    assert Logs(run).curves(run / "final") == {}
    for place in (run, run / "final"):
        assert all(stat.S_ISFIFO((place / name).stat().st_mode) for name in NAMES)
