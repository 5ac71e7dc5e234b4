"""Choose the engine, and import the heavy libraries only when there is something to analyse."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from forkmon import config
from forkmon.engines.local import LocalEngine
from forkmon.engines.upload import Budget, Uploader
from forkmon.errors import DeviceLostError, UsageError
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import TensorRef
from forkmon.kernels.choose import FallbackKernel, Trouble, first_line, trouble
from forkmon.kernels.protocol import Kernel
from forkmon.stats.summary import Finished
from forkmon.worker import devices
from forkmon.worker.devices import CAP_BYTES, Device, Seen
from forkmon.worker.nvml import Lookout, survey
from forkmon.worker.where import KERNEL_VERSION, choose_device

__all__ = [
    "KERNEL_VERSION",
    "Device",
    "DeviceEngine",
    "DeviceLostError",
    "choose_device",
    "open_engine",
    "replacement",
]

LOOK_SECONDS: Final = 5.0
"""How often a GPU that `auto` took is looked at for other processes."""

_IMPORT_FAILS = (ImportError, AttributeError, SystemError, OSError, RuntimeError)
"""What a numba says that does not fit the installed numpy or LLVM."""


def replacement(error: DeviceLostError) -> list[str]:
    """Return the options for the worker that follows one whose device was lost."""
    return ["--device", "cpu", "--device-why", str(error)]


def open_engine(*, threads: int = 0, device: Device | None = None) -> DeviceEngine:
    """Return the local engine; kernels compile on first use, cached under the XDG cache.

    Without a device, the one that `choose_device()` chooses. The engine's own `device` tells
    which it became in the end: a GPU may refuse, numba may not be importable.
    """
    device = device or choose_device()
    cpu, note = _cpu_kernel()
    told = replace(device, why=_joined(device.why, note))
    if not device.name.startswith("cuda"):
        return DeviceEngine(cpu, told, threads=threads)
    try:
        kernel, uploader = _cuda_kernel(device, cpu)
    except Exception as error:
        reason = f"{device.name}: {first_line(error)}"
        if trouble(error) is Trouble.LOST:
            raise DeviceLostError(reason) from error
        if device.asked:
            raise UsageError(f"--device {reason}; use --device cpu") from error
        return DeviceEngine(cpu, Device("cpu", _joined(reason, note)), threads=threads)
    return DeviceEngine(kernel, told, threads=threads, idle=uploader.release)


class DeviceEngine(LocalEngine):
    """The local engine on a device, which it hands back whenever it is idle."""

    def __init__(
        self,
        kernel: Kernel,
        device: Device,
        *,
        threads: int = 0,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(kernel, threads=threads or None)
        self._own_kernel = kernel
        self._note = "compiling once" if _must_compile() else ""
        self._chosen = device
        self._idle = idle

    @property
    def note(self) -> str:
        """Return why the first tensor may take longer; empty where it does not."""
        return self._note

    @property
    def device(self) -> Device:
        """Return where the next tensor is counted, and why there."""
        if isinstance(self._own_kernel, FallbackKernel) and self._own_kernel.why_not:
            return Device("cpu", self._own_kernel.why_not)
        return self._chosen

    def run(
        self, files: OpenFiles, tensors: Sequence[TensorRef]
    ) -> Generator[tuple[TensorRef, Finished]]:
        """Yield each tensor's numbers in the order given; reading errors are raised."""
        try:
            yield from super().run(files, tensors)
        except DeviceLostError:
            raise  # nothing can be handed back to a device that is gone
        except BaseException:
            self._idle()
            raise
        else:
            self._idle()


def compiled_cache(home: Path | None = None) -> tuple[Path, str]:
    """Return where compiled kernels are kept, and why not under the XDG cache if they are not.

    numba runs what it finds there, so nobody else may be able to write it.
    """
    wanted = (home or config.cache_home()) / "numba"
    try:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = wanted.stat()
        with tempfile.TemporaryFile(dir=wanted):
            pass
    except OSError as error:
        return _private_cache(), f"{wanted} is not writable ({error.strerror}): compiling anew"
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return _private_cache(), f"{wanted} is writable by others: compiling anew"
    return wanted, ""


def _must_compile() -> bool:
    """Return whether no compiled kernel is in the cache yet."""
    directory = Path(os.environ.get("NUMBA_CACHE_DIR") or config.cache_home() / "numba")
    return next(directory.rglob("*.nbi"), None) is None


@cache
def _private_cache() -> Path:
    path = Path(tempfile.mkdtemp(prefix="forkmon-numba-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def _cpu_kernel() -> tuple[Kernel, str]:
    """Return the CPU's kernel, and what is to be said of it."""
    note = ""
    if "NUMBA_CACHE_DIR" not in os.environ:
        directory, note = compiled_cache()
        os.environ["NUMBA_CACHE_DIR"] = str(directory)
    try:
        from forkmon.kernels.cpu import CpuKernel
    except _IMPORT_FAILS as error:
        import torch

        from forkmon.kernels.torch_kernel import TorchKernel

        torch.set_num_threads(1)  # the engine has threads of its own
        return TorchKernel(), f"numba cannot be imported ({first_line(error)}): torch counts"
    return CpuKernel(), note


def _cuda_kernel(device: Device, cpu: Kernel) -> tuple[FallbackKernel, Uploader[Any, Any, Any]]:
    """Open a CUDA device; errors are torch's own."""
    # NVML counts by bus, CUDA by speed unless it is told; a joined MPS server shares its faults.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    os.environ["CUDA_MPS_PIPE_DIRECTORY"] = os.devnull
    from forkmon.kernels.torch_cuda import CudaBackend
    from forkmon.kernels.torch_kernel import TorchKernel

    lookout = Lookout()
    before = survey(lookout)
    backend = CudaBackend(device.name, CAP_BYTES)
    lookout.mine = devices.ours(before, survey(lookout), os.getpid())
    uploader = Uploader(backend, Budget())
    guard = Guard(device, lambda: survey(lookout))
    # A matrix whose column sums alone would fill an eighth of the cap stays on the CPU.
    kernel = FallbackKernel(
        TorchKernel(uploader), cpu, asks_back=guard.reason, max_columns=CAP_BYTES // 64
    )
    return kernel, uploader


@dataclass(slots=True)
class Guard:
    """Looks now and then whether a GPU that `auto` took is wanted by somebody else."""

    device: Device
    look: Callable[[], Seen]
    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin to wait: the device was looked at a moment ago."""
        self._last = self.clock()

    def reason(self) -> str:
        """Return why the device must be handed back, or an empty string."""
        now = self.clock()
        if now - self._last < LOOK_SECONDS:
            return ""
        self._last = now
        return devices.lets_go(self.device, self.look())


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
