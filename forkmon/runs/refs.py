"""What a checkpoint on disk is: values that the poller hands to the worker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Completeness = Literal["marker", "heuristic"]


@dataclass(frozen=True, slots=True)
class FilePrint:
    """One file as `stat` saw it; two equal prints mean: the same file, untouched."""

    name: str
    """Path relative to the checkpoint (the file's own name for a single-file checkpoint)."""
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Every file a checkpoint's numbers come from, in name order."""

    files: tuple[FilePrint, ...]

    @property
    def digest(self) -> str:
        """Return 32 hex digits that change when any file's name, size, inode or times change."""
        text = "\n".join(
            f"{f.name}\0{f.device}\0{f.inode}\0{f.size}\0{f.mtime_ns}\0{f.ctime_ns}"
            for f in self.files
        )
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    @property
    def content_digest(self) -> str:
        """Return a digest of names, sizes and modification times only: it survives a move."""
        text = "\n".join(f"{f.name}\0{f.size}\0{f.mtime_ns}" for f in self.files)
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    @property
    def bytes(self) -> int:
        """Return the size of all files together, in bytes."""
        return sum(f.size for f in self.files)

    @property
    def mtime_ns(self) -> int:
        """Return the newest modification time, in nanoseconds since the epoch."""
        return max((f.mtime_ns for f in self.files), default=0)


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """A checkpoint that has settled and may be read."""

    path: Path
    """The directory, or the file itself for a single-file checkpoint."""
    step: int
    format: str
    """A name of `reading.READERS`."""
    files: tuple[Path, ...]
    """The files that are read, in name order; for a directory format its metadata too."""
    fingerprint: Fingerprint
    complete: Completeness
    epoch: float | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A candidate that is not ready, and what it waits for."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A thing in the run directory that is no checkpoint, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A candidate that will never be readable as it is now, and why."""

    path: Path
    step: int | None
    reason: str
    fingerprint: Fingerprint
