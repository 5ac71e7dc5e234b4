"""Runs change under the eyes of their watcher: rotation, rewriting, vanishing, coming back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkmon.formats.proof import prove
from forkmon.runs import tracks

from .conftest import counted

if TYPE_CHECKING:
    from .conftest import Run


def test_rotation_is_noticed_without_a_word(run: Run) -> None:
    """A deleted checkpoint leaves `present`; nothing is broken."""
    old = run.trainer("checkpoint-1", age=100)
    run.trainer("checkpoint-2", age=100)
    assert run.steps() == [1, 2]
    shutil.rmtree(old)
    sight = run.poll(after=2.0)
    assert sight.present == {run.root / "checkpoint-2"}
    assert not sight.ready
    assert not sight.waiting
    assert not sight.broken
    assert not sight.ignored


def test_a_rewrite_in_place_is_ready_again_after_settling(run: Run) -> None:
    """The same step with other weights settles again, even with its times restored."""
    path = run.weights("step_1.safetensors", age=100)
    first = run.poll().ready[0]
    stamp = path.stat().st_mtime_ns
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    with path.open("r+b") as file:
        file.write(raw)
    os.utime(path, ns=(stamp, stamp))
    assert run.steps(after=1.0) == []
    again = run.poll(after=5.0).ready
    assert [ref.step for ref in again] == [1]
    assert again[0].fingerprint.digest != first.fingerprint.digest


def test_a_touched_index_or_marker_is_no_new_content(run: Run) -> None:
    """Only the weights make a checkpoint another one."""
    path = run.trainer("checkpoint-1", age=100)
    assert run.steps() == [1]
    run.write(path / "trainer_state.json", b"{}")
    assert run.steps(after=10.0) == []
    assert run.steps(after=10.0) == []


def test_a_requeued_checkpoint_settles_again_and_a_forgotten_one_is_new(run: Run) -> None:
    """Requeue asks for quiet first; forget trusts what is old at once."""
    path = run.weights("step_1.safetensors", age=100)
    assert run.steps() == [1]
    run.poller.requeue(path)
    assert run.steps() == []
    assert run.steps(after=5.0) == [1]
    run.poller.forget(path)
    assert run.steps() == [1]


def test_nothing_is_opened_when_nothing_changed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll over finished checkpoints neither opens files nor lists directories again."""
    for step in range(20):
        run.trainer(f"checkpoint-{step}", age=100)
    run.write(run.root / "pytorch_model.bin", b"x", age=100)
    run.now += 1e6
    run.poll()

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(os, "open", forbidden)
    monkeypatch.setattr(os, "scandir", forbidden)
    monkeypatch.setattr(tracks, "prove", forbidden)
    assert len(run.poll(after=2.0).present) == 20


def test_an_unchanged_run_costs_three_questions_a_checkpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 checkpoints of several files: for each its directory and its weights are asked about."""
    for step in range(200):
        run.trainer(f"checkpoint-{step}", age=100)
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
            run.write(run.root / f"checkpoint-{step}" / name, b"x", age=100)
    run.now += 1e6
    run.poll()
    calls = counted(monkeypatch)
    assert len(run.poll(after=2.0).present) == 200
    assert len(calls) <= 3 * 200 + 10


def test_a_file_that_goes_between_the_looks_is_no_error(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rotation between listing and opening is silent."""
    path = run.weights("step_1.safetensors", age=100)
    run.weights("step_2.safetensors", age=100)

    def late(file: Path) -> object:
        path.unlink(missing_ok=True)
        return prove(file)

    monkeypatch.setattr(tracks, "prove", late)
    sight = run.poll()
    assert [ref.step for ref in sight.ready] == [2]
    assert not sight.broken
    assert run.poll(after=2.0).present == {run.root / "step_2.safetensors"}


def test_a_missing_run_is_waited_for_and_taken_up_again(
    tmp_path: Path, make_run: Callable[[Path], Run]
) -> None:
    """Missing, made, deleted and made again: each is noticed by polling alone."""
    run = make_run(tmp_path / "later")
    assert run.poll().note == f"no such directory: {run.root}; waiting for it"
    run.weights("step_1.safetensors", age=100)
    assert run.steps() == [1]
    shutil.rmtree(run.root)
    gone = run.poll(after=2.0)
    assert gone.note.startswith("no such directory")
    assert not gone.present
    run.weights("step_1.safetensors", age=100)
    assert run.steps(after=2.0) == [1]


def test_a_run_that_cannot_be_looked_into_for_a_while_loses_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input/output error of the directory is not taken for deletion."""
    run.weights("step_1.safetensors", age=100)
    run.poll()

    def failing(_: object) -> None:
        raise OSError(5, "injected")

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", failing)
        run.weights("step_2.safetensors", age=100)
        sight = run.poll(after=2.0)
        assert "Input/output error" in sight.note
        assert sight.present == {run.root / "step_1.safetensors"}
    assert run.steps(after=2.0) == [2]


def test_an_empty_run_says_what_it_looks_for(run: Run) -> None:
    """The note names what would be found."""
    assert run.poll().note.startswith("empty: forkmon looks for checkpoint-N/")


def test_many_checkpoints_at_once_come_in_step_order(run: Run) -> None:
    """A burst is one sight, ordered by number, never by name."""
    for step in range(50):
        run.weights(f"step_{step}.safetensors", age=100)
    assert run.steps() == list(range(50))


def test_one_checkpoint_can_be_the_root(run: Run, make_run: Callable[[Path], Run]) -> None:
    """A file or a checkpoint directory is just that one checkpoint."""
    file = run.weights("step_7.safetensors", age=100)
    directory = run.trainer("checkpoint-9", age=100)
    unnamed = run.trainer("other", age=100)
    for root, step in ((file, 7), (directory, 9), (unnamed, 77)):
        sight = make_run(root).poll()
        assert [(ref.path, ref.step) for ref in sight.ready] == [(root, step)]
        assert sight.present == {root}


@pytest.mark.parametrize("kind", ["text", "fifo", "torch"])
def test_a_root_that_is_no_checkpoint_is_broken_with_its_reason(
    run: Run, make_run: Callable[[Path], Run], kind: str
) -> None:
    """Whatever file is given, the answer is one plain line."""
    path = run.root / "thing"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        run.write(path, b"hello, world" if kind == "text" else b"PK\x03\x04" + b"\0" * 60, age=400)
    sight = make_run(path).poll()
    assert len(sight.broken) == 1
    assert "\n" not in sight.broken[0].reason


@pytest.mark.parametrize("name", ["\x1b[2J-step_1", "a\udcff_step_1", "[@click=app.quit]step_1"])
def test_hostile_names_reach_no_text_unescaped(run: Run, name: str) -> None:
    """Names of files are shown escaped in every reason."""
    run.write(run.root / f"{name}.safetensors", b"\xff" * 40, age=1000)
    reason = run.poll().broken[0].reason
    assert reason.isprintable()
    reason.encode()
