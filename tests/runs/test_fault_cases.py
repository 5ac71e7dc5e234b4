"""What goes wrong on real disks and in real trainers, each fault made by hand (by its number)."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from forkmon.errors import CheckpointError, TornError
from forkmon.formats.reading import OpenFiles, listing
from forkmon.runs.filesystem import FileSystem
from forkmon.runs.refs import CheckpointRef

from .conftest import WEIGHTS

if TYPE_CHECKING:
    from .conftest import Run

NFS = FileSystem("nfs4", network=True)
ONES = save({"w": np.ones(64, np.float32)})
TWOS = save({"w": np.full(64, 2, np.float32)})


def ready(run: Run) -> CheckpointRef:
    refs: tuple[CheckpointRef, ...] = run.poll().ready
    (ref,) = refs
    return ref


def read(ref: CheckpointRef, between: Callable[[], object]) -> bytes:
    """Read the first tensor in two halves, with something happening between them."""
    tensor = listing(ref).tensors[0]
    out = bytearray(tensor.bytes)
    half = len(out) // 2
    with OpenFiles(ref) as files:
        files.read_into(tensor, 0, memoryview(out)[:half])
        between()
        files.read_into(tensor, half // 4, memoryview(out)[half:])
        files.verify()
    return bytes(out)


@pytest.mark.parametrize("suffix", ["pt", "ckpt"])
def test_no_prefix_of_a_growing_torch_file_is_ever_ready(run: Run, suffix: str) -> None:
    """Case 1: cut anywhere, for ever so long, it waits or is broken; whole, it is ready."""
    path = run.torch(f"step_10.{suffix}")
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 97), len(whole) - 1}:
        run.write(path, whole[:length])
        for _ in range(3):
            sight = run.poll(after=20.0)
            assert not sight.ready, length
            assert path in sight.present
    run.write(path, whole)
    assert run.steps() == []
    assert run.steps(after=5.1) == [10]


def test_a_torch_file_made_at_its_full_length_is_not_ready_before_it_is_filled(run: Run) -> None:
    """Case 2: zeros of the right length are no checkpoint, however quiet they are."""
    path = run.torch("step_10.pt")
    whole = path.read_bytes()
    for done in (0, 64, len(whole) // 2):
        run.write(path, whole[:done] + b"\0" * (len(whole) - done))
        assert not run.poll().ready
        assert not run.poll(after=6.0).ready
    run.write(path, whole)
    run.poll()
    assert run.steps(after=5.0) == [10]


@pytest.mark.parametrize("name", ["step_1.pt", "step_1.ckpt", "step_1/pytorch_model.bin"])
def test_an_empty_torch_file_waits(run: Run, name: str) -> None:
    """Case 3: nothing in it yet; five minutes later that is said, and it is forgiven."""
    path = run.write(run.root / name, b"")
    sight = run.poll()
    assert not sight.ready
    assert [waiting.path for waiting in sight.waiting] == [
        run.root / name.split("/", maxsplit=1)[0]
    ]
    assert len(run.poll(after=301.0).broken) == 1
    run.torch(name)
    run.poll()
    assert run.steps(after=5.0) == [1]
    assert path.is_file()


def test_what_is_renamed_over_while_it_is_read_is_read_again(run: Run) -> None:
    """Case 6: the old file is read to its end, discarded, and the new one is ready."""
    path = run.write(run.root / "step_1.safetensors", ONES, age=100)
    new = run.write(run.root.parent / "new", TWOS, age=90)
    ref = ready(run)
    with pytest.raises(TornError):
        read(ref, lambda: new.replace(path))
    run.poller.requeue(path)
    run.poll()
    (again,) = run.poll(after=5.0).ready
    assert again.fingerprint.files[0].inode != ref.fingerprint.files[0].inode


@pytest.mark.parametrize("torch_file", [False, True])
def test_what_is_truncated_while_it_is_read_is_read_again(run: Run, torch_file: bool) -> None:
    """Case 7: an overwrite in place ends the read with a reason, never with a signal."""
    if torch_file:
        path = run.torch("ckpt.pt", {"model": {"w": torch.ones(64)}, "iter_num": 1}, age=100)
    else:
        path = run.write(run.root / "step_1.safetensors", ONES, age=100)
    whole = path.read_bytes()
    ref = ready(run)
    with pytest.raises(TornError):
        read(ref, lambda: path.write_bytes(b""))
    run.poller.requeue(path)
    assert not run.poll(after=5.0).ready
    path.write_bytes(whole)
    run.touch(path)
    run.poll()
    assert run.steps(after=5.0) == [1]


def test_bytes_appended_after_it_was_accepted_are_a_change(run: Run) -> None:
    """Case 9: what grows again is looked at again, and named once it has stayed so."""
    path = run.write(run.root / "step_1.safetensors", ONES, age=100)
    assert ready(run).step == 1
    run.write(path, ONES + b"more")
    assert run.poll(after=1.0).waiting
    assert "bytes after its last tensor" in run.poll(after=61.0).broken[0].reason


def test_what_is_deleted_while_it_is_read_is_gone_without_a_word(run: Run) -> None:
    """Case 10: the reader is told that it vanished; the next look has nothing to say."""
    path = run.write(run.root / "step_1.safetensors", ONES, age=100)
    ref = ready(run)
    with pytest.raises(CheckpointError, match="rotated away"):
        read(ref, path.unlink)
    sight = run.poll(after=2.0)
    assert not sight.present
    assert not sight.broken
    assert not sight.waiting


def failing(real: Callable[..., object], where: Path, number: int) -> Callable[..., object]:
    """Return a system call that fails for one path."""

    def call(path: object, *args: object, **kwargs: object) -> object:
        if str(path) == str(where):
            raise OSError(number, os.strerror(number))
        return real(path, *args, **kwargs)

    return call


def test_a_stale_handle_means_gone_and_may_come_back(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 12: ESTALE is how a network file system says that a file was replaced or deleted."""
    path = run.write(run.root / "step_1.safetensors", ONES, age=100)
    assert ready(run).step == 1
    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", failing(os.lstat, path, errno.ESTALE))
        patch.setattr(Path, "lstat", failing(Path.lstat, path, errno.ESTALE))
        sight = run.poll(after=2.0)
        assert not sight.present
        assert not sight.broken
    assert run.steps(after=2.0) == [1]


