"""Write distributed checkpoints with torch itself: `ranks_writer.py DIRECTORY WORLD`.

Each directory gets an `expected.safetensors` with the whole tensors as torch gathers them.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.filesystem import FileSystemWriter, SerializationFormat
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, StateDictType
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.multiprocessing.spawn import spawn

State = dict[str, Any]


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the same values on every rank, none of them twice."""
    count = 1
    for size in shape:
        count *= size
    return (torch.arange(count, dtype=torch.float32) + 0.25).reshape(shape).to(dtype)


def model_state(world: int) -> State:
    """Return tensors placed in every way that a mesh allows."""
    line = init_device_mesh("cpu", (world,))
    state: State = {
        "rows.weight": distribute_tensor(numbers(7, 5), line, [Shard(0)]),
        "columns.weight": distribute_tensor(numbers(4, 6, dtype=torch.bfloat16), line, [Shard(1)]),
        "norm.weight": distribute_tensor(numbers(9), line, [Shard(0)]),
        "same.weight": distribute_tensor(numbers(3, 3), line, [Replicate()]),
        "few.weight": distribute_tensor(numbers(1, 4), line, [Shard(0)]),
        "conv.weight": distribute_tensor(numbers(3, 8, 2, 2), line, [Shard(1)]),
        "plain.weight": numbers(5, 2, dtype=torch.float16),
        "scale": torch.tensor(2.5),
        "none.weight": torch.empty(0, 3),
    }
    if world == 4:
        grid = init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"))
        state["grid.weight"] = distribute_tensor(numbers(5, 7), grid, [Shard(0), Shard(1)])
        state["hybrid.weight"] = distribute_tensor(numbers(6, 3), grid, [Replicate(), Shard(0)])
    return state


def gathered(state: State) -> dict[str, Tensor]:
    return {
        name: (value.full_tensor() if isinstance(value, DTensor) else value).contiguous().clone()
        for name, value in state.items()
    }


def expect(directory: Path, state: State) -> None:
    whole = gathered(state)
    if dist.get_rank() == 0:
        save_file(whole, directory / "expected.safetensors")


def save_dcp(root: Path, state: State) -> None:
    """Save what torchtitan and others do: model, optimizer, and objects beside them."""
    moments = {f"{name}.exp_avg": value for name, value in state.items() if value.ndim == 2}
    save(
        {
            "model": state,
            "optimizer": {"state": moments, "param_groups": [{"lr": 0.1, "names": ["a"]}]},
            "train_state": {"step": torch.tensor(40, dtype=torch.int64)},
            "step": 41,
        },
        checkpoint_id=root / "dcp",
    )
    expect(root / "dcp", state)
    flat = FileSystemWriter(root / "flat", single_file_per_rank=False)
    save(dict(state), storage_writer=flat)
    expect(root / "flat", state)
    save(dict(state), checkpoint_id=root / "own", use_collectives=False)
    expect(root / "own", state)
    tensors = FileSystemWriter(root / "st", serialization_format=SerializationFormat.SAFETENSORS)
    save({**state, "epoch": 3}, storage_writer=tensors)
    expect(root / "st", state)


def save_hub(root: Path, state: State) -> None:
    """Save with torch's writer of safetensors: each rank its own, and joined by torch."""
    real = {name: value for name, value in state.items() if value.numel()}
    for name, consolidated in (("hub", False), ("joined", True)):
        writer = HuggingFaceStorageWriter(
            str(root / name), save_distributed=True, enable_consolidation=consolidated
        )
        save(dict(real), storage_writer=writer)
        (root / name / "wanted").mkdir(exist_ok=True)
        expect(root / name / "wanted", real)


def save_ranks(root: Path, state: State, rank: int, world: int) -> None:
    """Save as verl does, a torch file a rank."""
    (root / "verl" / "actor").mkdir(parents=True, exist_ok=True)
    torch.save(state, root / "verl" / "actor" / f"model_world_size_{world}_rank_{rank}.pt")
    optimizer = {"state": {0: {"exp_avg": state["rows.weight"], "step": torch.tensor(3.0)}}}
    torch.save(optimizer, root / "verl" / "actor" / f"optim_world_size_{world}_rank_{rank}.pt")
    expect(root / "verl", state)


def save_fsdp(root: Path, rank: int, world: int) -> None:
    """Save a model under FSDP in its local and its sharded form, and through DCP."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3, bias=False))
    whole = {name: value.detach().clone() for name, value in plain.state_dict().items()}
    cpu = torch.device("cpu")
    for name, kind in (
        ("local", StateDictType.LOCAL_STATE_DICT),
        ("sharded", StateDictType.SHARDED_STATE_DICT),
    ):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3, bias=False))
        wrapped = FullyShardedDataParallel(module, device_id=cpu)
        (root / name).mkdir(exist_ok=True)
        with FullyShardedDataParallel.state_dict_type(wrapped, kind):
            state = wrapped.state_dict()
        torch.save(state, root / name / f"pytorch_model_fsdp_rank{rank}.bin")
        flat = {"_flat_param": torch.cat([value.reshape(-1) for value in whole.values()])}
        expect(root / name, flat if name == "local" else whole)
        if name == "sharded":
            save({"model": state}, checkpoint_id=root / "hf" / "pytorch_model_fsdp_0")
            moments = {"optimizer": {"state": {"0.weight": {"exp_avg": state["0.weight"]}}}}
            save(moments, checkpoint_id=root / "hf" / "optimizer_0")
            expect(root / "hf", whole)


def save_megatron(root: Path, world: int) -> None:
    """Save layers stacked on the first axis, as Megatron's torch_dist does."""
    line = init_device_mesh("cpu", (world,))
    stacked = {
        "decoder.layers.mlp.linear_fc1.weight": numbers(4, 6, 3),
        "decoder.layers.self_attention.linear_qkv.weight": numbers(4, 3, 8),
    }
    state: State = {
        "decoder.layers.mlp.linear_fc1.weight": distribute_tensor(
            stacked["decoder.layers.mlp.linear_fc1.weight"], line, [Shard(0)]
        ),
        "decoder.layers.self_attention.linear_qkv.weight": distribute_tensor(
            stacked["decoder.layers.self_attention.linear_qkv.weight"], line, [Shard(2)]
        ),
        "decoder.final_layernorm.weight": numbers(6),
    }
    save(
        {**state, "optimizer.state.exp_avg.decoder.layers.mlp.linear_fc1.weight": state[
            "decoder.layers.mlp.linear_fc1.weight"
        ]},
        checkpoint_id=root / "megatron",
    )  # fmt: skip
    expect(root / "megatron", state)
    (root / "megatron" / "metadata.json").write_text('{"sharded_backend": "torch_dist"}')


def work(rank: int, root: str, world: int) -> None:
    warnings.simplefilter("ignore")
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
    store = f"file://{root}/rendezvous"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    state = model_state(world)
    place = Path(root)
    save_dcp(place, state)
    save_hub(place, state)
    save_ranks(place, state, rank, world)
    save_fsdp(place, rank, world)
    save_megatron(place, world)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    spawn(work, args=(sys.argv[1], int(sys.argv[2])), nprocs=int(sys.argv[2]))  # type: ignore[no-untyped-call]
