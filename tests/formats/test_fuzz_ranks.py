"""Rank files of any content: a CheckpointError or a listing, nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.formats.deepspeed_names import part_of
from forkmon.formats.deepspeed_set import Ranked, RankSet
from forkmon.formats.deepspeed_tree import RankFile
from forkmon.formats.pickles import Storage, TorchTensor

from .fuzz_targets_ranks import OPTIM, PLACE, STATES, STORAGES, TARGETS, built
from .rank_checkpoints import FIXTURES

NAMES = st.sampled_from([
    "module", "param_shapes", "frozen_param_shapes", "frozen_param_fragments", "shared_params",
    "global_steps", "dp_world_size", "mp_world_size", "num_experts", "optimizer_state_dict",
    "fp32_flat_groups", "single_partition_of_fp32_groups", "partition_count", "state",
    "param_alignment_paddings", "base_optimizer_state", "exp_avg", "w", "x.y", "args", "swiglu",
])  # fmt: skip
TENSORS = st.builds(
    lambda key, offset, shape: TorchTensor(
        Storage("f32", str(key), 1 << 10), offset, (shape,), (1,), "f32"
    ),
    st.integers(0, 9),
    st.integers(-1, 1 << 11),
    st.integers(-1, 1 << 11),
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 4), st.integers(), st.text(max_size=3), TENSORS
)
KEYS = st.one_of(NAMES, st.integers(0, 2), st.none())
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=5),
    ),
    max_leaves=24,
)
STATE = st.dictionaries(NAMES, TREES, min_size=1, max_size=8)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
@given(data=st.binary(max_size=300))
def test_any_bytes(target: Callable[[bytes], None], data: bytes) -> None:
    """Bytes of no meaning are refused by name."""
    target(data)


@given(STATE, STATE)
def test_any_trees(states: dict[str, object], optim: dict[str, object]) -> None:
    """Trees with the right keys and anything at all under them are put together or refused."""
    files: list[Ranked] = []
    wrapped = {"optimizer_state_dict": optim}
    for name, root in ((STATES, states), (OPTIM, wrapped)):
        part = part_of(name)
        assert part is not None
        files.append(Ranked(part, RankFile(PLACE / name, root, STORAGES)))
    built(RankSet(tuple(files)))


@given(st.integers(0, 1 << 20), st.integers(0, 255), st.sampled_from(TARGETS[2:]))
def test_real_files_with_one_byte_changed(
    at: int, value: int, target: Callable[[bytes], None]
) -> None:
    """A flipped byte anywhere in a file of the framework's own is survived."""
    kind = "deepspeed/zero1" if target is TARGETS[2] else "megatron/tp2_gelu"
    path = sorted((FIXTURES / kind).rglob("*mp_rank_00*/model_optim_rng.pt"))
    path += sorted((FIXTURES / kind).rglob("mp_rank_00_model_states.pt"))
    raw = bytearray(path[0].read_bytes())
    raw[at % len(raw)] = value
    target(bytes(raw))
