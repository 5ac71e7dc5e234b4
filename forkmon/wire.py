"""The words between the UI process and the worker: one JSON object a line, notices only.

Messages say *that* something happened; the store says *what*. A line never exceeds `MAX_LINE`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

EX_CONFIG = 78
"""The worker's exit code for what a restart cannot mend (sysexits.h)."""

EX_DEVICE_LOST = 79
"""The worker's exit code when its GPU broke under it: the next one computes on the CPU."""

MAX_LINE = 32_768
"""Longest line in bytes; asyncio's reader refuses 64 KiB."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The worker is up: where it stores, on what it computes and why."""

    pid: int
    version: str
    store: str
    device: str
    """`cpu` or `cuda:0`."""
    why: str
    """Why that device, in a few words."""
    viewer: str = ""
    """Empty for the writer; else who holds the store, and this worker waits to take over."""


@dataclass(frozen=True, slots=True)
class Polled:
    """One look at the run directory changed what is known about it."""

    queued: int
    waiting: int
    ignored: int
    note: str = ""
    """What the run directory is missing, or what it waits for; empty when all is well."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A checkpoint is being analysed."""

    step: int
    done: int
    total: int
    """Tensors done and to do."""
    seconds_left: float | None = None
    note: str = ""
    """For instance `compiling once`."""
    share: float = 0.0
    """Part of the bytes that is done, from 0 to 1."""
    rate: float | None = None
    """Bytes a second."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint was promoted (or rows were added or alerts changed): look at the store."""

    step: int
    alerts: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """A checkpoint could not be analysed; the reason is in the store too."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Log:
    """Something a person may want to know."""

    text: str


@dataclass(frozen=True, slots=True)
class Bye:
    """The worker ends on purpose."""

    reason: str


Event = Hello | Polled | Progress | Stored | Failed | Log | Bye


@dataclass(frozen=True, slots=True)
class Rescan:
    """Look again now, and retry what failed."""


@dataclass(frozen=True, slots=True)
class Focus:
    """The tensor under the cursor: analyse it first in the next checkpoint."""

    tensor: str
    """Its name, `role:name` where the role is not the model's."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish the current small transaction and exit."""


Command = Rescan | Focus | Stop

_KINDS: dict[str, type[Any]] = {
    kind.__name__.lower(): kind
    for kind in (Hello, Polled, Progress, Stored, Failed, Log, Bye, Rescan, Focus, Stop)
}


def encode(message: Event | Command) -> bytes:
    """Return the message as one line of JSON, text fields cut so that it fits `MAX_LINE`."""
    body = {k: v[:4000] if isinstance(v, str) else v for k, v in asdict(message).items()}
    line = json.dumps({"e": type(message).__name__.lower(), **body}, ensure_ascii=True)
    return line.encode("ascii") + b"\n"


def decode(line: bytes) -> Event | Command:
    """Return the message of one line; ValueError says what is wrong with a line that is none."""
    parsed: object = json.loads(line)
    if not isinstance(parsed, dict):
        raise ValueError("a message is a JSON object")  # noqa: TRY004 -- bad data, not a bad call
    body = cast("dict[str, object]", parsed)
    kind = _KINDS.get(str(body.pop("e", "")))
    if kind is None:
        raise ValueError("a message of no known kind")
    known = {f.name for f in fields(kind)}
    try:
        message: Event | Command = kind(**{k: v for k, v in body.items() if k in known})
    except TypeError as error:
        raise ValueError(f"a message with missing fields: {error}") from None
    return message
