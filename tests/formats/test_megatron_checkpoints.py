"""Megatron-LM's rank files, written by megatron-core's models on several ranks, as one model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from forkmon.formats import megatron
from forkmon.formats.layout import Layout
from forkmon.formats.megatron_slices import WHOLE, cut_axis
from forkmon.formats.proof import Damaged, Partial, Whole
from forkmon.formats.refs import Listing

from .rank_checkpoints import (
    FIXTURES,
    megatron_state,
    names_in,
    ref_of_layout,
    save,
    stored,
    values_of,
)

MEGATRON = FIXTURES / "megatron"
CASES = ("tp2_pp2", "tp2_gelu", "ep2", "vpp")
STEP = "iter_0000007"
FILE = "model_optim_rng.pt"


def read(directory: Path) -> tuple[Listing, dict[str, torch.Tensor]]:
    """Return what the reader lists of a directory, and the values of it all by name."""
    layout = megatron.recognise(names_in(directory))
    assert layout is not None
    ref = ref_of_layout(directory, layout)
    listing = megatron.MegatronReader().listing(ref)
    return listing, {name: value for (_, name), value in values_of(ref, listing).items()}


def proved(directory: Path) -> Whole | Partial | Damaged:
    """Return what the proof of a directory says."""
    layout = megatron.recognise(names_in(directory))
    assert layout is not None
    return megatron.prove(directory, layout.files)


@pytest.mark.parametrize("case", CASES)
def test_ranks_together_are_the_whole_model(case: str) -> None:
    """Slices, stages and experts come to the places where sharded_state_dict says they belong."""
    listing, values = read(MEGATRON / case / STEP)
    expected = stored(MEGATRON / f"{case}.expected.safetensors")
    assert values.keys() == expected.keys()
    assert all(torch.equal(values[name], expected[name]) for name in expected)
    assert listing.skipped == ()
    assert dict(listing.metadata) == {"step": "7"}


@pytest.mark.parametrize("case", CASES)
def test_a_finished_checkpoint_is_whole(case: str) -> None:
    """All ranks there and of one iteration: complete, with that iteration as its step."""
    assert proved(MEGATRON / case / STEP) == Whole(zero_tail=False, step=7)


@pytest.mark.parametrize("case", CASES)
def test_a_missing_rank_is_told(case: str, tmp_path: Path) -> None:
    """Without any one of its files, and cut anywhere, a checkpoint is unfinished."""
    place = tmp_path / STEP
    shutil.copytree(MEGATRON / case / STEP, place)
    for path in sorted(place.rglob(FILE)):
        whole = path.read_bytes()
        path.unlink()
        assert isinstance(proved(place), Partial), path
        for length in (0, 1, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            assert not isinstance(proved(place), Whole), (path, length)
        path.write_bytes(whole)
    assert isinstance(proved(place), Whole)


def test_ranks_of_two_iterations_are_not_one_checkpoint(tmp_path: Path) -> None:
    """A directory overwritten by a later save is unfinished until all ranks have it."""
    for rank in range(2):
        state = megatron_state({"w": torch.ones(2)}, iteration=rank, tensor_model_parallel_size=2)
        save(tmp_path / f"mp_rank_{rank:02d}" / FILE, state)
    found = proved(tmp_path)
    assert isinstance(found, Partial)
    assert "different steps" in found.final


def test_nested_dictionaries_of_old_versions_are_walked(tmp_path: Path) -> None:
    """`language_model` of Megatron before its core gives dotted names (described layout)."""
    word = torch.randn(8, 4)
    for rank in range(2):
        encoder = {
            "layers.0.self_attention.query_key_value.weight": torch.full((6, 4), float(rank)),
            "layers.0.mlp.dense_4h_to_h.weight": torch.full((4, 8), float(rank)),
            "layers.0.mlp.dense_4h_to_h.bias": torch.ones(4),
            "final_layernorm.weight": torch.ones(4),
        }
        embedding = {"word_embeddings": {"weight": word[4 * rank : 4 * rank + 4].clone()}}
        model = {"language_model": {"embedding": embedding, "encoder": encoder}}
        state = megatron_state(model, tensor_model_parallel_size=2)
        save(tmp_path / f"mp_rank_{rank:02d}" / FILE, state)
    _, values = read(tmp_path)
    layer = "language_model.encoder.layers.0"
    assert torch.equal(values["language_model.embedding.word_embeddings.weight"], word)
    assert (
        values[f"{layer}.self_attention.query_key_value.weight"][:, 0].tolist() == [0] * 6 + [1] * 6
    )
    assert values[f"{layer}.mlp.dense_4h_to_h.weight"][0].tolist() == [0] * 8 + [1] * 8
    assert values[f"{layer}.mlp.dense_4h_to_h.bias"].shape == (4,)


def test_what_cannot_be_joined_is_shown_rank_by_rank(tmp_path: Path) -> None:
    """Of an unknown kind of module each rank's slice is shown, and a note says why."""
    for rank in range(2):
        model = {"mixer.in_proj.weight": torch.full((3,), float(rank)), "only": torch.ones(1)}
        model |= {"decoder._extra_state": torch.ones(3)}
        if rank:
            del model["only"]
        state = megatron_state(model, tensor_model_parallel_size=2)
        save(tmp_path / f"mp_rank_{rank:02d}" / FILE, state)
    listing, values = read(tmp_path)
    assert values.keys() == {"mixer.in_proj.weight[tp0]", "mixer.in_proj.weight[tp1]"}
    assert {each.stored_as for each in listing.tensors} == {"mixer.in_proj.weight"}
    assert "not known" in dict(listing.notes)["mixer.in_proj.weight[tp1]"]
    [skipped] = listing.skipped
    assert (skipped.name, skipped.is_parameter) == ("only", True)


