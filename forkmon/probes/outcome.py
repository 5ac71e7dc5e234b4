"""What becomes of a probe on one checkpoint, and the words in which it is told and stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from forkmon.probes.encoding import Json, decode, encode
from forkmon.runs.refs import CheckpointRef, Completeness, FilePrint, Fingerprint

SCHEMA: Final = 1
"""Of records and lines; keys are added, never removed or renamed."""

Why = Literal["declined", "unreadable", "memory", "time", "cancelled", "died"]
"""Declined: nothing to measure there. Died: the process ended without a word."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a probe may use."""

    seconds: float = 3600.0
    """For each checkpoint."""
    memory_mb: int = 8192
    """Address space of its process."""
    nice: int = 10


@dataclass(frozen=True, slots=True)
class Moved:
    """A probe got on: part done of the checkpoint at a place in the job, and what comes next."""

    place: int
    share: float
    what: str


@dataclass(frozen=True, slots=True)
class Done:
    """A result, with all that makes it comparable later."""

    place: int
    probe: str
    version: int
    parameters: Json
    path: str
    step: int
    digest: str
    """Of the checkpoint's files, as they settled."""
    seconds: float
    bytes_read: int
    result: Json


@dataclass(frozen=True, slots=True)
class Failed:
    """No result, and why."""

    place: int
    probe: str
    path: str
    step: int
    why: Why
    reason: str


Event = Moved | Done | Failed
Outcome = Done | Failed

_KINDS: Final[dict[str, type[Event]]] = {"moved": Moved, "done": Done, "failed": Failed}


@dataclass(frozen=True, slots=True)
class Job:
    """One probe on some checkpoints, in order."""

    probe: str
    parameters: Json
    checkpoints: tuple[CheckpointRef, ...]
    root: Path | None = None
    """The run's directory, where config.json may lie."""


def to_json(event: Event) -> Json:
    """Return an event as an object of JSON."""
    kind = next(name for name, known in _KINDS.items() if isinstance(event, known))
    if isinstance(event, Done):
        own = {name: getattr(event, name) for name in Done.__slots__}
        return {"schema": SCHEMA, "event": kind, **own}
    return {"schema": SCHEMA, "event": kind, **encode(event)}


def from_json(line: object) -> Event:
    """Return the event that `to_json` wrote; ValueError for anything else."""
    if not isinstance(line, dict):
        raise ValueError("an event is an object of JSON")  # noqa: TRY004 -- it is data
    given = cast("Json", line)
    kind = _KINDS.get(str(given.get("event")))
    if kind is None:
        raise ValueError("an event of no known kind")
    if kind is not Done:
        return decode(kind, given)
    try:
        return Done(**{name: given[name] for name in Done.__slots__})  # type: ignore[arg-type]  # our own words
    except KeyError as error:
        raise ValueError(f"done: {error} is missing") from None


@dataclass(frozen=True, slots=True)
class _Print:
    name: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Ref:
    """A checkpoint as a line holds it; surrogate escapes keep names that are no UTF-8."""

    path: str
    step: int
    format: str
    files: tuple[str, ...]
    prints: tuple[_Print, ...]
    complete: Completeness
    epoch: float | None


def ref_to_json(ref: CheckpointRef) -> Json:
    """Return a checkpoint's reference as an object of JSON."""
    prints = tuple(
        _Print(p.name, (p.device, p.inode, p.size, p.mtime_ns, p.ctime_ns))
        for p in ref.fingerprint.files
    )
    files = tuple(map(str, ref.files))
    flat = _Ref(str(ref.path), ref.step, ref.format, files, prints, ref.complete, ref.epoch)
    return encode(flat)


def ref_from_json(given: object) -> CheckpointRef:
    """Return the reference that `ref_to_json` wrote; ValueError for anything else."""
    flat = decode(_Ref, given)
    prints = tuple(FilePrint(p.name, *p.numbers) for p in flat.prints)
    return CheckpointRef(
        Path(flat.path),
        flat.step,
        flat.format,
        tuple(map(Path, flat.files)),
        Fingerprint(prints),
        flat.complete,
        flat.epoch,
    )
