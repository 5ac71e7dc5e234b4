"""The trees that training frameworks write: what is a checkpoint in them, and of which step."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.numpy import save_file

from forkmon.runs.refs import CheckpointRef

from .conftest import WEIGHTS

if TYPE_CHECKING:
    from .conftest import Run


def reasons(run: Run) -> dict[str, str]:
    """Return why each ignored thing is none, by its name."""
    return {ignored.path.name: ignored.reason for ignored in run.poll().ignored}


def only(run: Run) -> CheckpointRef:
    """Return the one checkpoint that is ready."""
    refs: tuple[CheckpointRef, ...] = run.poll().ready
    (ref,) = refs
    return ref


def test_transformers_with_everything_beside_the_weights(run: Run) -> None:
    """Optimizer, scheduler, random states and arguments are no weights."""
    run.trainer("checkpoint-10", age=100)
    for name in ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "training_args.bin"):
        run.torch(f"checkpoint-10/{name}", {"state": {}}, age=99)
    ref = only(run)
    assert (ref.step, ref.format, len(ref.files), ref.epoch) == (10, "safetensors", 1, 1.5)
    assert not reasons(run)


def test_transformers_with_torch_files(run: Run) -> None:
    """pytorch_model.bin, alone or in shards under an index, is a checkpoint."""
    run.torch("checkpoint-1/pytorch_model.bin", age=100)
    shards = [f"pytorch_model-{i:05d}-of-00002.bin" for i in (1, 2)]
    for i, shard in enumerate(shards):
        run.torch(f"checkpoint-2/{shard}", {f"w{i}": torch.ones(3)}, age=100)
    index = {"weight_map": {f"w{i}": shard for i, shard in enumerate(shards)}}
    run.write(
        run.root / "checkpoint-2/pytorch_model.bin.index.json", json.dumps(index).encode(), age=99
    )
    refs = run.poll().ready
    assert [(ref.step, ref.format, len(ref.files)) for ref in refs] == [
        (1, "torch", 1), (2, "torch", 2),
    ]  # fmt: skip


def test_adapters_of_peft(run: Run) -> None:
    """An adapter is what the checkpoint holds, in whatever form, under whatever name."""
    run.weights("checkpoint-1/adapter_model.safetensors", age=100)
    run.torch("checkpoint-2/adapter_model.bin", age=100)
    run.weights("checkpoint-3/policy/adapter_model.safetensors", age=100)
    assert run.ready() == {
        "checkpoint-1": (1, "safetensors"),
        "checkpoint-2": (2, "torch"),
        "checkpoint-3/policy": (3, "safetensors"),
    }


def test_accelerates_number_is_no_step(run: Run) -> None:
    """The step is in the random states; without one the count of saves stands in, and is told."""
    for index, step in ((0, 250), (1, 500)):
        run.weights(f"checkpoints/checkpoint_{index}/model.safetensors", age=100)
        run.torch(f"checkpoints/checkpoint_{index}/optimizer.bin", age=100)
        run.torch(f"checkpoints/checkpoint_{index}/random_states_0.pkl", {"step": step}, age=100)
    assert run.steps() == [250, 500]
    run.weights("checkpoints/checkpoint_2/model.safetensors", age=100)
    run.torch("checkpoints/checkpoint_2/random_states_0.pkl", {"step": 0}, age=100)
    sight = run.poll(after=5.0)
    assert [ref.step for ref in sight.ready] == [2]
    assert "numbered by saves, not by steps" in sight.note


def test_lightnings_own_names(run: Run) -> None:
    """Step and epoch are in the name; last.ckpt repeats one, or is the newest of all."""
    where = "lightning_logs/version_0/checkpoints"
    run.torch(f"{where}/epoch=1-step=20.ckpt", {"global_step": 20, "epoch": 1}, age=100)
    run.torch(f"{where}/epoch=1-step=20-v1.ckpt", {"global_step": 20, "epoch": 1}, age=90)
    last = run.torch(f"{where}/last.ckpt", {"global_step": 20, "epoch": 1}, age=80)
    refs = run.poll().ready
    assert [(ref.step, ref.epoch) for ref in refs] == [(20, 1.0), (20, 1.0)]
    assert "alias" in reasons(run)["last.ckpt"]
    run.torch(last.relative_to(run.root).as_posix(), {"global_step": 30, "epoch": 2}, age=70)
    run.poll()
    (ref,) = run.poll(after=5.0).ready
    assert (ref.path, ref.step, ref.epoch) == (last, 30, 2.0)


def test_two_versions_of_lightning_are_two_runs(run: Run) -> None:
    """Neither is chosen for the user."""
    for version in (0, 1):
        run.torch(f"lightning_logs/version_{version}/checkpoints/epoch=0-step=5.ckpt", age=100)
    assert "2 runs (version_0, version_1)" in run.poll().note


def test_a_link_called_last_is_what_it_leads_to(run: Run) -> None:
    """save_last="link" makes no second checkpoint, and no error while it is made anew."""
    run.torch("checkpoints/epoch=0-step=5.ckpt", age=100)
    link = run.root / "checkpoints/last.ckpt"
    link.symlink_to("epoch=0-step=5.ckpt")
    sight = run.poll()
    assert [ref.step for ref in sight.ready] == [5]
    link.unlink()
    assert run.poll(after=2.0).present == {run.root / "checkpoints/epoch=0-step=5.ckpt"}
    link.symlink_to("epoch=0-step=9.ckpt")
    assert run.poll(after=2.0).present == {run.root / "checkpoints/epoch=0-step=5.ckpt"}


def test_litgpt_writes_a_file_or_a_directory_of_that_name(run: Run) -> None:
    """lit_model.pth in step-N; the final one is an alias."""
    run.torch("step-00000010/lit_model.pth", {"model": WEIGHTS, "iter_num": 40}, age=100)
    run.write(run.root / "step-00000010/hyperparameters.yaml", b"x: 1", age=99)
    run.torch("final/lit_model.pth", {"model": WEIGHTS}, age=50)
    refs = run.poll().ready
    assert [(ref.step, ref.complete) for ref in refs] == [(10, "marker")]
    assert "final model" in reasons(run)["final"]


def test_torchtune_counts_epochs_in_names_and_steps_inside(run: Run) -> None:
    """epoch_E gives way to the steps that recipe_state.pt holds."""
    run.weights("epoch_0/model-00001-of-00001.safetensors", age=100)
    index = {"weight_map": {"w": "model-00001-of-00001.safetensors"}}
    run.write(
        run.root / "epoch_0/model.safetensors.index.json", json.dumps(index).encode(), age=100
    )
    run.torch("epoch_0/recipe_state.pt", {"steps_run": 120, "epochs_run": 1}, age=99)
    run.weights("step_50/model.safetensors", age=100)
    assert run.steps() == [50, 120]


def test_nanogpts_one_file_is_a_step_each_time_it_is_written(run: Run) -> None:
    """ckpt.pt is overwritten in place: what it holds tells which step it is."""
    for step in (0, 1000, 2000):
        run.torch("out/ckpt.pt", {"model": WEIGHTS, "iter_num": step})
        assert run.steps() == []
        (ref,) = run.poll(after=5.0).ready
        assert (ref.step, ref.format, ref.path) == (step, "torch", run.root / "out/ckpt.pt")
    run.torch("out/ckpt.pt", {"model": WEIGHTS, "iter_num": 500})
    run.poll()
    assert run.steps(after=5.0) == [500]


def test_nanochat_and_modded_nanogpt_count_in_file_names(run: Run) -> None:
    """Model, optimizer and description of a step lie side by side."""
    for step in (100, 200):
        run.torch(f"model_{step:06d}.pt", age=100)
        run.write(run.root / f"meta_{step:06d}.json", json.dumps({"step": step}).encode(), age=100)
        run.torch(f"optim_{step:06d}_rank0.pt", age=99)
    run.torch("state_step000300.pt", {"model": WEIGHTS, "step": 300}, age=100)
    refs = run.poll().ready
    assert [(ref.step, ref.complete) for ref in refs] == [
        (100, "marker"), (200, "marker"), (300, "heuristic"),
    ]  # fmt: skip
    assert "beside the weights" in reasons(run)["optim_000100_rank0.pt"]


def test_timm_links_its_last_and_best(run: Run) -> None:
    """Hard links are one checkpoint; recoveries and temporaries are none."""
    first = run.torch("checkpoint-3.pth.tar", {"epoch": 3, "state_dict": WEIGHTS}, age=100)
    for alias in ("last.pth.tar", "model_best.pth.tar"):
        os.link(first, run.root / alias)
    run.torch("recovery-3-500.pth.tar", {"epoch": 3}, age=100)
    run.torch("tmp.pth.tar", age=100)
    sight = run.poll()
    assert [(ref.path, ref.step, ref.epoch) for ref in sight.ready] == [(first, 3, 3.0)]
    assert {i.path.name for i in sight.ignored} == {
        "last.pth.tar", "model_best.pth.tar", "recovery-3-500.pth.tar", "tmp.pth.tar",
    }  # fmt: skip


def test_fairseq_counts_updates_behind_epochs(run: Run) -> None:
    """checkpoint_E_U is update U; best and last are copies of one."""
    run.torch("checkpoints/checkpoint_1_500.pt", age=100)
    run.torch("checkpoints/checkpoint_2_1000.pt", age=90)
    run.torch("checkpoints/checkpoint_best.pt", age=90)
    refs = run.poll().ready
    assert [(ref.step, ref.epoch) for ref in refs] == [(500, 1.0), (1000, 2.0)]
    assert "alias" in reasons(run)["checkpoint_best.pt"]


def test_detectron_and_mmengine_note_the_newest_in_a_text(run: Run) -> None:
    """last_checkpoint marks the file it names as finished; model_final is an alias."""
    run.torch("model_0004999.pth", {"model": WEIGHTS, "iteration": 4999})
    run.write(run.root / "last_checkpoint", b"model_0004999.pth")
    run.torch("model_final.pth", {"model": WEIGHTS}, age=100)
    run.poll()
    (ref,) = run.poll(after=1.0).ready
    assert (ref.step, ref.complete) == (4999, "marker")
    assert "alias" in reasons(run)["model_final.pth"]


def test_mmengine_by_epoch_has_its_iterations_inside(run: Run) -> None:
    """The epoch of the name is kept beside the iteration; the best of them is a copy."""
    meta = {"meta": {"iter": 300, "epoch": 3}, "state_dict": WEIGHTS}
    run.torch("epoch_3.pth", meta, age=100)
    run.torch("best_coco_bbox_mAP_epoch_3.pth", meta, age=90)
    assert [ref.step for ref in run.poll().ready] == [300]
    assert reasons(run) == {"best_coco_bbox_mAP_epoch_3.pth": "a copy of step 3"}


def test_ultralytics_writes_last_again_and_again(run: Run) -> None:
    """Of last.pt and best.pt alone the one that moves on is read, by the epoch inside."""
    for epoch in (0, 1):
        run.torch("weights/last.pt", {"epoch": epoch, "ema": WEIGHTS})
        run.torch("weights/best.pt", {"epoch": 0, "ema": WEIGHTS})
        run.poll()
        assert run.ready(after=5.0) == {"weights/last.pt": (epoch, "torch")}
    assert "last.pt is read" in reasons(run)["best.pt"]


def test_composer_has_a_file_for_each_rank_and_a_link(run: Run) -> None:
    """Batches are steps; rank 0 is read; the link is no checkpoint."""
    for rank in (0, 1):
        run.torch(f"ep1-ba50-rank{rank}.pt", {"state": {"model": WEIGHTS}}, age=100)
    (run.root / "latest-rank0.pt").symlink_to("ep1-ba50-rank0.pt")
    refs = run.poll().ready
    assert [(ref.path.name, ref.step, ref.epoch) for ref in refs] == [
        ("ep1-ba50-rank0.pt", 50, 1.0)
    ]
    assert "rank 0's is read" in reasons(run)["ep1-ba50-rank1.pt"]


def test_olmo_saves_into_another_name_first(run: Run) -> None:
    """A directory in the making is temporary; links to the latest are what they lead to."""
    run.torch("step10-unsharded/model.pt", age=100)
    run.torch("step10-unsharded/optim.pt", age=100)
    run.torch("step10-unsharded/train.pt", {"global_step": 10, "epoch": 0}, age=100)
    run.torch("step20-unsharded-tmp/model.pt", age=100)
    (run.root / "latest-unsharded").symlink_to("step10-unsharded")
    (ref,) = run.poll().ready
    assert (ref.step, [path.name for path in ref.files]) == (10, ["model.pt"])
    assert "temporary" in reasons(run)["step20-unsharded-tmp"]


def test_nemo_says_beside_a_checkpoint_that_it_is_unfinished(run: Run) -> None:
    """While NAME-unfinished is there the checkpoint waits; -last is a copy of its step."""
    name = "gpt--val_loss=2.31-step=500-consumed_samples=8000"
    run.torch(f"checkpoints/{name}.ckpt", {"global_step": 500, "state_dict": WEIGHTS}, age=100)
    marker = run.write(run.root / f"checkpoints/{name}-unfinished", b"", age=100)
    sight = run.poll()
    assert not sight.ready
    assert "unfinished" in sight.waiting[0].reason
    marker.unlink()
    run.torch(f"checkpoints/{name}-last.ckpt", {"global_step": 500, "state_dict": WEIGHTS}, age=90)
    assert run.steps() == [500]
    assert reasons(run) == {f"{name}-last.ckpt": "a copy of step 500"}


def test_a_safetensors_file_called_otherwise_is_what_it_is(run: Run) -> None:
    """Content decides, never the suffix; what is no checkpoint is named with its kind."""
    save_file({"w": torch.ones(3).numpy()}, run.root / "step_1.pt")
    run.touch(run.root / "step_1.pt", age=100)
    run.torch("step_2.safetensors", age=100)
    run.torch("step_3.weird.h5", age=100)
    run.write(run.root / "train.bin", b"\x01\x02" * 50, age=100)
    run.write(run.root / "tokens_000001.bin", b"\x01\x02" * 50, age=100)
    run.write(run.root / "step_4.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 50, age=100)
    assert run.ready() == {
        "step_1.pt": (1, "safetensors"),
        "step_2.safetensors": (2, "torch"),
        "step_3.weird.h5": (3, "torch"),
    }
    why = reasons(run)
    assert "HDF5" in why["step_4.h5"]
    assert "no known checkpoint format" in why["tokens_000001.bin"]


@pytest.mark.parametrize("roles", [{"model"}, {"model", "optimizer"}])
def test_optimizer_states_join_where_they_are_asked_for(run: Run, roles: set[str]) -> None:
    """Side files of the optimizer become a part of the checkpoint with the role."""
    run.torch("checkpoint-1/pytorch_model.bin", age=100)
    run.torch("checkpoint-1/optimizer.pt", age=100)
    run.torch("model_000002.pt", age=100)
    run.torch("optim_000002_rank0.pt", age=100)
    poller = run.new_poller(run.root, roles=frozenset(roles))
    names = [[path.name for path in ref.files] for ref in poller.poll().ready]
    if "optimizer" in roles:
        assert names == [
            ["optimizer.pt", "pytorch_model.bin"],
            ["model_000002.pt", "optim_000002_rank0.pt"],
        ]
    else:
        assert names == [["pytorch_model.bin"], ["model_000002.pt"]]


def test_revisions_of_a_hubs_cache_give_their_snapshots_a_step(run: Run) -> None:
    """refs/stepN holds the commit whose snapshot, a directory of links, is the model of step N."""
    for step in (1, 1000):
        commit = f"{step:02d}9ba12f".ljust(40, "0")
        blob = run.weights(f"models--a--b/blobs/{commit[::-1]}", age=100, value=step)
        run.write(run.root / f"models--a--b/refs/step{step}", commit.encode())
        snapshot = run.root / "models--a--b/snapshots" / commit
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").symlink_to(f"../../blobs/{blob.name}")
    run.write(run.root / "models--a--b/refs/main", commit.encode())
    refs = run.new_poller(run.root / "models--a--b").poll().ready
    assert [ref.step for ref in refs] == [1, 1000]
    assert run.steps() == [1, 1000]
