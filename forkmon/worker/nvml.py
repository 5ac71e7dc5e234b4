"""Who is on the GPUs, asked of NVML in a thread of its own: a hung driver never answers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeAlias

from forkmon.text import safe
from forkmon.worker.devices import NO_DEVICE, Gpu, Process, Seen

Nvml: TypeAlias = Any
"""The library, and whatever it hands out: it carries no types."""

SECONDS: Final = 2.0
"""How long NVML may take."""

DRIVER_FILES: Final = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""One of them is there where a driver is (the second on WSL); else NVML need not be loaded."""

MPS_DIRECTORY: Final = Path("/tmp/nvidia-mps")  # noqa: S108 -- where NVIDIA's daemon puts it
MPS_NAME: Final = "nvidia-cuda-mps"
"""Begins the names of the Multi-Process Service's processes, as /proc shortens them."""

COMPUTE_MODES: Final = ("default", "exclusive-thread", "prohibited", "exclusive-process")
"""By NVML's number."""

_LISTS: Final = (
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses",
    "nvmlDeviceGetMPSComputeRunningProcesses",
)

_TORCH_CUDA = re.compile(r"^(?:cuda|hip)\b[^=\n]*= *['\"]", re.MULTILINE)


@dataclass(slots=True)
class Lookout:
    """Looks at the GPUs; while one look hangs, no other is begun."""

    library: Callable[[], Nvml] = lambda: import_module("pynvml")
    seconds: float = SECONDS
    mine: frozenset[int] = field(default_factory=lambda: frozenset({os.getpid()}))
    """Processes that are not others: this one, and the numbers it has outside its container."""
    _hung: Thread | None = None

    def look(self) -> Seen:
        """Return the GPUs, or why NVML could not tell."""
        if self._hung is not None and self._hung.is_alive():
            return self._late()
        answer: list[Seen] = []

        def ask() -> None:
            answer.append(_ask(self.library, self.mine))

        thread = Thread(target=ask, name="forkmon-nvml", daemon=True)
        thread.start()
        thread.join(self.seconds)
        if not answer:
            self._hung = thread
            return self._late()
        return answer[0]

    def _late(self) -> Seen:
        return Seen(trouble=f"NVML did not answer in {self.seconds:g} s")


def survey(lookout: Lookout, environment: Mapping[str, str] = os.environ) -> Seen:
    """Return all that the policy needs to know."""
    if not any(path.exists() for path in DRIVER_FILES):
        return Seen(trouble=NO_DEVICE)
    seen = lookout.look()
    return replace(
        seen,
        visible=environment.get("CUDA_VISIBLE_DEVICES"),
        torch_cuda=torch_has_cuda(),
        mps=mps_runs(environment),
    )


def torch_has_cuda() -> bool:
    """Return whether the installed torch was built for GPUs, without importing it (seconds)."""
    with suppress(ImportError, ValueError, OSError):
        spec = find_spec("torch")
        if spec is not None and spec.origin:
            text = Path(spec.origin).with_name("version.py").read_text("utf-8")
            return bool(_TORCH_CUDA.search(text))
    return False


def mps_runs(
    environment: Mapping[str, str], directory: Path = MPS_DIRECTORY, proc: Path = Path("/proc")
) -> bool:
    """Return whether a Multi-Process Service runs that a new CUDA process would join."""
    told = environment.get("CUDA_MPS_PIPE_DIRECTORY", "") not in ("", os.devnull)
    if told or (directory / "control").exists():
        return True
    for comm in proc.glob("[0-9]*/comm"):
        with suppress(OSError):  # processes end while we look
            if comm.read_bytes().startswith(MPS_NAME.encode()):
                return True
    return False


def _ask(library: Callable[[], Nvml], mine: frozenset[int]) -> Seen:
    try:
        nvml = library()
    except Exception as error:  # noqa: BLE001 -- a broken install must not stop a monitor
        return Seen(trouble=f"nvidia-ml-py cannot be imported: {safe(error, 200)}")
    try:
        nvml.nvmlInit()
        try:
            count = int(nvml.nvmlDeviceGetCount())
            return Seen(tuple(_gpu(nvml, index, mine) for index in range(count)))
        finally:
            nvml.nvmlShutdown()
    except nvml.NVMLError as error:
        missing = ("NVMLError_LibraryNotFound", "NVMLError_DriverNotLoaded")
        if type(error).__name__ in missing:
            return Seen(trouble=NO_DEVICE)
        return Seen(trouble=f"NVML: {safe(error, 200)}")
    except Exception as error:  # noqa: BLE001 -- of another version's library, say
        return Seen(trouble=f"NVML cannot be read: {safe(error, 200)}")


def _gpu(nvml: Nvml, index: int, mine: frozenset[int]) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    mode = int(_or_none(nvml, "nvmlDeviceGetComputeMode", handle) or 0)
    mig = _or_none(nvml, "nvmlDeviceGetMigMode", handle)
    return Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=safe(_text(nvml.nvmlDeviceGetName(handle)), 60),
        total=int(memory.total),
        free=int(memory.free),
        processes=_processes(nvml, handle, mine),
        compute_mode=COMPUTE_MODES[mode] if mode < len(COMPUTE_MODES) else "unknown",
        split=bool(mig and mig[0]),
    )


def _processes(nvml: Nvml, handle: Nvml, mine: frozenset[int]) -> tuple[Process, ...]:
    pids: dict[int, None] = {}
    for name in _LISTS:
        for process in _or_none(nvml, name, handle) or ():
            pids[int(process.pid)] = None
    return tuple(Process(pid, _process_name(nvml, pid)) for pid in pids if pid not in mine)


def _process_name(nvml: Nvml, pid: int) -> str:
    command = _text(_or_none(nvml, "nvmlSystemGetProcessName", pid) or "")
    return safe(Path(command.partition(" ")[0]).name, 40)


def _or_none(nvml: Nvml, name: str, argument: Nvml) -> Nvml:
    """Return what NVML answers, or None where this GPU or driver does not know."""
    with suppress(nvml.NVMLError, AttributeError):
        return getattr(nvml, name)(argument)
    return None


def _text(value: Nvml) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
