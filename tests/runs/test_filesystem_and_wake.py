"""File systems are told apart, and events wake a wait but are never needed."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from forkmon.runs import wake
from forkmon.runs.filesystem import UNKNOWN, FileSystem, kind
from forkmon.runs.wake import Wake

MOUNTS = r"""
21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
22 21 0:5 / /scratch rw - lustre mds:/x rw
23 22 0:6 / /scratch/local\040disk rw - tmpfs tmpfs rw
24 21 0:7 / /home rw - ext4 /dev/sdb rw
25 24 0:8 / /home rw - nfs4 srv:/home rw
26 21 0:9 / /mnt/ssh rw - fuse.sshfs me@x rw
27 21 0:10 / /odd rw - newfs none rw
a broken line
"""


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/somewhere/run", FileSystem("ext4", network=False)),
        ("/scratch/run", FileSystem("lustre", network=True)),
        ("/scratch/local disk/run", FileSystem("tmpfs", network=False)),
        ("/scratcher", FileSystem("ext4", network=False)),
        ("/home/me", FileSystem("nfs4", network=True)),
        ("/mnt/ssh/run", FileSystem("fuse.sshfs", network=True)),
        ("/odd", FileSystem("newfs", network=True)),
    ],
)
def test_the_longest_and_latest_mount_decides(
    tmp_path: Path, path: str, wanted: FileSystem
) -> None:
    """Nested, hidden and unknown mounts are told by the kernel's own table."""
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    assert kind(Path(path), table) == wanted


def test_without_a_mount_table_a_path_counts_as_network(tmp_path: Path) -> None:
    """What is not known is treated with care."""
    assert kind(tmp_path, tmp_path / "none") == UNKNOWN


@pytest.mark.parametrize("how", ["no directory", "network", "no watchdog"])
def test_waiting_works_without_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Without a local directory or watchdog a wait just ends by its time."""
    root = tmp_path / "none" if how == "no directory" else tmp_path
    monkeypatch.setattr(wake, "kind", lambda _: FileSystem("x", network=how == "network"))
    if how == "no watchdog":
        monkeypatch.setitem(sys.modules, "watchdog.events", None)
    waking = Wake(root)
    assert not waking.watching
    waking.wait(0.001)
    waking.close()


def test_an_event_ends_a_wait_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file wakes the poller; reading does not."""
    monkeypatch.setattr(wake, "kind", lambda _: FileSystem("tmpfs", network=False))
    old = tmp_path / "old"
    old.write_bytes(b"x")
    waking = Wake(tmp_path)
    try:
        assert waking.watching
        waking.wait(0.05)  # what watching itself stirred up
        old.read_bytes()
        begun = time.monotonic()
        waking.wait(0.2)
        assert time.monotonic() - begun >= 0.2
        (tmp_path / "new").write_bytes(b"x")
        begun = time.monotonic()
        waking.wait(30.0)
        assert time.monotonic() - begun < 20.0
    finally:
        waking.close()


def test_a_wait_can_be_interrupted(tmp_path: Path) -> None:
    """Another thread ends a wait at once."""
    waking = Wake(tmp_path / "none")
    threading.Timer(0.01, waking.interrupt).start()
    begun = time.monotonic()
    waking.wait(30.0)
    assert time.monotonic() - begun < 20.0
