"""Where checkpoints may lie, and what is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Run


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step100.safetensors", 100),
        ("model_step_100.safetensors", 100),
        ("model_000100.safetensors", 100),
        ("step-100/model.safetensors", 100),
        ("global_step100/model.safetensors", 100),
        ("iter_0000100/model.safetensors", 100),
        ("epoch_3/weights.safetensors", 3),
        ("1000/model.safetensors", 1000),
        ("checkpoint-12/adapter_model.safetensors", 12),
        ("checkpoints/checkpoint-12/model.safetensors", 12),
        ("checkpoints/step_5.safetensors", 5),
        ("output/checkpoint-12/model.safetensors", 12),
    ],
)
def test_known_layouts_are_found(run: Run, name: str, step: int) -> None:
    """Files and directories of the usual trainers give their step."""
    path = run.weights(name, age=100)
    sight = run.poll()
    assert [(ref.step, ref.files) for ref in sight.ready] == [(step, (path,))]
    assert not sight.ignored


def test_the_final_model_is_an_alias_unless_it_is_the_only_one(run: Run) -> None:
    """A model at the root of a run with checkpoints is named, not read."""
    final = run.weights("model.safetensors", age=100, step=40)
    assert run.steps() == [40]
    run.trainer("checkpoint-10", age=100)
    sight = run.poll(after=2.0)
    assert [ref.step for ref in sight.ready] == [10]
    assert [ignored.path for ignored in sight.ignored] == [final]
    assert sight.present == {run.root / "checkpoint-10"}


def test_links_and_hard_links_are_the_checkpoint_they_lead_to(run: Run) -> None:
    """latest, last and best are reported once, as what they are."""
    target = run.trainer("checkpoint-10", age=100)
    file = run.weights("step_20.safetensors", age=100)
    (run.root / "latest").symlink_to("checkpoint-10")
    (run.root / "step_30").symlink_to(target)
    (run.root / "last.safetensors").symlink_to(file.name)
    os.link(file, run.root / "best.safetensors")
    sight = run.poll()
    assert sorted(ref.path for ref in sight.ready) == [target, file]
    assert {i.path.name for i in sight.ignored} == {
        "latest", "step_30", "last.safetensors", "best.safetensors",
    }  # fmt: skip


def test_links_out_of_the_run_and_in_circles_are_not_followed(run: Run) -> None:
    """Only links inside the run lead anywhere."""
    outside = run.root.parent / "outside"
    run.weights("../outside/model.safetensors", age=100)
    (run.root / "step_1").symlink_to(outside)
    (run.root / "step_2.safetensors").symlink_to(outside / "model.safetensors")
    (run.root / "step_3").symlink_to("step_3")
    (run.root / "step_4").symlink_to(".")
    (run.root / "step_5.safetensors").symlink_to("/dev/zero")
    (run.root / "step_6").symlink_to("/")
    (run.root / "step_7").symlink_to("nowhere")
    sight = run.poll()
    assert not sight.ready
    assert not sight.waiting
    assert not sight.broken
    assert not sight.present
    assert len(sight.ignored) == 7


def test_a_hub_cache_is_followed_into_its_blobs(run: Run) -> None:
    """Snapshots of the hub's cache are links to blobs beside them."""
    blob = run.weights("blobs/abc", age=100)
    snapshot = run.root / "snapshots" / "0f1e"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    ready = run.new_poller(snapshot).poll().ready
    assert [(ref.path, ref.files) for ref in ready] == [(snapshot, (blob,))]


def test_temporary_names_are_ignored(run: Run) -> None:
    """Staged saves and orphans of killed writers are no checkpoints."""
    run.weights("tmp-checkpoint-10/model.safetensors", age=100)
    run.weights("step_3.safetensors.tmp", age=100)
    run.weights(".tmpAbC123", age=100)
    run.weights(".nfs000001", age=100)
    sight = run.poll()
    assert not sight.ready
    assert not sight.waiting
    assert not sight.broken
    assert {i.path.name for i in sight.ignored} == {
        "tmp-checkpoint-10", "step_3.safetensors.tmp", ".tmpAbC123",
    }  # fmt: skip


def test_what_is_not_read_is_named_with_its_kind(run: Run) -> None:
    """Formats that are not read say what they are; helpers beside weights do not."""
    run.write(run.root / "checkpoint-5/model.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 50)
    run.write(run.root / "weights.msgpack", b"\x81" + b"\0" * 50)
    run.trainer("checkpoint-7", age=100)
    run.write(run.root / "checkpoint-7" / "optimizer.pt", b"PK\x03\x04")
    (run.root / "checkpoint-8").mkdir()
    sight = run.poll()
    why = {i.path.name: i.reason for i in sight.ignored}
    assert "HDF5" in why["checkpoint-5"]
    assert "(model.h5)" in why["checkpoint-5"]
    assert "no known checkpoint format" in why["weights.msgpack"]
    assert why["checkpoint-8"] == "no weight files in it yet"
    assert len(why) == 3
    assert [ref.step for ref in sight.ready] == [7]


def test_fifos_and_directories_named_like_weights_are_passed_by(run: Run) -> None:
    """What is no regular file is not waited for."""
    os.mkfifo(run.root / "step_1.safetensors")
    (run.root / "step_2.safetensors").mkdir()
    run.weights("step_3.safetensors", age=100)
    sight = run.poll()
    assert [ref.step for ref in sight.ready] == [3]
    assert {i.path.name for i in sight.ignored} == {"step_1.safetensors", "step_2.safetensors"}


def test_optimizer_state_is_no_second_version_of_a_step(run: Run) -> None:
    """Files of the same step that hold no weights are named."""
    run.weights("model_step_5.safetensors", age=100)
    run.weights("optimizer_step_5.safetensors", age=100)
    run.weights("checkpoint-6/model.safetensors", age=100)
    run.weights("checkpoint-6/optimizer.safetensors", age=100)
    sight = run.poll()
    assert [(ref.step, len(ref.files)) for ref in sight.ready] == [(5, 1), (6, 1)]


def test_files_without_a_step_are_told_what_to_do(run: Run) -> None:
    """One file without a step is step 0; of several, each says that it has none."""
    run.weights("encoder.safetensors", age=100)
    assert run.steps() == [0]
    run.weights("decoder.safetensors", age=100)
    sight = run.poll(after=2.0)
    assert not sight.ready
    assert "rename it to step_N" in sight.ignored[0].reason


def test_a_directory_of_runs_asks_which(run: Run) -> None:
    """Two runs in one directory are never mixed into one history."""
    run.trainer("alpha/checkpoint-1", age=100)
    run.trainer("beta/checkpoint-1", age=100)
    sight = run.poll()
    assert not sight.ready
    assert "2 runs (alpha, beta)" in sight.note


def test_a_directory_without_permission_is_broken(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed checkpoint directory has its reason; the others go on."""
    closed = run.trainer("checkpoint-1", age=100)
    run.trainer("checkpoint-2", age=100)
    real = os.scandir

    def refuse(path: os.PathLike[str]) -> object:
        if str(path) == str(closed):
            raise PermissionError(13, "no")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    sight = run.poll()
    assert [ref.step for ref in sight.ready] == [2]
    assert "no permission" in sight.broken[0].reason
