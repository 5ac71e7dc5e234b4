"""The one error tree; every message names the offending thing and the next action.

ForkmonError                      exit code 1
├── UsageError                    exit code 2: the command line or a setting is wrong
├── CheckpointError               one checkpoint cannot be used; the others go on
│   ├── FormatError               its bytes are not what its format promises (final)
│   ├── IncompleteError           it is still being written (try again later)
│   ├── TornError                 it changed while it was read (read again)
│   ├── VanishedError             it was rotated away (keep history, forget the file)
│   └── AccessError               the operating system refuses to read it
├── StoreError                    the store cannot be used
│   ├── StoreLockedError          another forkmon is its writer
│   └── StoreNewerError           a newer forkmon wrote it
├── DeviceFullError               the GPU has no room; the CPU goes on
├── DeviceLostError               the GPU broke under us: this process must be replaced
└── GridMismatchError             two Codes of different grids were joined (a bug of ours)
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes that scripts depend on."""

    OK = 0
    RUNTIME = 1
    USAGE = 2
    ALERTS = 3
    INTERRUPTED = 130
    TERMINATED = 143


class ForkmonError(Exception):
    """Root of every error forkmon raises on purpose."""

    exit_code: Exit = Exit.RUNTIME


class UsageError(ForkmonError):
    """The command line or a setting is wrong."""

    exit_code = Exit.USAGE


class CheckpointError(ForkmonError):
    """One checkpoint cannot be used; the others go on."""


class FormatError(CheckpointError):
    """A file's bytes are not what its format promises; reading it again will not help."""


class IncompleteError(CheckpointError):
    """A file is still being written; it is looked at again on the next poll."""


class TornError(CheckpointError):
    """A file changed while it was read; what was read is dropped and read again."""


class VanishedError(CheckpointError):
    """A file was deleted or rotated away while or before it was read."""


class AccessError(CheckpointError):
    """The operating system refuses to read a file."""


class StoreError(ForkmonError):
    """The store cannot be used."""


class StoreLockedError(StoreError):
    """Another forkmon is the writer of this store."""


class StoreNewerError(StoreError):
    """A newer forkmon wrote this store; this one must not touch it."""


class DeviceFullError(ForkmonError):
    """The device has no room for even a small chunk; the CPU goes on."""


class DeviceLostError(ForkmonError):
    """The device's context is broken for ever: this process must be replaced.

    A CUDA context that met an illegal address or a lost device answers every later call with the
    same error. Nothing that it computed since is to be trusted, so nothing is tried again here.
    """


class GridMismatchError(ForkmonError):
    """Two summaries on different code grids were joined."""
