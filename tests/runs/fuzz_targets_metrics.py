"""What a fuzzer calls with bytes: the readers of logs, which must only ever return or give up."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from forkmon.runs import tfevents
from forkmon.runs.metrics import Logs
from forkmon.runs.metrics_curves import MOST


def event_body(data: bytes) -> None:
    """Parse a record whose checksum is right, so that the bytes reach the parser."""
    found = tfevents.scalars(data, tfevents.masked(data))
    assert not isinstance(found, tfevents.Broken)


def event_file(data: bytes) -> None:
    """Read an event file; what comes out are finite numbers in step order."""
    _log("events.out.tfevents.1.host", data)


def framed_events(data: bytes) -> None:
    """Read an event file whose frames are right and whose bodies are anything."""
    _log("events.out.tfevents.1.host", b"".join(map(frame, data.split(b"\xff\xfe"))))


def table(data: bytes) -> None:
    """Read a CSV log."""
    _log("metrics.csv", data)


def headed_table(data: bytes) -> None:
    """Read a CSV log with a good header."""
    _log("metrics.csv", b"step,loss,lr\n" + data)


def json_lines(data: bytes) -> None:
    """Read a log of JSON lines."""
    _log("metrics.jsonl", b'{"step": 1, "loss": 2}\n' + data)


def state_file(data: bytes) -> None:
    """Read a trainer_state.json."""
    _log("trainer_state.json", data)


TARGETS: tuple[Callable[[bytes], None], ...] = (
    event_body, event_file, framed_events, table, headed_table, json_lines, state_file,
)  # fmt: skip


def frame(body: bytes) -> bytes:
    """Return a body as a record of an event file."""
    head = struct.pack("<Q", len(body))
    sums = struct.pack("<I", tfevents.masked(head)), struct.pack("<I", tfevents.masked(body))
    return head + sums[0] + body + sums[1]


def _log(name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=_memory()) as directory:
        (Path(directory) / name).write_bytes(data)
        for points in Logs(Path(directory)).curves(None).values():
            assert len(points) <= MOST + 1
            assert all(a[0] < b[0] for a, b in pairwise(points))
            assert all(0 <= step < 10**18 and abs(value) < float("inf") for step, value in points)


def _memory() -> str | None:
    return "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108
