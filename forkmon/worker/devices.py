"""The policy of devices: which one statistics are computed on, and when it is handed back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from forkmon.errors import UsageError
from forkmon.text import safe

CAP_BYTES: Final = 512 << 20
"""GPU memory that forkmon takes at most, its context not counted."""

ROOM_BYTES: Final = 2 << 30
"""Free device memory beyond our cap that `auto` asks for: a trainer's next step needs it."""

CONTEXT_BYTES: Final = 1 << 30
"""Free device memory beyond our cap that `cuda` asks for: the context of a process."""

UNEXPLAINED_BYTES: Final = 2 << 30
"""Memory in use without a visible process from which a process in another container is assumed."""

NO_DEVICE: Final = "no CUDA device"


@dataclass(frozen=True, slots=True)
class Device:
    """Where statistics are computed, and why there."""

    name: str
    why: str
    asked: bool = False
    """Whether the user named it: then it is not handed back when another process appears."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process on a GPU; never one of ours."""

    pid: int
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.pid}".strip()


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as NVML numbers it."""

    index: int
    uuid: str
    name: str
    total: int
    free: int
    processes: tuple[Process, ...] = ()
    compute_mode: str = "default"
    """`default`, or who may open it: `exclusive-thread`, `prohibited`, `exclusive-process`."""
    split: bool = False
    """Whether it is cut into MIG instances."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to know before a device is touched."""

    gpus: tuple[Gpu, ...] = ()
    trouble: str = ""
    """Why NVML could not tell."""
    visible: str | None = None
    """CUDA_VISIBLE_DEVICES."""
    torch_cuda: bool = True
    mps: bool = False
    """Whether a Multi-Process Service runs: what opens a device joins the trainer's context."""


def choose_device(setting: str, seen: Seen, *, cap: int) -> Device:
    """Return where to compute; UsageError if the setting cannot be followed.

    `auto` takes the first GPU that nobody uses; `cuda` and `cuda:N` mean it, within a byte cap.
    """
    if setting == "cpu":
        return Device("cpu", "asked for", asked=True)
    asked = re.fullmatch(r"cuda(?::(\d{1,3}))?", setting)
    if setting != "auto" and asked is None:
        raise UsageError(f"--device {safe(setting)}: use auto, cpu, cuda or cuda:N")
    shut = _shut(seen)
    if asked is None:
        return _auto(seen, shut, cap)
    if shut and not (seen.trouble and seen.torch_cuda and seen.trouble != NO_DEVICE):
        raise UsageError(f"--device {setting}: {shut}; use --device cpu")
    return _asked(seen, int(asked[1] or 0), setting, cap)


def lets_go(device: Device, seen: Seen) -> str:
    """Return why a GPU that `auto` took must be handed back now, or an empty string."""
    if device.asked or not device.name.startswith("cuda"):
        return ""
    if seen.trouble:
        return seen.trouble
    ordinal = int(device.name.partition(":")[2] or 0)
    gpus = visible(seen)
    gpu = gpus[ordinal] if ordinal < len(gpus) else None
    if gpu is None:
        return f"{device.name} is no longer there"
    return _busy(gpu)


def visible(seen: Seen) -> tuple[Gpu | None, ...]:
    """Return the GPUs in CUDA's numbering; None stands for a MIG instance.

    As CUDA does, stop at the first entry that names nothing.
    """
    if seen.visible is None:
        return seen.gpus
    found: list[Gpu | None] = []
    for entry in filter(None, (e.strip() for e in seen.visible.split(","))):
        if entry.startswith("MIG-"):
            found.append(None)
            continue
        gpu = next((g for g in seen.gpus if _named(entry, g)), None)
        if gpu is None:
            break
        found.append(gpu)
    return tuple(found)


def ours(before: Seen, after: Seen, pid: int) -> frozenset[int]:
    """Return the process numbers that NVML shows for this process, which opened a GPU in between.

    In a container NVML shows numbers of the host; then the one process that appeared is ours.
    """
    first = {p.pid for gpu in before.gpus for p in gpu.processes}
    new = {p.pid for gpu in after.gpus for p in gpu.processes} - first
    if pid in new or len(new) != 1:
        return frozenset({pid})
    return frozenset({pid, *new})


def _named(entry: str, gpu: Gpu) -> bool:
    if entry.isascii() and entry.isdigit():
        return int(entry) == gpu.index
    return entry.startswith("GPU-") and gpu.uuid.startswith(entry)


def _shut(seen: Seen) -> str:
    """Return why no GPU can be opened at all."""
    if seen.trouble:
        return seen.trouble
    if not seen.gpus:
        return NO_DEVICE
    if not seen.torch_cuda:
        return "torch without CUDA"
    return "" if visible(seen) else "CUDA_VISIBLE_DEVICES hides every GPU"


def _auto(seen: Seen, shut: str, cap: int) -> Device:
    if shut:
        return Device("cpu", shut)
    if seen.mps:
        return Device("cpu", "an MPS server runs; joining it could stop the trainer")
    reasons: list[str] = []
    for ordinal, gpu in enumerate(visible(seen)):
        if gpu is None:
            reasons.append("a MIG instance is taken only when asked for")
        elif reason := _busy(gpu) or _short(gpu, cap + ROOM_BYTES):
            reasons.append(reason)
        else:
            why = f"GPU {gpu.index} ({gpu.name}) is idle, {_gib(gpu.free)} free"
            return Device(f"cuda:{ordinal}", why)
    more = f", nor is any of {len(reasons) - 1} more free" if len(reasons) > 1 else ""
    return Device("cpu", reasons[0] + more)


def _asked(seen: Seen, ordinal: int, setting: str, cap: int) -> Device:
    name, why = f"cuda:{ordinal}", "asked for"
    if seen.trouble:
        return Device(name, f"asked for; {seen.trouble}", asked=True)
    gpus = list(visible(seen))
    if ordinal >= len(gpus):
        raise UsageError(f"--device {setting}: there are only {len(gpus)} GPUs, from cuda:0 on")
    gpu = gpus[ordinal]
    if gpu is not None:
        reason = _short(gpu, cap + CONTEXT_BYTES)
        if gpu.compute_mode == "prohibited" or (gpu.compute_mode != "default" and gpu.processes):
            reason = f"GPU {gpu.index} is in {gpu.compute_mode} mode"
        if reason:
            raise UsageError(f"--device {setting}: {reason}; use --device cpu")
    if seen.mps:
        why += "; the MPS server is not joined"
    return Device(name, why, asked=True)


def _busy(gpu: Gpu) -> str:
    """Return why a GPU is somebody else's, or an empty string."""
    which = f"GPU {gpu.index}"
    if gpu.processes:
        first, *others = gpu.processes
        return f"{which} is busy: {first}" + (f" and {len(others)} more" if others else "")
    if gpu.compute_mode != "default":
        return f"{which} is in {gpu.compute_mode} mode"
    if gpu.split:
        return f"{which} is split into MIG instances"
    if gpu.total - gpu.free > UNEXPLAINED_BYTES:
        return f"{which} is busy: {_gib(gpu.total - gpu.free)} in use by a process out of sight"
    return ""


def _short(gpu: Gpu, needed: int) -> str:
    if gpu.free >= needed:
        return ""
    return f"GPU {gpu.index} has {_gib(gpu.free)} free of the {_gib(needed)} needed"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
