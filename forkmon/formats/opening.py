"""The only way forkmon opens a checkpoint's file: read-only, never blocking, regular files only."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from forkmon.errors import AccessError, CheckpointError, FormatError, TornError, VanishedError
from forkmon.formats import page_cache
from forkmon.runs.refs import FilePrint
from forkmon.text import safe

# O_NOFOLLOW: paths were resolved and checked when they were found; a link that took the file's
# place since then could lead anywhere. O_NONBLOCK: a FIFO in its place must not hang the reader.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW

GONE = frozenset({errno.ENOENT, errno.ESTALE, errno.ENOTDIR})
_REFUSED = frozenset({errno.EACCES, errno.EPERM})
_EIO_ATTEMPTS = 3

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a link",
}


def open_regular(path: Path) -> int:
    """Return a descriptor of a regular file, or raise the CheckpointError that says why not.

    It reads what it is asked for and nothing ahead, see `page_cache`.
    """
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        raise explained(error, path) from None
    except ValueError:  # a NUL byte in the path
        raise FormatError(f"{safe(path.name)}: not a file name") from None
    try:
        require_regular(os.fstat(fd), path)
    except BaseException:
        os.close(fd)
        raise
    page_cache.read_no_further(fd)
    return fd


def may_lead_to(target: Path, root: Path) -> bool:
    """Return whether a link of a run may lead to a real path, where the run's own is `root`.

    That is inside the run, or from a hub cache's `snapshots` into the `blobs` beside them.
    """
    blobs = (place.parent / "blobs" for place in (root, *root.parents) if place.name == "snapshots")
    return target.is_relative_to(root) or target.parent in blobs


def open_as_seen(path: Path, seen: FilePrint) -> int:
    """Open a file and make sure that it is still the one that settled."""
    fd = open_regular(path)
    if file_print(seen.name, os.fstat(fd)) != seen:
        os.close(fd)
        raise TornError(f"{safe(path.name)} changed since it settled; waiting for it again")
    return fd


def require_regular(found: os.stat_result, path: Path) -> None:
    """Raise FormatError unless `found` describes a regular file."""
    if not stat.S_ISREG(found.st_mode):
        raise FormatError(f"{safe(path.name)}: {kind_of(found)}, not a regular file; not read")


def kind_of(found: os.stat_result) -> str:
    """Return in words what sort of thing a stat result describes."""
    return _KINDS.get(stat.S_IFMT(found.st_mode), "a regular file")


def explained(error: OSError, path: Path) -> CheckpointError:
    """Return the CheckpointError that an operating-system error on `path` means."""
    name = safe(path.name)
    if error.errno in GONE:
        return VanishedError(f"{name}: deleted or rotated away; its stored history is kept")
    if error.errno in _REFUSED:
        return AccessError(no_permission(path))
    if error.errno in (errno.ELOOP, errno.ENXIO):
        return FormatError(f"{name}: a link or a special file took its place; not read")
    return AccessError(f"{name}: {os.strerror(error.errno or 0)}; looked at again when it changes")


def no_permission(path: Path) -> str:
    """Return the sentence for a file that another user keeps private."""
    try:
        found = path.stat()
    except OSError:
        return f"{safe(path.name)}: no permission to look into its directory: chmod it"
    owner = f"mode {stat.S_IMODE(found.st_mode):o}, owner uid {found.st_uid}"
    return f"no permission to read ({owner}): run forkmon as that user or chmod"


def file_print(name: str, found: os.stat_result) -> FilePrint:
    """Return what a stat result says about the file called `name` in its checkpoint."""
    return FilePrint(
        name, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    )


def fill(fd: int, offset: int, out: memoryview, path: Path) -> None:
    """Fill `out` from `offset` on, or raise: TornError where the file ends too early."""
    done = 0
    while done < len(out):
        got = _pread(fd, offset + done, out[done:], path)
        if got == 0:
            raise TornError(
                f"{safe(path.name)}: ended at byte {offset + done:,} while it was read; "
                "read again once it has settled"
            )
        done += got


def read_bytes(fd: int, offset: int, length: int, path: Path) -> bytes:
    """Return exactly `length` bytes from `offset` on."""
    buffer = bytearray(length)
    fill(fd, offset, memoryview(buffer), path)
    return bytes(buffer)


def _pread(fd: int, offset: int, out: memoryview, path: Path) -> int:
    for attempt in range(1, _EIO_ATTEMPTS + 1):
        try:
            return os.preadv(fd, [out], offset)
        except OSError as error:
            if error.errno != errno.EIO or attempt == _EIO_ATTEMPTS:
                raise explained(error, path) from None
    raise AssertionError  # the last attempt returns or raises
