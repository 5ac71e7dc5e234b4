"""Leave the page cache as it was found: drop what our reading brought in, keep what was there.

`preadv` with RWF_NOWAIT returns only what is in memory already; what it does not return has to be
fetched from the disk, and goes again after it was read.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from itertools import pairwise
from threading import Lock

UNIT = 1 << 20
"""Bytes probed at once: from its first missing page to its end a unit counts as not cached."""

PAGE = 4096

_UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
"""What file systems and kernels answer that cannot tell."""

_HARMLESS = frozenset({
    errno.EINVAL, errno.ENOSYS, errno.EIO, errno.ESPIPE, errno.ENOENT, errno.ESTALE,
    errno.EOPNOTSUPP,
})  # fmt: skip

LAG_BYTES = 256 << 20
"""How much stays a little longer: parts of a fused tensor read the same pages one after another."""

CAN_TELL = hasattr(os, "RWF_NOWAIT") and hasattr(os, "posix_fadvise")
"""Whether this system has the calls at all."""

Range = tuple[int, int]
"""Byte offsets (first, end) in a file."""


def read_no_further(fd: int) -> None:
    """Switch read-ahead off: it would bring in pages that the next probe takes for the trainer's.

    A read still fetches all it asks for at once. Headers are read so too: read-ahead would leave
    a mark in the cache at which a later read, with read-ahead off itself, fetches far ahead.
    """
    if CAN_TELL:
        _advise(fd, 0, 0, os.POSIX_FADV_RANDOM)


def read_on(fd: int) -> None:
    """Switch read-ahead on again, where it does no harm because nothing is dropped."""
    if CAN_TELL:
        _advise(fd, 0, 0, os.POSIX_FADV_NORMAL)


def read_cached(fd: int, offset: int, out: memoryview) -> list[Range] | None:
    """Fill what of `out` is cached, return the ranges that are not; None where nobody can tell.

    The probe of a missing page starts its reading, so the missing ranges are on their way when
    this returns.
    """
    borders = [*range(0, len(out), UNIT), len(out)]
    missing: list[Range] = []
    for first, last in pairwise(borders):
        try:
            got = os.preadv(fd, [out[first:last]], offset + first, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                got = 0
            elif error.errno in _UNKNOWN:
                return None
            else:
                raise
        if got < last - first:
            _append(missing, (offset + first + got, offset + last))
    return missing


class Borrowed:
    """The ranges our reading brought into the page cache, given back oldest first; thread-safe."""

    def __init__(self, lag: int = LAG_BYTES) -> None:
        self._lag = lag
        self._held = 0
        self._ranges: deque[tuple[int, Range]] = deque()
        self._lock = Lock()

    def add(self, fd: int, brought: Range) -> None:
        """Note a range of an open file; beyond the lag the oldest ones go."""
        with self._lock:
            self._ranges.append((fd, brought))
            self._held += brought[1] - brought[0]
            old = self._beyond(self._lag)
        for owner, gone in old:
            drop(owner, gone)

    def give_back(self) -> None:
        """Drop all that is left; the descriptors must still be open."""
        with self._lock:
            old = self._beyond(0)
        for owner, gone in old:
            drop(owner, gone)

    def _beyond(self, limit: int) -> list[tuple[int, Range]]:
        old: list[tuple[int, Range]] = []
        while self._ranges and self._held > limit:
            fd, oldest = self._ranges.popleft()
            self._held -= oldest[1] - oldest[0]
            old.append((fd, oldest))
        return old


def drop(fd: int, gone: Range) -> None:
    """Take a range out of the page cache, whole pages, but for what is dirty or mapped."""
    first = gone[0] // PAGE * PAGE
    last = -(-gone[1] // PAGE) * PAGE
    _advise(fd, first, last - first, os.POSIX_FADV_DONTNEED)


def _append(ranges: list[Range], new: Range) -> None:
    if ranges and ranges[-1][1] == new[0]:
        ranges[-1] = (ranges[-1][0], new[1])
    else:
        ranges.append(new)


def _advise(fd: int, first: int, length: int, advice: int) -> None:
    try:
        os.posix_fadvise(fd, first, length, advice)
    except OSError as error:
        if error.errno not in _HARMLESS:
            raise
