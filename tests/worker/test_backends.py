"""Backends: the engine on the device it gets, and what is said when it is another one."""

from __future__ import annotations

import builtins
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forkmon import kernels
from forkmon.errors import UsageError
from forkmon.formats.reading import OpenFiles
from forkmon.kernels.choose import DeviceLostError
from forkmon.kernels.cpu import CpuKernel
from forkmon.runs.refs import CheckpointRef, Fingerprint
from forkmon.worker import backends
from forkmon.worker.backends import (
    DeviceEngine,
    Guard,
    choose_device,
    compiled_cache,
    open_engine,
    replacement,
)
from forkmon.worker.devices import (
    Device,
    Gpu,
    Process,
    Seen,
)

GIB = 1 << 30
IDLE = Gpu(0, "GPU-aaaa", "H200", 140 * GIB, 139 * GIB)
BUSY = replace(IDLE, free=20 * GIB, processes=(Process(4242, "python"),))
AUTO = Device("cuda:0", "idle")


def test_the_guard_looks_only_now_and_then() -> None:
    """NVML is asked every few seconds, not for every tensor."""
    now, looks = [0.0], [0]

    def look() -> Seen:
        looks[0] += 1
        return Seen((BUSY,))

    guard = Guard(AUTO, look, clock=lambda: now[0])
    assert guard.reason() == ""
    now[0] = backends.LOOK_SECONDS
    assert guard.reason() == "GPU 0 is busy: python 4242"
    assert (guard.reason(), looks[0]) == ("", 1)


def test_a_lost_device_becomes_the_options_of_the_next_worker() -> None:
    """The reason travels on the command line and is what the next one shows."""
    _, name, flag, why = replacement(DeviceLostError("cuda:0 was lost: launch failure"))
    assert flag == "--device-why"
    assert choose_device(name, why=why) == Device("cpu", "cuda:0 was lost: launch failure", True)


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make numba unimportable, as an install for another numpy does."""
    for name in ("forkmon.kernels.cpu", "forkmon.kernels.compiled"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr(kernels, "compiled", raising=False)
    plain = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name == "numba":
            raise ImportError("Numba needs NumPy 2.2 or less")
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_torch_counts_where_numba_cannot_be_imported(without_numba: None) -> None:
    """The engine runs and says what it runs on, and why."""
    pytest.importorskip("torch")
    with open_engine(device=Device("cpu", "no CUDA device")) as engine:
        assert engine.device.name == "cpu"
        assert engine.device.why == (
            "no CUDA device; numba cannot be imported (Numba needs NumPy 2.2 or less): torch counts"
        )
        assert engine._own_kernel.name == "torch on cpu"


def test_a_gpu_that_does_not_open_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` falls back to the CPU, `cuda` is an error, a broken context ends the process."""

    def refuse(text: str) -> None:
        def opened(*_: object) -> None:
            raise RuntimeError(text)

        monkeypatch.setattr(backends, "_cuda_kernel", opened)

    refuse("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA")
    with open_engine(device=AUTO) as engine:
        assert engine.device == Device("cpu", "cuda:0: CUDA error: out of memory")
    with pytest.raises(UsageError, match="out of memory; use --device cpu"):
        open_engine(device=replace(AUTO, asked=True))
    refuse("CUDA error: unspecified launch failure")
    with pytest.raises(DeviceLostError, match="launch failure"):
        open_engine(device=AUTO)


def test_an_idle_engine_hands_the_device_back(tmp_path: Path) -> None:
    """After each run, and after one that failed, but not to a device that is gone."""
    handed: list[str] = []
    ref = CheckpointRef(tmp_path, 0, "", (), Fingerprint(()), "heuristic")
    with (
        OpenFiles(ref) as files,
        DeviceEngine(CpuKernel(), AUTO, idle=lambda: handed.append("")) as engine,
    ):
        assert list(engine.run(files, [])) == []
        assert len(handed) == 1
        with pytest.raises(OSError, match="unplugged"):
            list(engine.run(files, failing(OSError("unplugged"))))
        assert len(handed) == 2
        with pytest.raises(DeviceLostError):
            list(engine.run(files, failing(DeviceLostError("cuda:0 was lost"))))
        assert len(handed) == 2


def failing(error: Exception) -> Any:
    """Fail as the first of some tensors does."""
    yield from ()
    raise error


def test_compiled_kernels_go_where_only_we_write(tmp_path: Path) -> None:
    """numba executes its cache: a place others can write is as bad as one we cannot."""
    assert compiled_cache(tmp_path) == (tmp_path / "numba", "")
    assert (tmp_path / "numba").stat().st_mode & 0o777 == 0o700
    (tmp_path / "numba").chmod(0o777)
    place, why = compiled_cache(tmp_path)
    assert "is writable by others" in why
    assert place.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    place, why = compiled_cache(tmp_path / "file")
    assert "is not writable" in why
    assert place.is_dir()
