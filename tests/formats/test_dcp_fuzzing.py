"""The fuzz targets of what ranks write, for a short while: on noise and on damaged real files."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint.state_dict_saver import save

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")

Target = Callable[[bytes], None]
NAMES = ("metadata", "chunk", "rank", "shard", "parameter")


@cache
def module() -> ModuleType:
    """Return the file of targets, which atheris uses as well."""
    path = Path(__file__).with_name("fuzz_targets_dcp.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def target(name: str) -> Target:
    """Return a target by its name."""
    found: dict[str, Target] = module().TARGETS
    return found[name]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return one real input of each target."""
    root = tmp_path_factory.mktemp("seeds")
    state = {"model": {"w": torch.arange(6.0).reshape(2, 3)}, "step": 3}
    save(state, checkpoint_id=root / "dcp", no_dist=True)
    torch.save(torch.arange(6.0).reshape(2, 3), root / "chunk")
    torch.save({"w": torch.arange(6.0), "b": torch.ones(2)}, root / "rank")
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    sharding = {"DCP_SHARDING_INFO": json.dumps({"w": {"saved_offsets": [0, 0]}})}
    pairs = {"local_global_slices_pairs": "0,2,1|0,3,1#0,2,1|0,3,1", "unsharded_shape": "(2, 3)"}
    raw = json.dumps({"__metadata__": pairs, "data": entry}).encode()
    return {
        "metadata": (root / "dcp" / ".metadata").read_bytes(),
        "chunk": (root / "chunk").read_bytes(),
        "rank": (root / "rank").read_bytes(),
        "shard": json.dumps({"__metadata__": sharding, "w": entry}).encode(),
        "parameter": len(raw).to_bytes(8, "little") + raw + bytes(24),
    }


@settings(max_examples=120)
@given(data=st.binary(max_size=300))
@pytest.mark.parametrize("name", NAMES)
def test_noise_is_an_error_of_ours_at_most(name: str, data: bytes) -> None:
    """Any bytes: a listing, or a CheckpointError."""
    target(name)(data)


@settings(max_examples=150)
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_damage_to_a_real_file_is_too(
    name: str, seeds: dict[str, bytes], data: st.DataObject
) -> None:
    """Real bytes with a few changed, cut or put in: the same."""
    raw = bytearray(seeds[name])
    target(name)(bytes(raw))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        kind = data.draw(st.sampled_from(("set", "cut", "put", "copy")))
        if kind == "cut":
            del raw[at : at + data.draw(st.integers(1, 40))]
        elif kind == "put":
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        elif kind == "copy" and raw:
            begin = data.draw(st.integers(0, len(raw) - 1))
            raw[at : at + 8] = raw[begin : begin + 8]
        elif raw:
            raw[min(at, len(raw) - 1)] = data.draw(st.integers(0, 255))
    target(name)(bytes(raw))
