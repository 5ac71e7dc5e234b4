"""Pickles read without executing anything: no callable is ever called, no module imported."""

from __future__ import annotations

from collections.abc import Callable

from forkmon.errors import FormatError
from forkmon.formats.pickle_machine import EndedEarlyError, run
from forkmon.formats.pickle_state import Machine
from forkmon.formats.pickle_tensors import storage_of
from forkmon.formats.pickle_values import (
    Distributed,
    Leaf,
    Opaque,
    Storage,
    Stub,
    TorchTensor,
)

__all__ = [
    "PICKLE_CAP", "Distributed", "EndedEarlyError", "Leaf", "Opaque", "Storage", "Stub",
    "TorchTensor", "load", "load_from",
]  # fmt: skip

PICKLE_CAP = 128 << 20
"""Longest pickle read, in bytes."""


def load(raw: bytes, what: str, persistent: Callable[[object], object] | None = None) -> object:
    """Return what a pickle holds, as plain values, tensors' places and stubs.

    `persistent` turns an id into what it stands for; without it torch's storages are. `what` names
    the pickle in an error, already safe. Raises FormatError for nonsense.
    """
    return load_from(raw, 0, what, persistent)[0]


def load_from(
    raw: bytes, start: int, what: str, persistent: Callable[[object], object] | None = None
) -> tuple[object, int]:
    """Return what the pickle that begins at `start` holds, and where it ends."""
    if len(raw) > PICKLE_CAP:
        raise FormatError(f"{what}: a pickle of {len(raw):,} bytes is not read")
    return run(Machine(raw, start, persistent or storage_of, what))
