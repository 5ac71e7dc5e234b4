"""What file system a path is on: inotify and short settle windows are for local ones only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")

_LOCAL = frozenset({
    "apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfs", "jfs", "msdos",
    "ntfs", "ntfs3", "overlay", "ramfs", "reiserfs", "squashfs", "tmpfs", "vfat", "xfs", "zfs",
})  # fmt: skip


MARKED_SECONDS = 1.0
"""Quiet asked of a checkpoint whose trainer left its last file, on a local disk."""
NETWORK_MARKED_SECONDS = 3.0
NETWORK_FACTOR = 2.5
"""Network file systems are asked so many times less often, and given as much longer."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The type of a file system, and whether another machine may write to it unseen."""

    name: str
    network: bool


UNKNOWN = FileSystem("unknown", network=True)
"""Taken for a network file system: polling works everywhere, events do not."""


@dataclass(frozen=True, slots=True)
class Windows:
    """How often to look, and how long quiet must last before something counts as finished."""

    interval: float
    """Seconds between two looks."""
    settle: float
    """Seconds of quiet asked of what has no marker."""
    marked: float
    """Seconds of quiet asked of what its trainer marked as finished."""
    confirm: bool
    """Whether `stat` may answer from a cache, so that files are opened to be sure."""


def windows(file_system: FileSystem, *, interval: float, settle: float) -> Windows:
    """Return the windows for a file system, from those that are right for a local one.

    Writes of other machines show late and out of order on a network file system: NFS caches
    attributes for 3 s at least.
    """
    if not file_system.network:
        return Windows(interval, settle, min(MARKED_SECONDS, settle), confirm=False)
    settle *= NETWORK_FACTOR
    marked = min(NETWORK_MARKED_SECONDS, settle)
    return Windows(interval * NETWORK_FACTOR, settle, marked, confirm=True)


def kind(path: Path, mountinfo: Path = _MOUNTINFO) -> FileSystem:
    """Return the file system that holds `path` (or its nearest existing ancestor)."""
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        real = path.resolve()
    except (OSError, RuntimeError):
        return UNKNOWN
    best: tuple[int, str] = (-1, "")
    for line in lines:
        mount = _parse(line)
        if mount is None or not real.is_relative_to(mount[0]):
            continue
        depth = len(mount[0].parts)
        if depth >= best[0]:  # of two mounts on one point the later one hides the earlier
            best = (depth, mount[1])
    return FileSystem(best[1], best[1] not in _LOCAL) if best[1] else UNKNOWN


def _parse(line: str) -> tuple[Path, str] | None:
    before, dash, after = line.partition(" - ")
    fields = before.split(" ")
    types = after.split(" ")
    if not dash or len(fields) < 5:
        return None
    point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
    return Path(point), types[0]
