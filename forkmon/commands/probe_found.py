"""Which checkpoints a probe is run on: the one named, or the settled ones of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forkmon.errors import CheckpointError
from forkmon.runs.poll import Poller
from forkmon.runs.refs import Broken, CheckpointRef
from forkmon.text import safe

PATIENCE_SECONDS = 3.0
"""How long checkpoints that are not settled yet are waited for."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is there, in step order."""

    ready: tuple[CheckpointRef, ...]
    broken: tuple[Broken, ...]


def checkpoints(
    path: Path,
    last: int | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Found:
    """Return the settled checkpoints at `path`, the `last` newest of them; raise if none is."""
    poller = Poller(path, interval=0.1, settle=0.2)
    deadline = clock() + PATIENCE_SECONDS
    ready: dict[Path, CheckpointRef] = {}
    broken: dict[Path, Broken] = {}
    while True:
        sight = poller.poll()
        ready.update((ref.path, ref) for ref in sight.ready)
        broken.update((item.path, item) for item in sight.broken)
        if not sight.waiting or clock() > deadline:
            break
        sleep(0.1)
    if not ready:
        reasons = [item.reason for item in broken.values()]
        reasons += [item.reason for item in sight.waiting]
        reasons += [item.reason for item in sight.ignored]
        reason = next(iter(reasons), sight.note or "no checkpoint is there")
        raise CheckpointError(f"{safe(path)}: {safe(reason)}")
    ordered = sorted(ready.values(), key=lambda ref: ref.step)
    return Found(tuple(ordered if last is None else ordered[-last:]), tuple(broken.values()))
