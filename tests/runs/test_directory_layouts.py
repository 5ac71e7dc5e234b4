"""Checkpoints that are directories of many files: found, and ready not one file too early."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint.state_dict_saver as dcp
from safetensors.numpy import save

from forkmon.formats.reading import listing

if TYPE_CHECKING:
    from .conftest import Run

from .conftest import counted

Files = dict[str, bytes]
"""A tree in the order in which its framework writes it."""


def torch_bytes(content: object) -> bytes:
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def chunks(tmp: Path, prefix: str, state: dict[str, torch.Tensor], below: str = "") -> Files:
    """Return what torch.distributed.checkpoint writes, its metadata last."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save({f"{prefix}{k}": v for k, v in state.items()}, checkpoint_id=tmp, no_dist=True)
    names = sorted((path.name for path in tmp.iterdir()), key=lambda name: name == ".metadata")
    return {below + name: (tmp / name).read_bytes() for name in names}


STATE = {"a.weight": torch.arange(1.0, 13.0).reshape(3, 4), "a.bias": torch.ones(3)}


def torchtitan(tmp: Path) -> Files:
    return chunks(tmp, "", STATE)


def transformers_fsdp(tmp: Path) -> Files:
    model = chunks(tmp / "m", "model.", STATE, "pytorch_model_fsdp_0/")
    optimizer = chunks(tmp / "o", "state.", STATE, "optimizer_0/")
    return {**model, **optimizer, "trainer_state.json": b'{"global_step": 10, "epoch": 1.5}'}


def lightning_fsdp(tmp: Path) -> Files:
    return {**chunks(tmp, "model.", STATE), "meta.pt": torch_bytes({"global_step": 10, "epoch": 1})}


def litgpt_fsdp(tmp: Path) -> Files:
    model = chunks(tmp, "model.", STATE, "lit_model.pth/")
    return {**model, "lit_model.pth/meta.pt": torch_bytes({"step_count": 10})}


def olmo_core(tmp: Path) -> Files:
    return {
        "train/rank0.pt": torch_bytes({"global_step": 10}),
        **chunks(tmp, "model.", STATE, "model_and_optim/"),
        ".metadata.json": b"{}",
    }


def megatron_dist(tmp: Path) -> Files:
    return {
        "common.pt": torch_bytes({"iteration": 10}),
        **chunks(tmp, "", {f"decoder.{k}": v for k, v in STATE.items()}),
    }


def nemo(tmp: Path) -> Files:
    return {**chunks(tmp, "module.", STATE, "weights/"), "context/model.yaml": b"x: 1"}


def megatron_legacy(tmp: Path) -> Files:
    content = {
        "iteration": 10,
        "checkpoint_version": 3.0,
        "model": {"language_model": {"encoder": {"layers.0.input_norm.weight": torch.ones(4)}}},
    }
    return {"mp_rank_00/model_optim_rng.pt": torch_bytes(content)}


def deepspeed(tmp: Path) -> Files:
    return {
        "mp_rank_00_model_states.pt": torch_bytes(
            {
                "module": STATE,
                "global_steps": 10,
                "dp_world_size": 1,
                "mp_world_size": 1,
                "param_shapes": None,
            }
        ),
    }


def verl(tmp: Path) -> Files:
    return {f"actor/model_world_size_1_rank_{rank}.pt": torch_bytes(STATE) for rank in range(1)} | {
        "actor/fsdp_config.json": b'{"FSDP_version": 1, "world_size": 1}',
        "data.pt": b"",
    }


def nanotron(tmp: Path) -> Files:
    ranks = "pp-rank-0-of-1_tp-rank-0-of-1"
    where = "model/model/decoder/0/pp_block"
    files = {
        f"{where}/{part}/model_weight_{ranks}.safetensors": save(
            {"data": np.full((4, 4), i + 1.0, np.float32)}
        )
        for i, part in enumerate(("attn/o_proj", "attn/qkv_proj", "mlp/down_proj"))
    }
    state = {"metas": {"last_train_step": 10}, "dp": 1, "tp": 1, "version": "1.4"}
    return {
        **files,
        "checkpoint_metadata.json": json.dumps(state).encode(),
        "config.yaml": b"x: 1",
        "model_config.json": b"{}",
    }


TREES: dict[str, tuple[str, str, Callable[[Path], Files]]] = {
    "torchtitan": ("checkpoint/step-10", "dcp", torchtitan),
    "transformers with FSDP": ("checkpoint-10", "dcp", transformers_fsdp),
    "Lightning with FSDP": ("checkpoints/epoch=1-step=10.ckpt", "dcp", lightning_fsdp),
    "LitGPT with FSDP": ("step-00000010", "dcp", litgpt_fsdp),
    "OLMo-core": ("step10", "dcp", olmo_core),
    "Megatron torch_dist": ("iter_0000010", "dcp", megatron_dist),
    "NeMo": ("checkpoints/gpt--loss=1.5-step=10-consumed_samples=80", "dcp", nemo),
    "Megatron legacy": ("iter_0000010", "megatron", megatron_legacy),
    "DeepSpeed": ("global_step10", "deepspeed", deepspeed),
    "verl": ("global_step_10", "ranks", verl),
    "nanotron": ("10", "nanotron", nanotron),
}
LAST = {
    "torchtitan": ".metadata",
    "transformers with FSDP": "pytorch_model_fsdp_0/.metadata",
    "Lightning with FSDP": "meta.pt",
    "LitGPT with FSDP": "lit_model.pth/meta.pt",
    "OLMo-core": ".metadata.json",
    "nanotron": "model_config.json",
}
"""What must be there before it is finished."""


