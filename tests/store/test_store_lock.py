"""One writer at a time: refusal, take-over, and a race of real processes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from forkmon.errors import StoreLockedError
from forkmon.store.lock import BEAT_LIMIT, Holder, Lock, acquire, lock_path, started
from forkmon.store.writer import Writer

Start = Callable[..., "subprocess.Popen[str]"]

HOLD = """
import sys
from pathlib import Path
from forkmon.store.lock import acquire
from forkmon.errors import StoreLockedError
sys.stdin.readline()
try:
    lock = acquire(Path(sys.argv[1]))
    print("won", flush=True)
except StoreLockedError as error:
    print(error, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Return the path of a store that need not exist to be locked."""
    return tmp_path / "run.db"


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def left_by(db: Path, **changes: object) -> Holder:
    """Leave a lock file as a process would that is not this one."""
    lock = acquire(db)
    holder = replace(lock.holder, **changes)  # type: ignore[arg-type]
    lock.release()
    lock_path(db).write_text(json.dumps(asdict(holder)))
    return holder


def test_a_second_process_is_refused_by_name(db: Path, start: Start) -> None:
    """The refusal names the holder; after release the next one gets the lock."""
    process = start(HOLD, db)
    with_lock = acquire(db)
    host = os.uname().nodename
    refused = answer(process)
    assert refused == f"process {os.getpid()} on {host} writes this store; opened as a viewer"
    with_lock.beat()
    with_lock.release()
    with_lock.release()
    assert not lock_path(db).exists()
    assert answer(start(HOLD, db)) == "won"


def test_a_second_writer_in_one_process_is_refused(
    writer: Writer, open_writer: Callable[[], Writer]
) -> None:
    """A writer holds its lock until it is closed."""
    with pytest.raises(StoreLockedError):
        open_writer()
    writer.beat()
    writer.close()
    open_writer().close()


def test_a_killed_holder_is_followed(db: Path, start: Start) -> None:
    """After SIGKILL the next process takes over at once, also before anybody has reaped it."""
    process = start(HOLD, db)
    assert answer(process) == "won"
    with pytest.raises(StoreLockedError, match=f"process {process.pid} on"):
        acquire(db)
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    acquire(db).release()


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({}, False),
        ({"boot": "another boot"}, True),
        ({"started": "1"}, True),
        ({"pid": 2**22 + 1}, True),
        ({"host": "node17"}, False),
    ],
    ids=["alive", "stale boot", "pid reused", "dead", "other host"],
)
def test_what_the_file_says_decides(db: Path, changes: dict[str, object], taken: bool) -> None:
    """Without a flock the holder's identity tells whether it is gone."""
    left_by(db, **changes)
    if taken:
        acquire(db).release()
        return
    with pytest.raises(StoreLockedError, match="writes this store"):
        acquire(db)


def test_another_host_is_gone_when_its_beat_stops(db: Path) -> None:
    """Five minutes without a beat, by the file server's clock, end a foreign lock."""
    left_by(db, host="node17")
    now = lock_path(db).stat().st_mtime
    os.utime(lock_path(db), (now, now - BEAT_LIMIT + 30))
    with pytest.raises(StoreLockedError, match="node17"):
        acquire(db)
    os.utime(lock_path(db), (now, now - BEAT_LIMIT - 30))
    acquire(db).release()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "\0" * 50])
def test_a_torn_lock_file_belongs_to_nobody(db: Path, content: str) -> None:
    """A crash between creation and writing leaves no lock."""
    lock_path(db).write_text(content)
    acquire(db).release()


def test_a_lost_lock_is_noticed_and_not_removed(db: Path) -> None:
    """Who was taken over learns it at the next beat, and leaves the new holder's file alone."""
    lock = acquire(db)
    other = replace(lock.holder, token="other")  # noqa: S106 (a name, no secret)
    lock_path(db).write_text(json.dumps(asdict(other)))
    with pytest.raises(StoreLockedError, match="taken over"):
        lock.beat()
    lock.release()
    assert lock_path(db).exists()


def test_a_beat_is_seen_by_others(db: Path) -> None:
    """A beat renews the time of the lock file."""
    lock = acquire(db)
    os.utime(lock_path(db), (0, 0))
    lock.beat()
    assert lock_path(db).stat().st_mtime > 0
    lock.release()


@pytest.mark.parametrize("stale", [True, False], ids=["stale lock", "no lock"])
def test_of_many_contenders_one_wins(db: Path, start: Start, stale: bool) -> None:
    """However the race goes, there is one winner, and it is the one the file names."""
    for _ in range(3):
        if stale:
            left_by(db, boot="another boot")
        processes = [start(HOLD, db) for _ in range(3)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
        for process in processes:
            assert process.stdin is not None
            process.stdin.flush()
        answers = [p.stdout.readline().strip() for p in processes if p.stdout is not None]
        assert answers.count("won") == 1
        winner = processes[answers.index("won")]
        assert json.loads(lock_path(db).read_text())["pid"] == winner.pid
        for process in processes:
            process.kill()
            process.wait()
        lock_path(db).unlink()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_without_flock_the_file_decides(
    db: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file system has no flock, holders are told apart and old mutexes end."""

    def refuse(_fd: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock: Lock = acquire(db)
    with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
        acquire(db)
    lock.release()
    mutex = db.with_name("run.db.lock.take")
    mutex.touch()
    with pytest.raises(StoreLockedError, match="another process"):
        acquire(db)
    os.utime(mutex, (0, 0))
    acquire(db).release()
    assert not mutex.exists()


def test_the_dead_have_no_start(start: Start) -> None:
    """A live process has a start time, a zombie and a reaped one have none."""
    process = start(HOLD, "x")
    assert started(process.pid)
    assert started(process.pid) == started(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert started(process.pid) is None
    process.wait()
    assert started(process.pid) is None
