"""Sharded checkpoints: real ones are read, hostile and mixed ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import save_torch_state_dict
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from forkmon.errors import FormatError, IncompleteError, TornError
from forkmon.formats.reading import OpenFiles, listing
from forkmon.formats.sharded import parse_index, read_index, shard_names
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]
INDEX = Path("model.safetensors.index.json")


def indexed(weight_map: object) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": weight_map}).encode()


def test_shards_of_the_hub_library_hold_every_tensor(tmp_path: Path, ref_of: RefOf) -> None:
    """What `save_torch_state_dict` split is one checkpoint again."""
    state = {f"h.{i}.weight": torch.full((64, 64), float(i)) for i in range(6)}
    save_torch_state_dict(state, tmp_path, max_shard_size=40_000)
    weight_map = read_index(tmp_path / INDEX)
    names = shard_names(weight_map)
    assert len(names) > 1
    ref = ref_of(*(tmp_path / name for name in names), path=tmp_path)
    held = listing(ref)
    assert {t.name for t in held.tensors} == set(state)
    out = np.empty((64, 64), np.float32)
    with OpenFiles(ref) as files:
        for tensor in held.tensors:
            files.read_into(tensor, 0, memoryview(out))
            assert (out == float(tensor.name.split(".")[1])).all()
            assert tensor.file.name == weight_map[tensor.name]


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "../other.safetensors",
        "..",
        "sub/x.safetensors",
        "a\\b.safetensors",
        "a\0.safetensors",
        "\x1b[2J.safetensors",
        "model.bin",
        "",
        ".safetensors/..",
        7,
        None,
        ["x.safetensors"],
    ],
)
def test_a_weight_map_leads_nowhere_else(target: object) -> None:
    """Only a base name of a safetensors file is accepted."""
    with pytest.raises(FormatError, match="weight_map"):
        parse_index(indexed({"w": target}), INDEX)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}',
        b'{"weight_map": {"a": "x.safeten',
        b"[]",
        b"{}",
        indexed({}),
        indexed([]),
        b"[" * 100_000,
        b"\xff",
        indexed({"a": "m-00001-of-00002.safetensors", "b": "m-00001-of-00003.safetensors"}),
    ],
)
def test_an_index_that_is_none_is_refused(raw: bytes) -> None:
    """Duplicates, cut JSON, other shapes of JSON and two splits in one are no index."""
    with pytest.raises(FormatError):
        parse_index(raw, INDEX)


@pytest.mark.parametrize("raw", [b"", b"\0" * 9, b" \n"])
def test_an_empty_index_is_not_written_yet(raw: bytes) -> None:
    """An index without a byte in it is waited for."""
    with pytest.raises(IncompleteError):
        parse_index(raw, INDEX)


@given(st.binary(max_size=120), st.integers(0, 60))
def test_any_bytes_are_an_index_or_one_of_two_errors(noise: bytes, cut: int) -> None:
    """Nothing else ever comes out of the index parser."""
    good = indexed({"w": "model-00001-of-00001.safetensors"})
    for raw in (noise, good[:cut] + noise, good[:cut] + noise[:3] + good[cut + 3 :]):
        try:
            named = parse_index(raw, INDEX)
        except (FormatError, IncompleteError):
            continue
        assert all("/" not in name and "\\" not in name for name in named.values())


def shards(directory: Path, *names: str) -> list[Path]:
    paths: list[Path] = []
    for i, name in enumerate(names, start=1):
        path = directory / f"model-{i:05d}-of-{len(names):05d}.safetensors"
        save_file({name: np.ones(3, np.float32)}, path)
        paths.append(path)
    return paths


def test_a_shard_without_its_tensors_is_of_another_save(tmp_path: Path, ref_of: RefOf) -> None:
    """The index promises what the shard does not hold: two saves are mixed."""
    paths = shards(tmp_path, "a", "b")
    (tmp_path / INDEX).write_bytes(indexed({"a": paths[0].name, "c": paths[1].name}))
    with pytest.raises(FormatError, match="two saves mixed"):
        listing(ref_of(*paths, path=tmp_path))


def test_one_name_in_two_shards_is_refused(tmp_path: Path, ref_of: RefOf) -> None:
    """A tensor belongs to one shard."""
    with pytest.raises(FormatError, match="two of its files"):
        listing(ref_of(*shards(tmp_path, "a", "a"), path=tmp_path))


def test_shards_that_name_different_steps_are_refused(tmp_path: Path, ref_of: RefOf) -> None:
    """Metadata tells the halves of two saves apart where the trainer wrote it."""
    paths = shards(tmp_path, "a", "b")
    for step, path in zip("12", paths, strict=True):
        save_file({f"t{step}": np.ones(1, np.float32)}, path, metadata={"step": step})
    with pytest.raises(FormatError, match="different steps"):
        listing(ref_of(*paths, path=tmp_path))


BIN_INDEX = Path("pytorch_model.bin.index.json")


@pytest.mark.parametrize("target", ["../x.bin", "/x.bin", "a/b.bin", "x.safetensors", "x.pt", ""])
def test_an_index_of_torch_files_leads_nowhere_else(target: str) -> None:
    """The index of `.bin` shards names such files of its own directory and nothing else."""
    assert parse_index(indexed({"w": "x-00001-of-00002.bin"}), BIN_INDEX)
    with pytest.raises(FormatError, match="weight_map"):
        parse_index(indexed({"w": target}), BIN_INDEX)


def test_shards_that_torch_wrote_are_one_checkpoint(tmp_path: Path, ref_of: RefOf) -> None:
    """Tensors of all `.bin` shards come together; one that an index promises must be there."""
    names = [tmp_path / f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    first, second = torch.arange(6.0).reshape(2, 3), torch.arange(4.0)
    torch.save({"a.weight": first}, names[0])
    torch.save({"b.bias": second}, names[1])
    index = tmp_path / BIN_INDEX
    index.write_bytes(indexed({"a.weight": names[0].name, "b.bias": names[1].name}))
    ref = replace(ref_of(*names, path=tmp_path), format="torch")
    found = {tensor.name: tensor for tensor in listing(ref).tensors}
    assert set(found) == {"a.weight", "b.bias"}
    out = np.empty((2, 3), np.float32)
    with OpenFiles(ref) as files:
        files.read_into(found["a.weight"], 0, out.reshape(-1).data)
    assert np.array_equal(out, first.numpy())
    index.write_bytes(indexed({"a.weight": names[1].name}))
    with pytest.raises(FormatError, match=r"lacks 'a\.weight'"):
        listing(ref)
    index.write_bytes(indexed({"a.weight": "pytorch_model-00003-of-00003.bin"}))
    with pytest.raises(TornError, match="now names"):
        listing(ref)


def test_an_adapter_is_an_ordinary_file(tmp_path: Path, ref_of: RefOf) -> None:
    """PEFT's adapters are safetensors; their low-rank factors keep PEFT's names."""
    path = tmp_path / "adapter_model.safetensors"
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    factors = {
        f"{layer}.lora_A.weight": np.ones((8, 64), np.float32),
        f"{layer}.lora_B.weight": np.zeros((64, 8), np.float32),
    }
    save_file(factors, path, {"format": "pt"})
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8}')
    found = listing(ref_of(path))
    assert {tensor.name: tensor.shape for tensor in found.tensors} == {
        name: value.shape for name, value in factors.items()
    }


def test_an_optimizer_beside_the_weights_is_read_with_them(tmp_path: Path, ref_of: RefOf) -> None:
    """What torch saved of AdamW lies under its numbers, in the role of the optimizer."""
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    weights = {name: value.detach().numpy() for name, value in layer.state_dict().items()}
    save_file(weights, tmp_path / "model.safetensors")
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    ref = ref_of(tmp_path / "model.safetensors", tmp_path / "optimizer.pt", path=tmp_path)
    found = listing(ref)
    assert {t.name for t in found.tensors if t.role == "model"} == {"weight", "bias"}
    states = {t.name: t for t in found.tensors if t.role == "optimizer"}
    out = np.empty((2, 3), np.float32)
    with OpenFiles(ref) as files:
        files.read_into(states["state.0.exp_avg"], 0, out.reshape(-1).data)
    assert np.array_equal(out, optimizer.state_dict()["state"][0]["exp_avg"].numpy())
