"""Write a sample run into a directory checkpoint by checkpoint, in a trainer's order of files."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from forkmon.runs.poll import Poller
from forkmon.runs.refs import CheckpointRef

AT_ONCE = 3
"""Checkpoints that are there from the start, so that the first screen is not empty."""

MARKER = "trainer_state.json"


class Replay:
    """Copies a run's checkpoints in step order, one every few seconds, in a thread of its own."""

    def __init__(self, source: Path, target: Path, *, every: float) -> None:
        self.checkpoints = checkpoints(source)
        self._source = source
        self._target = target
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)

    def start(self) -> None:
        """Begin; returns when the first checkpoints are there."""
        for ref in self.checkpoints[:AT_ONCE]:
            land(ref, self._source, self._target)
        self._thread.start()

    def stop(self) -> None:
        """End before the next checkpoint."""
        self._stop.set()
        self._thread.join()

    @property
    def ended(self) -> bool:
        """Return whether every checkpoint has landed (or the replay was stopped)."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        for ref in self.checkpoints[AT_ONCE:]:
            if self._stop.wait(self._every):
                return
            land(ref, self._source, self._target)


def checkpoints(source: Path) -> Sequence[CheckpointRef]:
    """Return the checkpoints of a finished run in step order."""
    poller = Poller(source, interval=0.0, settle=0.0)
    ready = {ref.path: ref for _ in range(2) for ref in poller.poll().ready}
    return sorted(ready.values(), key=lambda ref: ref.step)


def land(ref: CheckpointRef, source: Path, target: Path) -> None:
    """Copy one checkpoint: weights first, the completion marker last; the log up to its step."""
    if ref.path.is_file():
        partial = target / f".tmp{ref.path.name}"
        shutil.copyfile(ref.path, partial)
        partial.rename(target / ref.path.name)
        _log_so_far(source / MARKER, target / MARKER, ref.step)
        return
    directory = target / ref.path.name
    directory.mkdir()
    files = [path for path in ref.path.iterdir() if path.is_file()]
    for path in sorted(files, key=lambda path: (path.name == MARKER, path.name)):
        shutil.copyfile(path, directory / path.name)


def _log_so_far(source: Path, target: Path, step: int) -> None:
    if not source.is_file():
        return
    state = json.loads(source.read_text("utf-8"))
    state["log_history"] = [row for row in state["log_history"] if row.get("step", 0) <= step]
    state["global_step"] = step
    partial = target.with_name(f".tmp{target.name}")
    partial.write_text(json.dumps(state), "utf-8")
    partial.rename(target)