@pytest.mark.parametrize("framework", TREES)
def test_a_finished_directory_is_one_checkpoint(run: Run, tmp_path: Path, framework: str) -> None:
    """Found by its names, of its step, with every tensor of the model in it."""
    place, format_, make = TREES[framework]
    for name, data in make(tmp_path / "made").items():
        run.write(run.root / place / name, data, age=100)
    sight = run.poll()
    (ref,) = sight.ready
    assert (ref.step, ref.format, ref.path) == (10, format_, run.root / place)
    assert all(path.is_relative_to(run.root / place) for path in ref.files)
    assert [seen.name for seen in ref.fingerprint.files] == [
        path.relative_to(run.root / place).as_posix() for path in ref.files
    ]
    assert [tensor for tensor in listing(ref).tensors if tensor.role == "model"]
    assert not sight.waiting
    assert not sight.broken


@pytest.mark.parametrize("framework", LAST)
def test_no_prefix_of_a_save_is_ready(run: Run, tmp_path: Path, framework: str) -> None:
    """Written file by file, each in two halves: ready when its last file is whole, never before."""
    place, _, make = TREES[framework]
    files = make(tmp_path / "made")
    seen: list[int] = []
    for name, data in files.items():
        for part in (data[: len(data) // 2], data):
            run.write(run.root / place / name, part)
            for after in (0.0, 6.0, 6.0):
                seen += [ref.step for ref in run.poll(after).ready]
            assert not seen or name == LAST[framework], name
        if name == LAST[framework]:
            break
    run.poll(after=1.0)
    assert seen + run.steps(after=6.0) + run.steps(after=6.0) == [10]


@pytest.mark.parametrize("framework", ["torchtitan", "transformers with FSDP", "OLMo-core"])
def test_saving_again_into_a_directory_is_not_read_by_its_old_metadata(
    run: Run, tmp_path: Path, framework: str
) -> None:
    """Case 18: the old metadata stay until the end of the save; chunks newer than they wait."""
    place, _, make = TREES[framework]
    files = make(tmp_path / "made")
    for name, data in files.items():
        run.write(run.root / place / name, data, age=100)
    assert run.steps() == [10]
    chunk = next(name for name in files if name.endswith(".distcp"))
    run.write(run.root / place / chunk, files[chunk])
    for _ in range(8):
        sight = run.poll(after=120.0)
        assert not sight.ready
        assert "newer than its marker" in sight.waiting[0].reason
    for name in files:
        if not name.endswith(".distcp"):
            run.touch(run.root / place / name)
    assert run.steps() == []
    assert run.steps(after=2.0) == [10]


def test_what_a_copy_made_older_is_taken_as_it_is(run: Run, tmp_path: Path) -> None:
    """Copied in name order the metadata are the oldest: after half an hour they are believed."""
    for name, data in torchtitan(tmp_path / "made").items():
        run.write(run.root / "step-1" / name, data, age=1900 if name == ".metadata" else 1801)
    assert [(ref.step, ref.complete) for ref in run.poll().ready] == [(1, "heuristic")]


def test_a_missing_rank_is_waited_for(run: Run) -> None:
    """Of two ranks' files one is not there: not ready, and said."""
    data = torch_bytes({"module": STATE, "global_steps": 10})
    run.write(run.root / "global_step10/actor/model_world_size_2_rank_0.pt", data, age=100)
    sight = run.poll()
    assert not sight.ready
    assert [one.path.name for one in (*sight.waiting, *sight.broken)] == ["global_step10"]


def test_a_note_of_the_newest_marks_what_it_names(run: Run, tmp_path: Path) -> None:
    """DeepSpeed's `latest` and Megatron's tracker shorten the wait of what they name alone."""
    for step in (10, 20):
        for name, data in deepspeed(tmp_path).items():
            run.write(run.root / f"global_step{step}" / name, data)
    run.write(run.root / "latest", b"global_step10")
    run.poll()
    (ref,) = run.poll(after=1.0).ready
    assert (ref.step, ref.complete) == (10, "marker")
    (ref,) = run.poll(after=4.0).ready
    assert (ref.step, ref.complete) == (20, "heuristic")


def test_one_directory_of_many_files_can_be_named_itself(run: Run, tmp_path: Path) -> None:
    """The checkpoint's own directory as the run: that one checkpoint."""
    for name, data in torchtitan(tmp_path / "made").items():
        run.write(run.root / "step-7" / name, data, age=100)
    (ref,) = run.new_poller(run.root / "step-7").poll().ready
    assert (ref.step, ref.format) == (7, "dcp")


def test_a_tree_of_thousands_of_files_costs_few_calls_once_it_is_known(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is listed or opened again, and of its files a few are asked about in turn."""
    ranks = "pp-rank-0-of-1_tp-rank-0-of-1"
    weight = save({"data": np.ones((2, 2), np.float32)})
    for layer in range(200):
        name = f"10/model/model/decoder/{layer}/mlp/model_weight_{ranks}.safetensors"
        run.write(run.root / name, weight, age=4000)
    run.write(run.root / "10/model_config.json", b"{}", age=3999)
    run.now += 1e6
    assert run.steps() == [10]
    run.poll(after=4000.0)
    calls = counted(monkeypatch)
    assert run.poll(after=2.0).present == {run.root / "10"}
    assert len(calls) < 80
    changed = run.root / f"10/model/model/decoder/150/mlp/model_weight_{ranks}.safetensors"
    changed.write_bytes(weight)
    waited = [run.poll(after=2.0) for _ in range(10)]
    assert [ref.step for sight in waited for ref in sight.ready] == [10]
