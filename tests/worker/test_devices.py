"""Devices: whose GPU it is, what is said of it, and what happens when it cannot be had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forkmon.errors import UsageError
from forkmon.worker.devices import (
    NO_DEVICE,
    Device,
    Gpu,
    Process,
    Seen,
    lets_go,
    ours,
    visible,
)
from forkmon.worker.devices import choose_device as choose

GIB = 1 << 30
CAP = GIB // 2
IDLE = Gpu(0, "GPU-aaaa", "H200", 140 * GIB, 139 * GIB)
OTHER = replace(IDLE, index=1, uuid="GPU-bbbb")
BUSY = replace(IDLE, free=20 * GIB, processes=(Process(4242, "python"),))
FULL = replace(IDLE, total=4 * GIB, free=2 * GIB + CAP - 1)
EXCLUSIVE = replace(IDLE, compute_mode="exclusive-process")
SPLIT = replace(IDLE, split=True)
HIDDEN = replace(IDLE, free=100 * GIB)


@pytest.mark.parametrize(
    ("seen", "name", "why"),
    [
        (Seen((IDLE,)), "cuda:0", "GPU 0 (H200) is idle, 139.0 GiB free"),
        (Seen((BUSY, OTHER)), "cuda:1", "GPU 1 (H200) is idle"),
        (Seen((IDLE, OTHER), visible="1"), "cuda:0", "GPU 1 (H200) is idle"),
        (Seen((IDLE, OTHER), visible="GPU-bb"), "cuda:0", "GPU 1"),
        (Seen(), "cpu", "no CUDA device"),
        (Seen(trouble=NO_DEVICE), "cpu", "no CUDA device"),
        (Seen(trouble="NVML did not answer in 2 s"), "cpu", "NVML did not answer in 2 s"),
        (Seen((IDLE,), torch_cuda=False), "cpu", "torch without CUDA"),
        (Seen((IDLE,), visible=""), "cpu", "CUDA_VISIBLE_DEVICES hides every GPU"),
        (Seen((IDLE,), visible="-1"), "cpu", "CUDA_VISIBLE_DEVICES hides every GPU"),
        (Seen((IDLE,), visible="MIG-1"), "cpu", "a MIG instance is taken only when asked for"),
        (Seen((IDLE,), mps=True), "cpu", "an MPS server runs"),
        (Seen((BUSY,)), "cpu", "GPU 0 is busy: python 4242"),
        (Seen((BUSY, BUSY)), "cpu", "GPU 0 is busy: python 4242, nor is any of 1 more free"),
        (Seen((HIDDEN,)), "cpu", "GPU 0 is busy: 40.0 GiB in use by a process out of sight"),
        (Seen((FULL,)), "cpu", "GPU 0 has 2.5 GiB free of the 2.5 GiB needed"),
        (Seen((EXCLUSIVE,)), "cpu", "GPU 0 is in exclusive-process mode"),
        (Seen((SPLIT,)), "cpu", "GPU 0 is split into MIG instances"),
    ],
)
def test_auto_takes_only_what_nobody_uses(seen: Seen, name: str, why: str) -> None:
    """Whatever makes a GPU somebody else's, the CPU counts and says why."""
    found = choose("auto", seen, cap=CAP)
    assert (found.name, found.asked) == (name, False)
    assert found.why.startswith(why)


@pytest.mark.parametrize(
    ("setting", "seen", "name", "why"),
    [
        ("cpu", Seen((IDLE,)), "cpu", "asked for"),
        ("cuda", Seen((BUSY,)), "cuda:0", "asked for"),
        ("cuda:1", Seen((BUSY, OTHER)), "cuda:1", "asked for"),
        ("cuda", Seen((IDLE,), mps=True), "cuda:0", "asked for; the MPS server is not joined"),
        ("cuda", Seen((EXCLUSIVE,)), "cuda:0", "asked for"),
        ("cuda", Seen((SPLIT,), visible="MIG-1"), "cuda:0", "asked for"),
        ("cuda", Seen(trouble="NVML did not answer in 2 s"), "cuda:0",
         "asked for; NVML did not answer in 2 s"),
    ],
)  # fmt: skip
def test_a_device_that_is_named_is_meant(setting: str, seen: Seen, name: str, why: str) -> None:
    """`cuda` works beside other processes, within its byte cap."""
    assert choose(setting, seen, cap=CAP) == Device(name, why, asked=True)


