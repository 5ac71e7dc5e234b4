"""Bounded looks into directories: names and kinds only, unchanged directories remembered."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from forkmon.formats.opening import may_lead_to

ENTRY_CAP = 20_000
"""Entries of one directory looked at; a tree beyond that is no run directory."""
_FRESH_NS = 2_000_000_000
"""A directory changed more recently than this may change again within one clock tick."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One entry of a directory, links not followed."""

    name: str
    is_dir: bool
    is_link: bool


@dataclass(frozen=True, slots=True)
class Look:
    """What a directory held, or why it could not be looked into."""

    entries: tuple[Seen, ...] = ()
    error: OSError | None = None
    capped: bool = False

    @property
    def names(self) -> frozenset[str]:
        """Return the names alone."""
        return frozenset(entry.name for entry in self.entries)


class Stats:
    """What the kernel says about paths, asked once a poll; links are not followed."""

    def __init__(self) -> None:
        self._known: dict[Path, os.stat_result | OSError] = {}

    def of(self, path: Path) -> os.stat_result | OSError:
        """Return a path's status; an error is returned, not raised."""
        found = self._known.get(path)
        if found is None:
            try:
                found = path.lstat()
            except OSError as error:
                found = error
            except ValueError as error:  # a NUL byte in the path
                found = OSError(errno.ENOENT, str(error))
            self._known[path] = found
        return found

    def clear(self) -> None:
        """Ask anew from now on: another poll begins."""
        self._known.clear()


class Looker:
    """Lists directories, and lists again only those that changed.

    `careful` opens a directory before it asks whether it changed: clients of network file systems
    answer from their cache otherwise, for a minute if need be.
    """

    def __init__(self, wall: Callable[[], float], *, careful: bool = False) -> None:
        self._wall = wall
        self._careful = careful
        self._known: dict[Path, tuple[tuple[int, int, int, int], Look]] = {}

    def look(self, directory: Path) -> Look:
        """Return the entries of a directory; an error is returned, not raised."""
        try:
            found = _opened(directory) if self._careful else directory.stat()
            mark = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
            known = self._known.get(directory)
            if known is not None and known[0] == mark:
                return known[1]
            look = _list(directory)
        except OSError as error:
            self._known.pop(directory, None)
            return Look(error=error)
        if abs(self._wall() * 1e9 - max(mark[2:])) > _FRESH_NS:
            self._known[directory] = (mark, look)
        return look

    def keep_only(self, directories: set[Path]) -> None:
        """Forget directories that are not looked at any more."""
        for gone in self._known.keys() - directories:
            del self._known[gone]


def _opened(directory: Path) -> os.stat_result:
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NONBLOCK)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _list(directory: Path) -> Look:
    with os.scandir(directory) as entries:
        listed = [
            Seen(entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink())
            for entry in islice(entries, ENTRY_CAP + 1)
        ]
    listed.sort(key=lambda seen: seen.name)
    return Look(tuple(listed[:ENTRY_CAP]), capped=len(listed) > ENTRY_CAP)


def link_target(link: Path, root: Path) -> tuple[Path | None, str]:
    """Return where a link leads, or None and why it is not followed.

    `root` is a real path. Links are followed inside it, and from a hub cache's `snapshots` into
    the `blobs` beside them.
    """
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return None, "a link that leads nowhere"
    if target == root or target in root.parents:
        return None, "a link back to the run directory"
    if may_lead_to(target, root):
        return target, ""
    return None, "a link that leads out of the run directory: not followed"
