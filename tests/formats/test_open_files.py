"""Reading: right bytes or a plain error, whatever happens to the files meanwhile."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from forkmon.errors import AccessError, FormatError, IncompleteError, TornError, VanishedError
from forkmon.formats import reading
from forkmon.formats.opening import open_regular
from forkmon.formats.reading import OpenFiles, listing
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]
VALUES = np.arange(5000, dtype=np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of one tensor `w` of 5,000 floats."""
    path = tmp_path / "step_1.safetensors"
    save_file({"w": VALUES}, path)
    return path


def test_any_range_of_elements_can_be_read(file: Path, ref_of: RefOf) -> None:
    """Chunks read in any order by many threads are the tensor's elements."""
    ref = ref_of(file)
    tensor = listing(ref).tensors[0]
    out = np.empty_like(VALUES)

    with OpenFiles(ref) as files, ThreadPoolExecutor(4) as pool:

        def read(first: int) -> None:
            files.read_into(tensor, first, memoryview(out)[first : first + 7])

        list(pool.map(read, range(0, 5000, 7)))
        files.verify()
    assert np.array_equal(out, VALUES)


def test_reading_past_the_tensor_is_refused(file: Path, ref_of: RefOf) -> None:
    """A chunk that would reach into the next tensor is a bug of the caller."""
    ref = ref_of(file)
    with OpenFiles(ref) as files, pytest.raises(ValueError, match="ends before"):
        files.read_into(listing(ref).tensors[0], 4999, memoryview(bytearray(8)))


def test_no_descriptor_stays_open(file: Path, ref_of: RefOf) -> None:
    """Files are closed after reading and after errors."""
    ref = ref_of(file)
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    with pytest.raises(RuntimeError), OpenFiles(ref):
        raise RuntimeError
    listing(ref)
    file.unlink()
    with pytest.raises(VanishedError), OpenFiles(ref):
        pass
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def read_all(ref: CheckpointRef, meanwhile: Callable[[], object]) -> None:
    """Read the first half, let something happen, read the rest and verify."""
    tensor = listing(ref).tensors[0]
    out = memoryview(bytearray(tensor.bytes // 2))
    with OpenFiles(ref) as files:
        files.read_into(tensor, 0, out)
        meanwhile()
        files.read_into(tensor, tensor.size // 2, out)
        files.verify()


def test_truncation_while_reading_is_torn(file: Path, ref_of: RefOf) -> None:
    """A file emptied in place gives a short read and TornError, never SIGBUS."""
    with pytest.raises(TornError, match="step_1"):
        read_all(ref_of(file), lambda: os.truncate(file, 0))


def test_overwriting_in_place_is_torn_even_with_its_times_restored(
    file: Path, ref_of: RefOf
) -> None:
    """Same size, same inode, same mtime: the change time still tells."""

    def overwrite() -> None:
        before = file.stat()
        raw = bytearray(file.read_bytes())
        raw[-4:] = b"\1\1\1\1"
        with file.open("r+b") as opened:
            opened.write(raw)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(TornError):
        read_all(ref_of(file), overwrite)


def test_deletion_while_reading_is_vanished(file: Path, ref_of: RefOf) -> None:
    """What rotation took away is reported as gone, not as damaged."""
    with pytest.raises(VanishedError, match="rotated away"):
        read_all(ref_of(file), file.unlink)


def test_another_file_renamed_over_is_torn(file: Path, ref_of: RefOf) -> None:
    """The descriptor still reads the old file, the path is another one: read again."""
    other = file.with_name("other")
    save_file({"w": VALUES + 1}, other)
    with pytest.raises(TornError):
        read_all(ref_of(file), lambda: other.replace(file))


def test_a_change_between_settling_and_opening_is_torn(file: Path, ref_of: RefOf) -> None:
    """Opening holds the file against its fingerprint."""
    ref = ref_of(file)
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(TornError):
        listing(ref)
    with pytest.raises(TornError), OpenFiles(ref):
        pass


def test_many_files_are_opened_for_each_read(
    tmp_path: Path, ref_of: RefOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of more files than descriptors is read just the same."""
    monkeypatch.setattr(reading, "KEPT_OPEN", 1)
    paths = [tmp_path / f"model-{i:05d}-of-00003.safetensors" for i in (1, 2, 3)]
    for i, path in enumerate(paths):
        save_file({f"t{i}": VALUES + i}, path)
    ref = ref_of(*paths, path=tmp_path)
    with OpenFiles(ref) as files:
        for i, tensor in enumerate(listing(ref).tensors):
            out = np.empty_like(VALUES)
            files.read_into(tensor, 0, memoryview(out))
            assert np.array_equal(out, VALUES + i)
        files.verify()
        paths[0].unlink()
        with pytest.raises(VanishedError):
            files.verify()


def test_a_cut_file_is_incomplete_and_a_long_one_is_wrong(file: Path, ref_of: RefOf) -> None:
    """The size equation holds exactly or the listing fails."""
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(IncompleteError, match="promises"):
        listing(ref_of(file))
    file.write_bytes(whole + b"\0")
    with pytest.raises(FormatError, match="after its last tensor"):
        listing(ref_of(file))


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def make_directory(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [make_fifo, make_socket, make_directory, make_link])
def test_what_is_no_regular_file_is_refused_without_blocking(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """FIFOs, sockets, directories and links to devices are never read."""
    path = tmp_path / "x"
    make(path)
    with pytest.raises(FormatError):
        open_regular(path)


def test_a_private_file_says_whose_it_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EACCES names mode, owner and what to do."""
    file.chmod(0o600)

    def refuse(path: object, flags: int) -> int:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(
        AccessError, match=r"no permission to read \(mode 600, owner uid \d+\): run"
    ):
        open_regular(file)


@pytest.mark.parametrize("size", [1, 10, 4096])
def test_short_reads_change_nothing(
    file: Path, ref_of: RefOf, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A file system that returns a few bytes at a time gives the same tensor."""
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, bufs, *at: real(fd, [bufs[0][:size]], *at))
    ref = ref_of(file)
    tensor = listing(ref).tensors[0]
    out = np.empty(100, np.float32)
    with OpenFiles(ref) as files:
        files.read_into(tensor, 17, memoryview(out))
    assert np.array_equal(out, VALUES[17:117])


@pytest.mark.parametrize(
    ("code", "times", "wanted"),
    [
        (errno.EIO, 2, None),
        (errno.EIO, 3, AccessError),
        (errno.ESTALE, 1, None),
        (errno.ESTALE, 9, VanishedError),
    ],
)
def test_errors_of_the_file_system_are_retried_then_named(
    file: Path,
    ref_of: RefOf,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    times: int,
    wanted: type[Exception] | None,
) -> None:
    """EIO is tried three times, a stale handle opened once more."""
    ref = ref_of(file)
    tensor = listing(ref).tensors[0]
    left = [times]
    real = os.preadv

    def failing(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(errno.EAGAIN, "not cached")
        if left[0]:
            left[0] -= 1
            raise OSError(code, "injected")
        return real(fd, buffers, offset)

    out = np.empty_like(VALUES)
    with OpenFiles(ref) as files:
        monkeypatch.setattr(os, "preadv", failing)
        if wanted is None:
            files.read_into(tensor, 0, memoryview(out))
            assert np.array_equal(out, VALUES)
            return
        with pytest.raises(wanted):
            files.read_into(tensor, 0, memoryview(out))
