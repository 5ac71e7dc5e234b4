"""The page cache after reading is the page cache before reading."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from forkmon.formats import page_cache, reading
from forkmon.formats.pacing import BURST_SECONDS, Pace, pace_of
from forkmon.formats.reading import OpenFiles, listing
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]
Raw = Callable[..., bytes]

SIZE = 8 << 20
CHUNK = 2 << 20
PAGE = page_cache.PAGE

HEADER_PAGES = 1
"""Pages of a file that reading its header leaves in memory."""

needs_linux = pytest.mark.skipif(not page_cache.CAN_TELL, reason="no preadv2 here")


def residency(path: Path) -> list[bool]:
    """Return for each page of a file whether it is in memory, as mincore tells."""
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        pages = -(-len(view) // PAGE)
        answer = (ctypes.c_ubyte * pages)()
        start = ctypes.c_char.from_buffer(view)
        address = ctypes.c_void_p(ctypes.addressof(start))
        failed = libc.mincore(address, ctypes.c_size_t(len(view)), answer)
        del start
    assert not failed, os.strerror(ctypes.get_errno())
    return [bool(page & 1) for page in answer]


def evict(path: Path) -> None:
    """Take a file out of the page cache; skip the test where the file system keeps it."""
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    if any(residency(path)):
        pytest.skip("this file system keeps files in memory")


def warm(path: Path, first: int, last: int) -> None:
    """Bring a range into the page cache and nothing beyond it, as a trainer might have."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    assert len(os.pread(fd, last - first, first)) == last - first
    os.close(fd)


@pytest.fixture
def file(tmp_path: Path, raw: Raw) -> Path:
    """Return a file of one large tensor, on the disk and out of the page cache."""
    path = tmp_path / "step_1.safetensors"
    data = np.random.default_rng(1).integers(0, 256, SIZE, np.uint8).tobytes()
    path.write_bytes(raw({"w": {"dtype": "U8", "shape": [SIZE], "data_offsets": [0, SIZE]}}, data))
    return path


def read_all(ref: CheckpointRef, *, keep_cached: bool = False) -> bytes:
    """Read the tensor in chunks on several threads, as the engine does."""
    tensor = listing(ref).tensors[0]
    out = bytearray(SIZE)
    with OpenFiles(ref, keep_cached=keep_cached) as files, ThreadPoolExecutor(2) as pool:

        def read(first: int) -> None:
            files.read_into(tensor, first, memoryview(out)[first : first + CHUNK])

        list(pool.map(read, range(0, SIZE, CHUNK)))
    return bytes(out)


@needs_linux
def test_what_was_not_cached_is_not_cached_afterwards(file: Path, ref_of: RefOf) -> None:
    """Reading a cold file leaves nothing of its data in the page cache."""
    evict(file)
    read = read_all(ref_of(file))
    assert sum(residency(file)[HEADER_PAGES:]) == 0
    assert read == file_tail(file)


@needs_linux
def test_what_was_cached_stays_cached(file: Path, ref_of: RefOf) -> None:
    """A checkpoint that the trainer just wrote stays in memory, every page."""
    file_tail(file)
    assert all(residency(file))
    read_all(ref_of(file))
    assert all(residency(file))


@needs_linux
@pytest.mark.parametrize("first", [0, 3 << 20, SIZE - (2 << 20)])
def test_of_a_half_cached_file_the_cached_half_stays(file: Path, ref_of: RefOf, first: int) -> None:
    """Warm ranges stay, cold ones go, wherever the border between them lies."""
    evict(file)
    last = first + (2 << 20)
    warm(file, first, last)
    before = residency(file)
    read_all(ref_of(file))
    after = residency(file)
    assert sum(before) == (2 << 20) // PAGE
    lost = sum(b and not a for b, a in zip(before, after, strict=True))
    gained = sum(a and not b for b, a in zip(before[HEADER_PAGES:], after[HEADER_PAGES:],
                                             strict=True))  # fmt: skip
    assert gained == 0
    # Of a unit that begins cold the rest counts as cold, so one that straddles the border is lost.
    assert lost <= page_cache.UNIT // PAGE


@needs_linux
def test_keep_cached_leaves_all_in_memory(file: Path, ref_of: RefOf) -> None:
    """A benchmark may ask for a warm file to stay warm, and for a cold one to become so."""
    evict(file)
    read_all(ref_of(file), keep_cached=True)
    assert all(residency(file)[HEADER_PAGES:])


