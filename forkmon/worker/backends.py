"""Choose the engine, and import the heavy libraries only when there is something to analyse."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkmon import config

if TYPE_CHECKING:
    from forkmon.engines.local import LocalEngine

KERNEL_VERSION = "2"
"""Changes when the same bytes may give other numbers: series of two versions are marked."""


@dataclass(frozen=True, slots=True)
class Device:
    """Where statistics are computed, and why there."""

    name: str
    why: str


def choose_device() -> Device:
    """Return the CPU, with the reason in a few words."""
    if Path("/dev/nvidiactl").exists():
        return Device("cpu", "the GPU is left to the trainer")
    return Device("cpu", "no CUDA device")


def open_engine(*, threads: int = 0) -> LocalEngine:
    """Return the local engine; kernels compile on first use, cached under the XDG cache."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(config.cache_home() / "numba"))
    from forkmon.engines.local import LocalEngine
    from forkmon.kernels.cpu import CpuKernel

    return LocalEngine(CpuKernel(), threads=threads or None)
