"""NVML: what it says becomes values, and what it does not say becomes a reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from forkmon.worker import nvml
from forkmon.worker.devices import (
    NO_DEVICE,
    Seen,
)
from forkmon.worker.nvml import Lookout, mps_runs, torch_has_cuda

GIB = 1 << 30


class NVMLError(Exception):
    """As the library names it."""


class NVMLError_DriverNotLoaded(NVMLError):  # noqa: N801, N818
    """As the library names it."""


@dataclass
class FakeNvml:
    """The library as we call it."""

    fails: Exception | None = None
    hangs: Event | None = None
    asked: int = 0
    pids: list[int] = field(default_factory=list)
    NVMLError: type[Exception] = NVMLError

    def nvmlInit(self) -> None:  # noqa: N802
        self.asked += 1
        if self.hangs:
            self.hangs.wait(30)
        if self.fails:
            raise self.fails

    def __getattr__(self, name: str) -> Callable[..., Any]:
        answers: dict[str, Any] = {
            "nvmlShutdown": None, "nvmlDeviceGetCount": 1, "nvmlDeviceGetHandleByIndex": object(),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=4 * GIB, free=3 * GIB),
            "nvmlDeviceGetComputeMode": 3, "nvmlDeviceGetUUID": b"GPU-1",
            "nvmlDeviceGetName": "Tesla\x1b[2J", "nvmlSystemGetProcessName": b"/usr/bin/py\x07 -u",
            "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=p) for p in self.pids],
        }  # fmt: skip
        if name not in answers:
            raise AttributeError(name)
        return lambda *_: answers[name]


def test_what_nvml_says_becomes_values() -> None:
    """Names are made safe, we are no other process, and what a driver lacks is left out."""
    seen = Lookout(lambda: FakeNvml(pids=[os.getpid(), 4242])).look()
    (gpu,) = seen.gpus
    assert (gpu.index, gpu.uuid, gpu.free, gpu.split) == (0, "GPU-1", 3 * GIB, False)
    assert gpu.compute_mode == "exclusive-process"
    assert [p.pid for p in gpu.processes] == [4242]
    assert not {"\x1b", "\x07"} & set(gpu.name + str(gpu.processes[0]))


def test_a_hung_nvml_is_left_alone() -> None:
    """The answer comes in time, and no second thread is sent after the first."""
    library = FakeNvml(hangs=Event())
    assert library.hangs is not None
    lookout = Lookout(lambda: library, seconds=0.05)
    for _ in range(3):
        assert lookout.look() == Seen(trouble="NVML did not answer in 0.05 s")
    assert library.asked == 1
    library.hangs.set()


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (NVMLError_DriverNotLoaded("Driver Not Loaded"), NO_DEVICE),
        (NVMLError("Unknown\x1b Error"), "NVML: Unknown"),
        (OSError("libnvidia-ml.so.1"), "NVML cannot be read: libnvidia-ml.so.1"),
    ],
)
def test_a_failing_nvml_is_a_reason(error: Exception, trouble: str) -> None:
    """No exception of the library's leaves the look."""
    seen = Lookout(lambda: FakeNvml(fails=error)).look()
    assert seen.trouble.startswith(trouble)
    assert "\x1b" not in seen.trouble


def test_mps_is_seen_by_its_variable_its_pipe_or_its_process(tmp_path: Path) -> None:
    """Any of the three is enough."""
    proc, pipes = tmp_path / "proc", tmp_path / "mps"
    (proc / "42").mkdir(parents=True)
    (proc / "42/comm").write_text("python\n")
    assert not mps_runs({}, pipes, proc)
    assert mps_runs({"CUDA_MPS_PIPE_DIRECTORY": "/run/mps"}, pipes, proc)
    (proc / "42/comm").write_text("nvidia-cuda-mps\n")
    assert mps_runs({}, pipes, proc)
    (proc / "42/comm").unlink()
    pipes.mkdir()
    (pipes / "control").touch()
    assert mps_runs({}, pipes, proc)


def test_torch_is_asked_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its version file tells."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise ImportError")
    monkeypatch.setattr(
        nvml, "find_spec", lambda _: SimpleNamespace(origin=str(tmp_path / "torch/__init__.py"))
    )
    version = tmp_path / "torch/version.py"
    versions = {
        "cuda: Optional[str] = None\n": False,
        "cuda = '12.8'\n": True,
        "cuda: Optional[str] = '13.0'\n": True,
        "hip = '6.4'\n": True,
    }
    for text, has in versions.items():
        version.write_text(text)
        assert torch_has_cuda() is has
    version.unlink()
    assert not torch_has_cuda()