def test_numbered_optimizer_states_are_named_as_such(tmp_path: Path) -> None:
    """The optimizer has no names in the file; that is said, and not a missing parameter."""
    state = megatron_state({"w": torch.ones(2)}, tensor_model_parallel_size=1)
    save(tmp_path / "mp_rank_00" / FILE, state | {"optimizer": {"state": {}}})
    listing, values = read(tmp_path)
    assert values.keys() == {"w"}
    [skipped] = listing.skipped
    assert (skipped.name, skipped.is_parameter) == ("optimizer", False)


def test_a_directory_without_arguments_counts_its_numbers(tmp_path: Path) -> None:
    """Without the trainer's arguments the numbers in the names say which ranks there are."""
    for rank in (0, 2):
        save(tmp_path / f"mp_rank_{rank:02d}" / FILE, {"model": {"w": torch.ones(2)}})
    assert isinstance(proved(tmp_path), Partial)
    save(tmp_path / "mp_rank_01" / FILE, {"model": {"w": torch.ones(2)}})
    assert proved(tmp_path) == Whole(zero_tail=False, step=None)


@pytest.mark.parametrize(
    "arguments",
    [
        {"tensor_model_parallel_size": 1 << 30, "pipeline_model_parallel_size": 1 << 30},
        {"tensor_model_parallel_size": 0},
        {"tensor_model_parallel_size": "2"},
        {"pipeline_model_parallel_size": -1},
    ],
)
def test_absurd_arguments_do_no_harm(tmp_path: Path, arguments: dict[str, object]) -> None:
    """Sizes out of a file are checked before ranks are counted up to them."""
    save(tmp_path / "mp_rank_00" / FILE, megatron_state({"w": torch.ones(2)}, **arguments))
    assert isinstance(proved(tmp_path), Whole | Partial | Damaged)


@pytest.mark.parametrize(
    ("names", "files"),
    [
        ({f"mp_rank_00/{FILE}", "mp_rank_00/distrib_optim.pt"}, (f"mp_rank_00/{FILE}",)),
        ({f"mp_rank_01_003/{FILE}"}, (f"mp_rank_01_003/{FILE}",)),
        ({f"mp_rank_01_003_007/{FILE}"}, (f"mp_rank_01_003_007/{FILE}",)),
    ],
)
def test_rank_directories_are_recognised(names: set[str], files: tuple[str, ...]) -> None:
    """Any number of parallel dimensions in the names is one layout."""
    assert megatron.recognise(frozenset(names)) == Layout("megatron", files, None)


@pytest.mark.parametrize(
    "names", [set[str](), {FILE}, {f"{STEP}/mp_rank_00/{FILE}"}, {f"mp_rank_0/{FILE}"}]
)
def test_others_are_not(names: set[str]) -> None:
    """The directory of a run is no checkpoint, nor is a rank's own."""
    assert megatron.recognise(frozenset(names)) is None


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("decoder.layers.0.self_attention.linear_qkv.weight", 0),
        ("decoder.layers.0.self_attention.linear_qkv.bias", 0),
        ("decoder.layers.0.self_attention.linear_qkv.layer_norm_weight", WHOLE),
        ("decoder.layers.0.self_attention.linear_proj.weight", 1),
        ("decoder.layers.0.self_attention.linear_proj.bias", WHOLE),
        ("decoder.layers.0.self_attention.q_layernorm.weight", WHOLE),
        ("decoder.layers.0.mlp.experts.linear_fc1.weight3", 0),
        ("decoder.layers.0.mlp.experts.linear_fc2.weight3", 1),
        ("decoder.layers.0.mlp.router.weight", WHOLE),
        ("embedding.word_embeddings.weight", 0),
        ("output_layer.weight", 0),
        ("layers.3.attention.dense.weight", 1),
        ("layers.3.mlp.w2.weight", 1),
        ("layers.3.mlp.w1.weight", 0),
        ("layers.3.attention.rotary_emb.inv_freq", WHOLE),
        ("lm_head.dense.weight", None),
        ("decoder.layers.0.mixer.in_proj.weight", None),
        ("weight", None),
    ],
)
def test_names_tell_how_a_tensor_is_cut(name: str, axis: int | None) -> None:
    """Output axis of column-parallel modules, input axis of row-parallel ones, or whole."""
    assert cut_axis(name) == axis