@pytest.mark.parametrize(
    ("setting", "seen", "message"),
    [
        ("cuda", Seen(trouble=NO_DEVICE), "--device cuda: no CUDA device; use --device cpu"),
        ("cuda", Seen((IDLE,), torch_cuda=False), "torch without CUDA"),
        ("cuda", Seen((IDLE,), visible=""), "CUDA_VISIBLE_DEVICES hides every GPU"),
        ("cuda:2", Seen((IDLE, OTHER)), "there are only 2 GPUs"),
        ("cuda", Seen((replace(IDLE, free=CAP),)), "GPU 0 has 0.5 GiB free of the 1.5 GiB needed"),
        ("cuda", Seen((replace(IDLE, compute_mode="prohibited"),)), "in prohibited mode"),
        ("cuda", Seen((replace(BUSY, compute_mode="exclusive-process"),)), "exclusive-process"),
        ("cuda:x", Seen((IDLE,)), "use auto, cpu, cuda or cuda:N"),
        ("\x1b[2J", Seen((IDLE,)), "use auto, cpu, cuda or cuda:N"),
    ],
)
def test_what_cannot_be_had_is_an_error_with_the_reason(
    setting: str, seen: Seen, message: str
) -> None:
    """A named device is never silently replaced by the CPU."""
    with pytest.raises(UsageError) as caught:
        choose(setting, seen, cap=CAP)
    assert message in str(caught.value)
    assert "\x1b" not in str(caught.value)


AUTO = Device("cuda:0", "idle")


@pytest.mark.parametrize(
    ("device", "seen", "reason"),
    [
        (AUTO, Seen((IDLE,)), ""),
        (AUTO, Seen((replace(IDLE, free=GIB),)), "GPU 0 is busy: 139.0 GiB"),
        (AUTO, Seen((BUSY,)), "GPU 0 is busy: python 4242"),
        (AUTO, Seen((IDLE, BUSY), visible="0"), ""),
        (AUTO, Seen((EXCLUSIVE,)), "GPU 0 is in exclusive-process mode"),
        (AUTO, Seen(trouble="NVML did not answer in 2 s"), "NVML did not answer in 2 s"),
        (AUTO, Seen(), "cuda:0 is no longer there"),
        (replace(AUTO, asked=True), Seen((BUSY,)), ""),
        (Device("cpu", ""), Seen((BUSY,)), ""),
    ],
)
def test_auto_lets_go_when_another_process_appears(device: Device, seen: Seen, reason: str) -> None:
    """What was taken because nobody used it is handed back when somebody does."""
    assert lets_go(device, seen).startswith(reason)
    assert bool(lets_go(device, seen)) == bool(reason)


def test_visible_devices_stop_at_the_first_wrong_name() -> None:
    """As in CUDA; order and names follow the variable."""
    seen = Seen((IDLE, OTHER))
    assert visible(seen) == (IDLE, OTHER)
    assert visible(replace(seen, visible="1, 0")) == (OTHER, IDLE)
    assert visible(replace(seen, visible="1,7,0")) == (OTHER,)
    assert visible(replace(seen, visible="GPU-bbbb,MIG-x")) == (OTHER, None)


def test_our_own_process_is_known_in_a_container_too() -> None:
    """There NVML shows another number: the one that appeared while we opened the device."""

    def with_pids(*pids: int) -> Seen:
        return Seen((replace(IDLE, processes=tuple(Process(p) for p in pids)),))

    assert ours(with_pids(), with_pids(77), pid=12) == {12, 77}
    assert ours(with_pids(5), with_pids(5, 12, 6), pid=12) == {12}
    assert ours(with_pids(), with_pids(77, 78), pid=12) == {12}
    assert ours(with_pids(), with_pids(), pid=12) == {12}
