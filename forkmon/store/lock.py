"""Who writes a store: a lock file beside it, and its take-over when the writer is gone.

The writer keeps the file locked with `flock`, which ends with the process, and says in it who it
is: that names the holder to others, and decides where `flock` is not to be had or does not reach
(another node of a cluster). Whoever holds the `flock` judges and rewrites the file in place, so
two contenders never both win; the file is only ever unlinked by the process that holds it.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from forkmon.errors import StoreError, StoreLockedError
from forkmon.text import safe

BEAT_LIMIT = 300.0
"""A holder on another host without a beat for so many seconds is gone."""

_MUTEX_LIMIT = 60.0
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL})
_RETRIES = 100


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, told apart from any later one with its number."""

    host: str
    boot: str
    pid: int
    started: str
    token: str


class Lock:
    """The right to write one store, until `release` or death."""

    def __init__(self, path: Path, fd: int, holder: Holder) -> None:
        self.path = path
        self.holder = holder
        self._fd = fd

    def beat(self) -> None:
        """Tell other hosts that this process lives; StoreLockedError if the lock was lost."""
        if self._fd < 0 or not _same_file(self._fd, self.path) or _read(self._fd) != self.holder:
            raise StoreLockedError(f"{safe(self.path)} was taken over by another process; reopen")
        os.utime(self._fd)

    def release(self) -> None:
        """Let the next writer in; harmless when called twice or after the lock was lost."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        atexit.unregister(self.release)
        with suppress(OSError):
            if _same_file(fd, self.path) and _read(fd) == self.holder:
                self.path.unlink()
        os.close(fd)


def lock_path(store: Path) -> Path:
    """Return the lock file of a store."""
    return store.with_name(store.name + ".lock")


def acquire(store: Path) -> Lock:
    """Return the lock of a store, or raise StoreLockedError with the name of its holder."""
    path = lock_path(store)
    for _ in range(_RETRIES):
        fd = _open(path)
        try:
            lock = _take(path, fd)
        except BaseException:
            os.close(fd)
            raise
        if lock is not None:
            atexit.register(lock.release)  # a signal may end us before our caller holds it
            return lock
        os.close(fd)  # released and unlinked between our open and our flock
    raise StoreLockedError(f"{safe(path)} changes hands again and again; try again")


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(
            f"cannot lock the store: {safe(path)}: {error.strerror}; "
            "make its directory writable, or choose another --store FILE"
        ) from error


def _take(path: Path, fd: int) -> Lock | None:
    with _sole_judge(path, fd):
        if not _same_file(fd, path):
            return None
        before = _read(fd)
        if before is not None and not _gone(before, fd, path):
            raise _refusal(before)
        holder = _myself()
        _write(fd, holder)
        return Lock(path, fd, holder)


@contextmanager
def _sole_judge(path: Path, fd: int) -> Generator[None]:
    """Hold `flock` on the file from here on, or, where there is none, a mutex file for now."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _refusal(_read(fd)) from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise StoreError(f"cannot lock the store: {safe(path)}: {error.strerror}") from error
        with _mutex(path.with_name(path.name + ".take")):
            yield
        return
    yield


@contextmanager
def _mutex(path: Path) -> Generator[None]:
    with suppress(FileNotFoundError):
        if _server_now(path) - path.stat().st_mtime > _MUTEX_LIMIT:
            path.unlink()  # its owner died in the few microseconds that it is held
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise _refusal(None) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _refusal(holder: Holder | None) -> StoreLockedError:
    who = f"process {holder.pid} on {safe(holder.host)}" if holder else "another process"
    return StoreLockedError(f"{who} writes this store; opened as a viewer")


def _gone(holder: Holder, fd: int, path: Path) -> bool:
    me = _myself()
    if holder.host != me.host:
        return _server_now(path) - os.fstat(fd).st_mtime > BEAT_LIMIT
    return holder.boot != me.boot or started(holder.pid) != holder.started


def _server_now(path: Path) -> float:
    """Return the time by the clock of the file server, which also stamps the beats."""
    with tempfile.TemporaryFile(dir=path.parent) as probe:
        return os.fstat(probe.fileno()).st_mtime


def started(pid: int) -> str | None:
    """Return when a process began, in the kernel's words; None if it is dead or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "" if _no_proc_but_alive(pid) else None
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in "ZX" else fields[19]


def _no_proc_but_alive(pid: int) -> bool:
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _myself() -> Holder:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    pid = os.getpid()
    return Holder(os.uname().nodename, boot, pid, started(pid) or "", os.urandom(16).hex())


def _same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


def _read(fd: int) -> Holder | None:
    """Return who the file names; None for what is no answer (empty, or cut by a crash)."""
    try:
        body = json.loads(os.pread(fd, 4096, 0))
        return Holder(
            host=str(body["host"]),
            boot=str(body["boot"]),
            pid=int(body["pid"]),
            started=str(body["started"]),
            token=str(body["token"]),
        )
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _write(fd: int, holder: Holder) -> None:
    body = json.dumps(asdict(holder)).encode("ascii")
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, body, 0)
    except OSError as error:
        raise StoreError(f"cannot lock the store: {error.strerror}; free some space") from error
