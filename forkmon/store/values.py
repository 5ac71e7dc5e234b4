"""What a store holds, as values: what the writer takes and the reader returns."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Literal, TypedDict, cast

Kind = Literal["tensor", "block"]
Status = Literal["attempt", "complete", "partial", "failed"]


@dataclass(frozen=True, slots=True)
class TensorKey:
    """What a row of numbers belongs to: a tensor, or a block (named "" for the whole model)."""

    name: str
    kind: Kind
    role: str = "model"
    dtype: str = ""
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """What tells a tensor at one step apart from itself at any other."""

    digest: int | None
    """64-bit content hash, unsigned; None where it is unknown."""
    sketch: bytes | None
    """The stored form of a `stats.sketch.Sketch`."""
    channels: bytes | None
    """The stored form of `stats.channels.Channels`; None for vectors."""
    modality: bytes | None = None
    """The stored form of its views' `stats.modality.Modality`; None where it was not measured."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A stored tensor or block; `dtype` and `shape` are those of the checkpoint asked about."""

    id: int
    name: str
    kind: Kind
    role: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """One checkpoint as the store knows it."""

    id: int
    segment: int
    generation: int
    step: int
    version: int
    path: str
    format: str
    status: Status
    reason: str | None
    bytes: int
    seconds: float
    """How long its analysis took."""
    seen_at: float
    """When its analysis began, in seconds since the epoch by our clock."""
    mtime: float
    """When its newest file was written, in seconds since the epoch by the file server's clock."""
    epoch: float | None
    device: str
    skipped: int
    tensors: int
    present: bool = True
    """Whether its files are still on disk."""


Timeline = tuple[CheckpointRow, ...]
"""The checkpoints of one lineage, oldest first."""


class Candidate(TypedDict):
    """The keyword arguments of `Writer.begin` and `Writer.fail`: a checkpoint and its place."""

    segment: int
    generation: int
    parent_segment: int | None
    step: int
    version: int
    path: str | os.PathLike[str]
    format: str
    digest: str
    content_digest: str
    bytes: int
    mtime: float
    epoch: float | None
    device: str


@dataclass(frozen=True, slots=True)
class KnownCheckpoint:
    """A checkpoint that need not be read again while its files' digest stays the same."""

    row: CheckpointRow
    digest: str
    content_digest: str
    parent_segment: int | None = None


@dataclass(frozen=True, slots=True)
class LeftAttempt:
    """An attempt whose worker died, and the tensor it died on (None where that is unknown)."""

    row: CheckpointRow
    digest: str
    working_on: str | None


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What the store as a whole says about itself."""

    path: str
    name: str
    created: float
    schema: int
    kernel: str


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A tensor that a checkpoint holds but that was not analysed, and why."""

    name: str
    dtype: str
    reason: str


@dataclass(frozen=True, slots=True)
class IgnoredRow:
    """A thing in the run directory that is no checkpoint, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A tensor at which a worker died: by what, how often, in the file of that digest."""

    path: str
    digest: str
    tensor: str
    signal: str
    """For instance `SIGSEGV`; empty where nobody saw it."""
    deaths: int
    reason: str


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """What the run as a whole is called, and why."""

    state: str
    reasons: tuple[str, ...]

    def encode(self) -> str:
        """Return the stored form."""
        return json.dumps([self.state, *self.reasons])


def decode_verdict(text: str) -> StoredVerdict | None:
    """Return what `StoredVerdict.encode` stored; None for anything else."""
    try:
        parts: object = json.loads(text)
    except ValueError:
        return None
    if not isinstance(parts, list) or not parts:
        return None
    words = [word for word in cast("list[object]", parts) if isinstance(word, str)]
    return StoredVerdict(words[0], tuple(words[1:])) if words else None
