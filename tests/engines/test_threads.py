"""Threads: never more than any of the limits a cluster sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from forkmon.engines.threads import (
    MOST,
    MOST_ON_NETWORK,
    allowed_cpus,
    cpu_quota,
    slurm_cpus,
    usable_threads,
)

V1_MOUNT = "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"
V2_MOUNT = "30 23 0:26 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"


class Machine:
    """A /proc and a /sys made of files."""

    def __init__(self, root: Path, *, cgroup: str, mounts: str) -> None:
        self.root = root
        self.write("proc/self/cgroup", cgroup)
        self.write("proc/self/mountinfo", mounts)

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")


def v2(root: Path, path: str, limits: Mapping[str, str], top: str = "/") -> Path:
    """Return the root of a machine with unified control groups and their cpu.max."""
    machine = Machine(root, cgroup=f"0::{path}", mounts=V2_MOUNT.format(top=top))
    for group, limit in limits.items():
        machine.write(f"sys/fs/cgroup{group}/cpu.max", limit)
    return root


def v1(root: Path, path: str, limits: Mapping[str, tuple[int, int]], top: str = "/") -> Path:
    """Return the root of a machine with version 1 control groups and their quotas."""
    lines = f"9:memory:/elsewhere\n4:cpu,cpuacct:{path}\n1:name=systemd:/init"
    machine = Machine(root, cgroup=lines, mounts=V1_MOUNT.format(top=top))
    for group, (quota, period) in limits.items():
        machine.write(f"sys/fs/cgroup/cpu,cpuacct{group}/cpu.cfs_quota_us", str(quota))
        machine.write(f"sys/fs/cgroup/cpu,cpuacct{group}/cpu.cfs_period_us", str(period))
    return root


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ({"/job/step": "200000 100000"}, 2.0),
        ({"/job/step": "150000 100000"}, 1.5),
        ({"/job/step": "max 100000"}, None),
        ({"/job/step": "max 100000", "/job": "300000 100000"}, 3.0),
        ({"/job/step": "800000 100000", "/job": "300000 100000", "": "max 100000"}, 3.0),
        ({"/job/step": "50000"}, 0.5),
        ({"/job/step": ""}, None),
        ({"/job/step": "0 0"}, None),
        ({}, None),
    ],
)
def test_a_unified_group_is_limited_by_its_ancestors_too(
    tmp_path: Path, limits: Mapping[str, str], wanted: float | None
) -> None:
    """The tightest cpu.max on the way up holds."""
    assert cpu_quota(v2(tmp_path, "/job/step", limits)) == wanted


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ({"/slurm/job_7": (250_000, 100_000)}, 2.5),
        ({"/slurm/job_7": (-1, 100_000)}, None),
        ({"/slurm/job_7": (-1, 100_000), "/slurm": (100_000, 50_000)}, 2.0),
        ({"/slurm/job_7": (100_000, 0)}, None),
    ],
)
def test_a_group_of_version_1_has_quota_and_period(
    tmp_path: Path, limits: Mapping[str, tuple[int, int]], wanted: float | None
) -> None:
    """Quota over period is the number of CPUs; -1 is none."""
    assert cpu_quota(v1(tmp_path, "/slurm/job_7", limits)) == wanted


def test_a_container_sees_only_its_part_of_the_tree(tmp_path: Path) -> None:
    """A path under the mount's own root is looked up below the mount point."""
    root = v1(tmp_path, "/docker/abc", {"": (150_000, 100_000)}, top="/docker/abc")
    assert cpu_quota(root) == 1.5


@pytest.mark.parametrize("path", ["/host/only", "/../../escape", "/../sibling"])
def test_a_path_outside_of_the_mount_leaves_the_mount_itself(tmp_path: Path, path: str) -> None:
    """A namespaced or hostile path is never followed out of the tree."""
    root = v2(tmp_path, path, {"": "400000 100000"}, top="/docker/abc")
    (tmp_path / "cpu.max").write_text("100000 100000")
    assert cpu_quota(root) == 4.0


def test_a_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    """Missing and garbled files mean: no limit told."""
    assert cpu_quota(tmp_path) is None
    Machine(tmp_path, cgroup="what\n\n::\n0:x:y", mounts="- - -\nshort\n")
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, []),
        ({"SLURM_CPUS_PER_TASK": "3"}, [3]),
        ({"SLURM_CPUS_PER_TASK": "3", "SLURM_CPUS_ON_NODE": "64"}, [3, 64]),
        ({"SLURM_CPUS_PER_TASK": "0"}, []),
        ({"SLURM_CPUS_ON_NODE": "4(x2)"}, []),
        ({"SLURM_CPUS_ON_NODE": "-1", "SLURM_CPUS_PER_TASK": ""}, []),
        ({"SLURM_CPUS_ON_NODE": "9" * 4000}, []),
    ],
)
def test_slurm_says_how_many_cpus_a_task_has(
    environment: Mapping[str, str], wanted: list[int]
) -> None:
    """What is no plain number is no limit."""
    assert slurm_cpus(environment) == wanted


@pytest.mark.parametrize(
    ("affinity", "quota", "slurm", "network", "wanted"),
    [
        (64, "max 100000", {}, False, MOST),
        (64, "max 100000", {}, True, MOST_ON_NETWORK),
        (3, "max 100000", {}, False, 3),
        (64, "250000 100000", {}, False, 2),
        (64, "20000 100000", {}, False, 1),
        (64, "max 100000", {"SLURM_CPUS_PER_TASK": "1"}, False, 1),
        (1, "800000 100000", {"SLURM_CPUS_ON_NODE": "32"}, True, 1),
    ],
)
def test_the_tightest_limit_holds(
    tmp_path: Path,
    affinity: int,
    quota: str,
    slurm: Mapping[str, str],
    network: bool,
    wanted: int,
) -> None:
    """At least one thread, at most what everybody grants."""
    root = v2(tmp_path, "/job", {"/job": quota})
    found = usable_threads(network=network, environment=slurm, affinity=affinity, root=root)
    assert found == wanted


def test_this_machine_grants_something() -> None:
    """The real files give a number between one and the CPUs there are."""
    assert 1 <= usable_threads() <= min(MOST, allowed_cpus())
