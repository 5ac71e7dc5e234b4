"""How many threads forkmon may use beside a training job: what it is allowed, and few of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from math import floor
from pathlib import Path, PurePosixPath

MOST = 4
"""Threads at most: more would not read faster from one disk, and would be felt."""

MOST_ON_NETWORK = 2
"""Threads at most that read from a file server, which others share."""

SLURM_VARIABLES = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")

_DEFAULT_PERIOD = 100_000.0
"""Microseconds of a scheduling period where a control group names none."""


def usable_threads(
    *,
    network: bool = False,
    environment: Mapping[str, str] = os.environ,
    affinity: int | None = None,
    root: Path = Path("/"),
) -> int:
    """Return how many threads may count elements; `network`: the files come from a server.

    The least of the CPUs this process may run on, its control group's quota and its Slurm task's
    share, at least one and at most four (two on a network file system).
    """
    limits: list[float] = [MOST_ON_NETWORK if network else MOST]
    limits.append(affinity if affinity is not None else allowed_cpus())
    limits += slurm_cpus(environment)
    quota = cpu_quota(root)
    if quota is not None:
        limits.append(quota)
    return max(1, floor(min(limits)))


def allowed_cpus() -> int:
    """Return the number of CPUs that this process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def slurm_cpus(environment: Mapping[str, str]) -> list[int]:
    """Return the CPU counts that Slurm's variables name; a variable of another form is ignored."""
    texts = [environment.get(name, "") for name in SLURM_VARIABLES]
    return [int(t) for t in texts if t.isascii() and t.isdecimal() and 0 < len(t) < 6 and int(t)]


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the CPUs' worth of time a control group grants, the tightest of its ancestors too.

    None without a limit, and where none can be told. `root` is where /proc and /sys stand.
    """
    quotas = [
        quota
        for directory, unified in _cpu_groups(root)
        if (quota := _quota_of(directory, unified=unified)) is not None
    ]
    return min(quotas, default=None)


def _cpu_groups(root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield this process's CPU control groups, each with its ancestors, and if they are of v2."""
    mounts = {unified: (point, top) for point, top, unified in _mounts(root)}
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        unified = number == "0" and not controllers
        if not path.startswith("/") or unified not in mounts:
            continue
        if unified or "cpu" in controllers.split(","):
            point, top = mounts[unified]
            base = root / point.relative_to("/")
            yield from ((base / part, unified) for part in _ancestry(path, top))


def _ancestry(path: str, top: str) -> list[str]:
    """Return a group's path below the mount, and its ancestors' up to the mount itself.

    In a container the mount often shows only part of the tree (`top`); a path outside of it
    cannot be looked at, then only the mount itself tells.
    """
    group = PurePosixPath(path)
    if ".." in group.parts or not group.is_relative_to(top):
        return ["."]
    below = group.relative_to(top)
    return [str(below), *map(str, below.parents)]


def _mounts(root: Path) -> Iterator[tuple[PurePosixPath, str, bool]]:
    """Yield (mount point, which part of the tree it shows, is it v2) of CPU control groups."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kinds) < 3 or not fields[4].startswith("/"):
            continue
        if kinds[0] == "cgroup2":
            yield PurePosixPath(fields[4]), fields[3], True
        elif kinds[0] == "cgroup" and "cpu" in kinds[2].split(","):
            yield PurePosixPath(fields[4]), fields[3], False


def _quota_of(directory: Path, *, unified: bool) -> float | None:
    if unified:
        words = " ".join(_lines(directory / "cpu.max")).split()
    else:
        words = [
            *" ".join(_lines(directory / "cpu.cfs_quota_us")).split(),
            *" ".join(_lines(directory / "cpu.cfs_period_us")).split(),
        ]
    if not words or not words[0].isdecimal():  # "max", or -1: no limit
        return None
    period = float(words[1]) if len(words) > 1 and words[1].isdecimal() else _DEFAULT_PERIOD
    return float(words[0]) / period if period and float(words[0]) else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
