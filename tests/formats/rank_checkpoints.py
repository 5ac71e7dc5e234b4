"""Refs to directories of rank files, their tensors' values, and files as frameworks lay them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from forkmon.formats.layout import Layout
from forkmon.formats.opening import file_print
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import Listing, TensorRef
from forkmon.runs.refs import CheckpointRef, Fingerprint

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def names_in(directory: Path) -> frozenset[str]:
    """Return the relative names of all files under a directory."""
    return frozenset(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )


def ref_of_layout(directory: Path, layout: Layout) -> CheckpointRef:
    """Return the ref of a directory that has settled."""
    prints = tuple(file_print(name, (directory / name).stat()) for name in layout.files)
    files = tuple(directory / name for name in layout.files)
    return CheckpointRef(directory, 1, layout.format, files, Fingerprint(prints), "marker")


def values_of(ref: CheckpointRef, listing: Listing) -> dict[tuple[str, str], torch.Tensor]:
    """Return the values of every tensor, read as the worker reads them, by role and name."""
    with OpenFiles(ref) as files:
        return {(each.role, each.name): _value(files, each) for each in listing.tensors}


def stored(path: Path) -> dict[str, torch.Tensor]:
    """Return what the framework itself holds to be the weights."""
    return load_file(path)


def save(path: Path, content: Mapping[str, object]) -> None:
    """Write a file as torch.save does, its directory too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(content), path)


def megatron_state(
    model: Mapping[str, object], *, iteration: int = 7, **arguments: object
) -> dict[str, object]:
    """Return a rank's file as megatron/training/checkpointing.py: generate_state_dict makes it."""
    return {
        "args": argparse.Namespace(**arguments),
        "checkpoint_version": 3.0,
        "iteration": iteration,
        "model": model,
    }


def deepspeed_state(module: object, **others: object) -> dict[str, object]:
    """Return a states file as _common_checkpoint_state of deepspeed/runtime/engine.py makes it."""
    state: dict[str, object] = {
        "module": module,
        "buffer_names": [],
        "optimizer": None,
        "param_shapes": None,
        "frozen_param_shapes": None,
        "shared_params": None,
        "frozen_param_fragments": None,
        "global_steps": 3,
        "dp_world_size": 1,
        "mp_world_size": 1,
        "ds_version": "0.19.8",
    }
    return state | others


def _value(files: OpenFiles, tensor: TensorRef) -> torch.Tensor:
    raw = bytearray(tensor.bytes)
    files.read_into(tensor, 0, memoryview(raw))
    return torch.frombuffer(raw, dtype=DTYPES[tensor.dtype]).reshape(tensor.shape)