@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT, errno.EACCES])
def test_a_file_that_cannot_be_looked_at_for_a_while_is_not_taken_for_deleted(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Case 13: an error of the disk keeps a checkpoint in the history and says what it is."""
    path = run.write(run.root / "step_1.safetensors", ONES, age=100)
    assert ready(run).step == 1
    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", failing(Path.lstat, path, number))
        sight = run.poll(after=2.0)
        assert sight.present == {path}
        assert len(sight.waiting) == 1
        assert not sight.broken
    assert not run.poll(after=2.0).ready, "nothing changed"


def test_an_error_in_the_middle_of_a_file_is_told_and_healed_by_a_change(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 13: EIO is tried three times, then it is the checkpoint's reason."""
    path = run.write(run.root / "step_1.safetensors", ONES)
    calls: list[int] = []

    def broken(fd: int, buffers: object, offset: int) -> int:
        calls.append(offset)
        raise OSError(errno.EIO, "injected")

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", broken)
        sight = run.poll(after=61.0)
        assert len(calls) >= 3
        said = [*sight.broken, *sight.waiting, *sight.ignored]
        assert any("Input/output error" in one.reason for one in said)
        assert not sight.ready
    run.touch(path)
    run.poll()
    assert run.steps(after=5.0) == [1]


@pytest.mark.parametrize("name", ["step_1.safetensors", "step_1.pt"])
def test_reads_that_return_a_few_bytes_only_change_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Case 14: short reads everywhere, and the same checkpoint."""
    if name.endswith("pt"):
        run.torch(name, age=100)
    else:
        run.write(run.root / name, ONES, age=100)
    real = os.preadv

    def short(fd: int, buffers: list[memoryview], offset: int, *flags: int) -> int:
        return real(fd, [memoryview(buffers[0])[:7]], offset, *flags)

    wanted = read(run.new_poller(run.root).poll().ready[0], lambda: None)
    monkeypatch.setattr(os, "preadv", short)
    assert read(ready(run), lambda: None) == wanted


def test_a_save_that_died_is_named_after_half_an_hour(run: Run) -> None:
    """Case 19: chunks without their metadata wait, for a trainer may be silent; then it is told."""
    run.write(run.root / "step-5/__0_0.distcp", b"PK\x03\x04" + b"\0" * 60)
    for _ in range(3):
        sight = run.poll(after=590.0)
        assert not sight.ready
        assert not sight.broken
        assert ".metadata" in sight.waiting[0].reason
    (broken,) = run.poll(after=60.0).broken
    assert "incomplete" in broken.reason
    assert broken.step == 5
    assert run.poll(after=60.0).present == {run.root / "step-5"}


def test_a_pickle_in_the_run_is_never_executed(run: Run) -> None:
    """Case 28: weights, random states, metadata and side files run nothing, by audit hook."""
    canary = run.root.parent / "canary"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {canary}",)

    run.torch("step_1.pt", Evil(), age=100)
    run.torch("step_2.ckpt", {"model": Evil(), "state": WEIGHTS}, age=100)
    run.weights("checkpoints/checkpoint_1/model.safetensors", age=100)
    run.torch("checkpoints/checkpoint_1/random_states_0.pkl", {"step": Evil()}, age=100)
    metadata = f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()
    run.write(run.root / "step-7/.metadata", metadata, age=100)
    run.write(run.root / "step-7/__0_0.distcp", b"PK\x03\x04" + b"\0" * 60, age=100)
    seen: list[str] = []
    watching = True

    def hook(event: str, args: tuple[object, ...]) -> None:
        if watching and event in {
            "os.system",
            "subprocess.Popen",
            "pickle.find_class",
            "exec",
            "compile",
        }:
            seen.append(event)

    sys.addaudithook(hook)
    for _ in range(3):
        run.poll(after=400.0)
    watching = False  # a hook stays for as long as the process
    assert not seen
    assert not canary.exists()


def test_links_round_in_circles_end(run: Run) -> None:
    """Case 33: directories that hold each other through links are looked into once."""
    (run.root / "checkpoints").mkdir()
    (run.root / "checkpoints/ckpt").symlink_to("../checkpoints")
    (run.root / "a").mkdir()
    (run.root / "a/b").symlink_to("../a")
    run.torch("checkpoints/step_1.pt", age=100)
    (run.root / "checkpoints/step_2").symlink_to("../checkpoints")
    assert run.steps() == [1]


@pytest.mark.parametrize("name", ["step_1.pt", "ckpt.pt", "step_2/pytorch_model.bin"])
def test_a_pipe_called_like_weights_is_passed_by(run: Run, name: str) -> None:
    """Case 34: what is no regular file is refused without waiting for it."""
    run.torch("step_9.pt", age=100)
    path = run.root / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    sight = run.poll()
    assert [ref.step for ref in sight.ready] == [9]
    said = [*sight.ignored, *sight.broken, *sight.waiting]
    assert any("not a regular file" in one.reason for one in said)


@pytest.mark.parametrize("name", ["\x1b[2J", "a\udcff", "[@click=app.quit]", "\u202egpj", "\n"])
def test_no_name_of_a_directory_reaches_a_text_unescaped(run: Run, name: str) -> None:
    """Case 42: names of directories, links and side files are shown escaped in every reason."""
    run.write(run.root / f"{name}_step_1.pt", b"PK\x03\x04" + b"\xff" * 40, age=1000)
    run.write(run.root / f"{name}step-5/__0_0.distcp", b"x", age=4000)
    run.write(run.root / f"{name}-unfinished", b"")
    run.torch(f"{name}.ckpt", age=1000)
    run.torch(f"best{name}.pt", age=1000)
    run.torch(f"last{name}.pt", age=1000)
    sight = run.poll()
    texts = [one.reason for one in (*sight.waiting, *sight.ignored, *sight.broken)]
    assert texts
    for text in (*texts, sight.note):
        assert text.isprintable()
        text.encode()


def test_a_network_file_system_is_given_more_time(run: Run) -> None:
    """Windows widen where other machines write: markers three seconds, the rest more than twice."""
    poller = run.new_poller(run.root, file_system=NFS)
    assert (poller.interval, poller.settle) == (5.0, 12.5)
    run.trainer("checkpoint-1")
    run.torch("step_2.pt")
    steps: list[list[int]] = []
    for after in (0.0, 2.0, 2.0, 8.0, 1.0):
        run.now += after
        run.ticks += after
        steps.append([ref.step for ref in poller.poll().ready])
    assert steps == [[], [], [1], [], [2]]


def test_an_attribute_cache_that_lies_is_found_out_by_opening(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that answers from its cache shows the old state until the file is opened."""
    path = run.write(run.root / "step_1.safetensors", ONES, age=100)
    cached = path.lstat()
    run.write(path, TWOS, age=80)
    poller = run.new_poller(run.root, file_system=NFS)
    real = Path.lstat
    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", lambda self: cached if self == path else real(self))
        sight = poller.poll()
        assert not sight.ready
        assert "newer state" in sight.waiting[0].reason
    run.ticks += 5.0
    assert not poller.poll().ready
    run.ticks += 12.5
    assert [ref.fingerprint.files[0].mtime_ns for ref in poller.poll().ready] == [
        path.stat().st_mtime_ns
    ]


def test_a_directory_that_another_machine_cannot_see_yet_is_waited_for(run: Run) -> None:
    """The index lists shards of a rank whose files show up late: said by name, then complete."""
    where = run.root / "checkpoint-3"
    run.write(where / "model-00001-of-00002.safetensors", save({"a": np.ones(3)}))
    late = save({"b": np.ones(3)})
    weight_map = (
        '{"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}'
    )
    index = where / "model.safetensors.index.json"
    run.write(index, f'{{"weight_map": {weight_map}}}'.encode())
    assert "model-00002" in run.poll(after=100.0).waiting[0].reason
    run.write(where / "model-00002-of-00002.safetensors", late, age=100.0)
    assert not run.poll().ready
    assert [len(ref.files) for ref in run.poll(after=5.0).ready] == [2]
