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


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The type of a file system, and whether another machine may write to it unseen."""

    name: str
    network: bool


UNKNOWN = FileSystem("unknown", network=True)
"""Taken for a network file system: polling works everywhere, events do not."""


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
