"""A log that grows while it is read: only what came since the last time is read again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from forkmon.errors import CheckpointError
from forkmon.formats.opening import open_regular, read_bytes
from forkmon.runs.metrics_curves import Curve

LONGEST_NAME = 200
"""Characters of a curve's name; what is longer is no name."""

MOST_CURVES = 2_000
"""Names read from one log."""

_HEAD = 4096
_SEAM = 256


class Parser(Protocol):
    """Reads one kind of log."""

    curves: dict[str, Curve]

    def take(self, fd: int, path: Path, at: int, end: int, size: int) -> int:
        """Read whole entries from `at` up to about `end`; return where the first unread lies.

        The file has `size` bytes; an entry that is only passed over may end anywhere in it.
        """
        ...


class LogFile:
    """One log with its curves so far."""

    def __init__(self, path: Path, parser: Callable[[], Parser]) -> None:
        self.path = path
        self._new_parser = parser
        self._parser = parser()
        self._at = 0
        self._seen: tuple[int, ...] = ()
        self._joint = b""

    @property
    def curves(self) -> dict[str, Curve]:
        """Return what was read so far."""
        return self._parser.curves

    def read(self, most: int) -> bool:
        """Read about `most` further bytes; return whether there is more to read now.

        What cannot be read any more keeps its curves.
        """
        try:
            if self._print(self.path.lstat()) == self._seen:
                return False
            fd = open_regular(self.path)
        except (OSError, ValueError, CheckpointError):
            return False
        try:
            return self._read_open(fd, os.fstat(fd), most)
        except (OSError, CheckpointError):
            return False
        finally:
            os.close(fd)

    def _read_open(self, fd: int, found: os.stat_result, most: int) -> bool:
        if self._seen[:2] != (found.st_dev, found.st_ino) or not self._goes_on(fd, found.st_size):
            self._parser, self._at = self._new_parser(), 0
        end = min(found.st_size, self._at + most)
        at = self._parser.take(fd, self.path, self._at, end, found.st_size)
        more = self._at < at < found.st_size and end < found.st_size
        self._at = at
        self._joint = self._joint_of(fd)
        # Read in part: the print of no file, so that the next call reads on.
        self._seen = self._print(found)[: 2 if more else None]
        return more

    def _goes_on(self, fd: int, size: int) -> bool:
        """Return whether what was read so far still stands there: else it was written anew."""
        return size >= self._at and self._joint_of(fd) == self._joint

    def _joint_of(self, fd: int) -> bytes:
        head, seam = min(_HEAD, self._at), min(_SEAM, self._at)
        return read_bytes(fd, 0, head, self.path) + read_bytes(fd, self._at - seam, seam, self.path)

    @staticmethod
    def _print(found: os.stat_result) -> tuple[int, ...]:
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def curve_of(curves: dict[str, Curve], name: str) -> Curve | None:
    """Return the curve of a name, begun where it is new; None for one name too many."""
    curve = curves.get(name)
    if curve is None and name and len(name) <= LONGEST_NAME and len(curves) < MOST_CURVES:
        curve = curves[name] = Curve()
    return curve
