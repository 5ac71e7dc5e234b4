"""Stay out of the trainer's way: last in every queue, first to be killed when memory is short."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

IOPRIO_WHO_PROCESS = 1
IOPRIO_IDLE_CLASS = 3 << 13
OOM_SCORE_ADJ = 900

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
"""Numbers of the ioprio_set system call (Linux, syscall tables); libc has no wrapper."""


def be_polite() -> None:
    """Take the lowest CPU, disk and memory priority; what the system refuses is left as it is."""
    with suppress(OSError):
        os.nice(19)
    if sys.platform != "linux":
        return
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    _idle_disk_class()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(f"{OOM_SCORE_ADJ}\n", "ascii")
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _idle_disk_class() -> None:
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE_CLASS)
