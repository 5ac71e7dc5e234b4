"""Where to compute: decided before anything heavy is imported."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.util import find_spec

from forkmon.worker import devices
from forkmon.worker.devices import CAP_BYTES, Device, Seen
from forkmon.worker.nvml import Lookout, survey

KERNEL_VERSION = "3"
"""Changes when the same bytes may give other numbers: series of two versions are marked."""


def choose_device(setting: str = "auto", *, why: str = "") -> Device:
    """Return where to compute; UsageError if the setting cannot be followed.

    `why` replaces the reason of a worker that was started on the CPU because its GPU was lost.
    """
    found = devices.choose_device(setting, _seen() if setting != "cpu" else Seen(), cap=CAP_BYTES)
    if found.name == "cpu" and not _numba_is_there():
        found = replace(found, why=f"{found.why}; numba is not installed: torch counts, slower")
    return replace(found, why=why) if why else found


def _numba_is_there() -> bool:
    """Return whether numba is installed, without importing it."""
    try:
        return find_spec("numba") is not None
    except ValueError:  # somebody put it out of reach in sys.modules
        return False


@cache
def _seen() -> Seen:
    """Return what one look at the start shows: a command chooses once."""
    return survey(Lookout())