@needs_linux
def test_what_is_read_again_soon_is_still_there(
    file: Path, ref_of: RefOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second pass over the same bytes costs no disk; beyond the lag the oldest pages go."""
    dropped: list[page_cache.Range] = []
    real = page_cache.drop

    def noting(fd: int, gone: page_cache.Range) -> None:
        dropped.append(gone)
        real(fd, gone)

    evict(file)
    monkeypatch.setattr(page_cache, "drop", noting)
    tensor = listing(ref_of(file)).tensors[0]
    out = memoryview(bytearray(CHUNK))
    with OpenFiles(ref_of(file)) as files:
        files._borrowed = page_cache.Borrowed(2 * CHUNK)
        for first in (0, 0, CHUNK, 0, CHUNK):
            files.read_into(tensor, first, out)
        assert not dropped
        files.read_into(tensor, 2 * CHUNK, out)
        assert len(dropped) == 1
        assert dropped[0][0] < CHUNK
    assert len(dropped) == 3
    assert sum(residency(file)[HEADER_PAGES:]) == 0


@needs_linux
@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_where_nobody_can_tell_the_cache_is_left_alone(
    file: Path, ref_of: RefOf, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Without RWF_NOWAIT the bytes are right and nothing is dropped."""
    real = os.preadv
    dropped: list[object] = []

    def cannot(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(code, "injected")
        return real(fd, buffers, offset)

    evict(file)
    monkeypatch.setattr(os, "preadv", cannot)
    monkeypatch.setattr(page_cache, "drop", lambda *found: dropped.append(found))
    assert read_all(ref_of(file)) == file_tail(file)
    assert not dropped


@needs_linux
def test_an_unreadable_cache_never_hides_the_bytes(
    file: Path, ref_of: RefOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe that fails for its own reasons is followed by a read as usual."""
    real = os.preadv

    def failing(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(errno.EIO, "injected")
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", failing)
    assert read_all(ref_of(file)) == file_tail(file)


@needs_linux
def test_many_files_are_left_as_they_were_too(
    file: Path, ref_of: RefOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a descriptor is opened for each read nothing stays behind."""
    monkeypatch.setattr(reading, "KEPT_OPEN", 0)
    evict(file)
    read_all(ref_of(file))
    assert sum(residency(file)[HEADER_PAGES:]) == 0


def file_tail(path: Path) -> bytes:
    """Return the tensor's bytes, by the plainest read there is."""
    return path.read_bytes()[-SIZE:]


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def moving() -> Clock:
    """Return a clock that stands still until somebody sleeps."""
    return Clock()


def test_the_mean_rate_is_the_one_asked_for(moving: Clock) -> None:
    """However the bytes are cut, after the burst they pass at the rate."""
    pace = Pace(1000.0, clock=lambda: moving.now, sleep=moving.sleep)
    began = moving.now
    for size in [10, 500, 3000, 1, 489] * 5:
        pace.take(size)
    assert moving.now - began == pytest.approx(20.0 - BURST_SECONDS)


def test_a_pause_saves_up_no_more_than_the_burst(moving: Clock) -> None:
    """After a long pause one burst passes at once, the rest waits."""
    pace = Pace(1000.0, clock=lambda: moving.now, sleep=moving.sleep)
    moving.now += 3600
    pace.take(int(1000 * BURST_SECONDS))
    assert moving.slept == []
    pace.take(1000)
    assert moving.slept == [pytest.approx(1.0)]


def test_threads_share_one_rate(moving: Clock) -> None:
    """Readers that arrive together book their time one behind the other."""
    waits: list[float] = []
    pace = Pace(1000.0, clock=lambda: moving.now, sleep=waits.append)
    for _ in range(4):
        pace.take(1000)
    assert waits == pytest.approx([1 - BURST_SECONDS + i for i in range(4)])


def test_reading_keeps_to_the_pace(file: Path, ref_of: RefOf, moving: Clock) -> None:
    """Every byte that is read passes the bucket."""
    pace = Pace(SIZE / 10, clock=lambda: moving.now, sleep=moving.sleep)
    ref = ref_of(file)
    tensor = listing(ref).tensors[0]
    out = memoryview(bytearray(CHUNK))
    with OpenFiles(ref, pace=pace) as files:
        for first in range(0, SIZE, CHUNK):
            files.read_into(tensor, first, out)
    assert sum(moving.slept) == pytest.approx(10 - BURST_SECONDS)


def test_no_cap_is_no_pace() -> None:
    """0 means as fast as it goes; a rate below 0 is a mistake of the caller."""
    assert pace_of(0) is None
    assert isinstance(pace_of(200), Pace)
    with pytest.raises(ValueError, match="above 0"):
        Pace(-1)
