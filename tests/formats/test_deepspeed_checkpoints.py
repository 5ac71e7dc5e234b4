"""DeepSpeed's checkpoints, written by DeepSpeed itself on two ranks, against what it reads back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from forkmon.errors import CheckpointError
from forkmon.formats import deepspeed
from forkmon.formats.layout import Layout
from forkmon.formats.proof import Damaged, Partial, Whole
from forkmon.formats.refs import Listing

from .rank_checkpoints import (
    FIXTURES,
    deepspeed_state,
    names_in,
    ref_of_layout,
    save,
    stored,
    values_of,
)

DEEPSPEED = FIXTURES / "deepspeed"
CASES = ("zero0", "zero1", "zero1_bf16", "zero2", "zero3_groups", "pipeline", "experts")
PARTITIONED = ("zero1", "zero2", "zero3_groups")
Values = dict[tuple[str, str], torch.Tensor]


def read(directory: Path) -> tuple[Listing, Values]:
    """Return what the reader lists of a directory, and the values of it all."""
    layout = deepspeed.recognise(names_in(directory))
    assert layout is not None
    ref = ref_of_layout(directory, layout)
    listing = deepspeed.DeepspeedReader().listing(ref)
    return listing, values_of(ref, listing)


def proved(directory: Path) -> Whole | Partial | Damaged:
    """Return what the proof of a directory says."""
    layout = deepspeed.recognise(names_in(directory))
    assert layout is not None
    return deepspeed.prove(directory, layout.files)


@pytest.fixture
def copied(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a copy of a case's step directory, to be damaged."""
    place = tmp_path / "global_step3"
    shutil.copytree(DEEPSPEED / str(request.param) / "global_step3", place)
    return place


@pytest.mark.parametrize("case", ["zero0", "zero1", "zero1_bf16", "zero2", "pipeline", "experts"])
def test_module_weights_are_those_of_the_engine(case: str) -> None:
    """The model's tensors are the weights of the engine that saved, bit for bit, all of them."""
    listing, values = read(DEEPSPEED / case / "global_step3")
    expected = stored(DEEPSPEED / f"{case}.module.safetensors")
    assert {name for role, name in values if role == "model"} == set(expected)
    assert all(torch.equal(values["model", name], expected[name]) for name in expected)
    assert not any(skipped.is_parameter for skipped in listing.skipped)


@pytest.mark.parametrize("case", PARTITIONED)
def test_partitions_give_what_zero_to_fp32_gives(case: str) -> None:
    """The fp32 weights out of flat partitions are those of DeepSpeed's own script, bit for bit."""
    _, values = read(DEEPSPEED / case / "global_step3")
    expected = stored(DEEPSPEED / f"{case}.expected.safetensors")
    assert len(expected) >= 9
    for name, tensor in expected.items():
        master = values.get(("optimizer", f"{name}.fp32"))
        found = values["model", name] if master is None else master
        assert torch.equal(found.float(), tensor.float())


@pytest.mark.parametrize("case", ["zero1", "zero1_bf16", "zero2", "zero3_groups"])
def test_moments_are_those_of_the_universal_conversion(case: str) -> None:
    """The optimizer's moments are those that DeepSpeed's ds_to_universal finds."""
    _, values = read(DEEPSPEED / case / "global_step3")
    expected = stored(DEEPSPEED / f"{case}.moments.safetensors")
    assert len(expected) >= 12
    for name, tensor in expected.items():
        # Of ZeRO-3 the conversion leaves the tensors flat.
        assert torch.equal(values["optimizer", name].flatten(), tensor.flatten())


def test_zero_3_parameters_say_where_they_come_from() -> None:
    """What stands for ZeRO-3's placeholders is of role model, with a note, and never skipped."""
    listing, _ = read(DEEPSPEED / "zero3_groups" / "global_step3")
    weights = {each.name: each for each in listing.tensors if each.role == "model"}
    assert weights["embed.weight"].shape == (11, 7)
    assert weights["embed.weight"].dtype == "f32"
    assert weights["frozen.weight"].dtype == "bf16"
    assert "fp32 partitions" in dict(listing.notes)["embed.weight"]
    assert listing.skipped == ()
    assert not any(each.name.endswith(".fp32") for each in listing.tensors)


def test_a_universal_checkpoint_gives_the_weights_in_their_shapes() -> None:
    """A converted ZeRO-3 checkpoint holds flat tensors; they get their shapes back."""
    listing, values = read(DEEPSPEED / "universal_zero3_groups" / "global_step3")
    expected = stored(DEEPSPEED / "zero3_groups.expected.safetensors")
    model = {name: value for (role, name), value in values.items() if role == "model"}
    assert model.keys() == expected.keys()
    assert all(torch.equal(model[name].float(), expected[name].float()) for name in expected)
    assert model["up.weight"].shape == (13, 7)
    assert {each.name for each in listing.tensors} >= {"up.weight.exp_avg", "up.bias.exp_avg_sq"}


@pytest.mark.parametrize("case", [*CASES, "universal_zero3_groups"])
def test_a_finished_checkpoint_is_whole(case: str) -> None:
    """Everything DeepSpeed wrote is taken for complete, with the step that its files name."""
    assert proved(DEEPSPEED / case / "global_step3") == Whole(zero_tail=False, step=3)


@pytest.mark.parametrize(
    "copied", ["zero1", "zero2", "zero3_groups", "pipeline", "experts"], indirect=True
)
def test_a_missing_rank_is_told(copied: Path) -> None:
    """Without any one of its files, and cut anywhere, a checkpoint is unfinished."""
    for path in sorted(copied.iterdir()):
        whole = path.read_bytes()
        if "expp_rank" in path.name:
            continue  # numbered optimizer states, not read
        path.unlink()
        assert isinstance(proved(copied), Partial), path.name
        for length in (0, 1, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            assert not isinstance(proved(copied), Whole), (path.name, length)
        path.write_bytes(whole)
    assert proved(copied) == Whole(zero_tail=False, step=3)


@pytest.mark.parametrize("copied", ["zero1"], indirect=True)
def test_module_weights_alone_are_a_checkpoint(copied: Path) -> None:
    """Optimizer files deleted to save room leave the model readable."""
    for path in copied.glob("*_optim_states.pt"):
        path.unlink()
    assert isinstance(proved(copied), Whole)
    listing, _ = read(copied)
    assert {each.role for each in listing.tensors} == {"model"}


def test_files_of_two_steps_are_not_one_checkpoint(tmp_path: Path) -> None:
    """Ranks that name different steps are a save in the middle of another."""
    for rank, step in ((0, 3), (1, 4)):
        state = deepspeed_state({"w": torch.ones(2)}, mp_world_size=2, global_steps=step)
        save(tmp_path / f"mp_rank_{rank:02d}_model_states.pt", state)
    found = proved(tmp_path)
    assert isinstance(found, Partial)
    assert "different steps" in found.final


def test_a_storage_service_placeholder_is_refused(tmp_path: Path) -> None:
    """A file with an empty string in place of the state is named, not shown as zeros."""
    torch.save("", tmp_path / "mp_rank_00_model_states.pt")
    found = proved(tmp_path)
    assert isinstance(found, Damaged)
    assert "placeholder" in found.reason


def zero3(directory: Path, optim: dict[str, object]) -> None:
    """Write a ZeRO-3 checkpoint of one rank and one parameter around its optimizer state."""
    state = deepspeed_state(
        {"w": torch.empty(0, dtype=torch.bfloat16)}, param_shapes=[{"w": torch.Size([2, 3])}]
    )
    save(directory / "zero_pp_rank_0_mp_rank_00_model_states.pt", state)
    save(directory / "zero_pp_rank_0_mp_rank_00_optim_states.pt", {"optimizer_state_dict": optim})


@pytest.mark.parametrize(
    "optim",
    [
        {"partition_count": 1, "fp32_flat_groups": [None]},
        {"partition_count": 1, "fp32_flat_groups": [torch.ones(5)]},
        {"partition_count": 4, "fp32_flat_groups": [torch.ones(6)]},
        {"partition_count": 1},
    ],
)
def test_placeholders_without_partitions_are_skipped(
    tmp_path: Path, optim: dict[str, object]
) -> None:
    """Where the partitions do not make the parameter it is skipped with a reason: never zeros."""
    zero3(tmp_path, optim)
    listing, _ = read(tmp_path)
    assert listing.tensors == ()
    [skipped] = [each for each in listing.skipped if each.is_parameter]
    assert skipped.name == "w"
    assert skipped.reason.startswith("ZeRO-3 placeholder")


def test_placeholders_without_shapes_are_skipped(tmp_path: Path) -> None:
    """A ZeRO-3 file that was saved without an optimizer holds names only, and says so."""
    state = deepspeed_state({"w": torch.empty(0, dtype=torch.bfloat16), "scale": torch.ones(2)})
    save(tmp_path / "zero_pp_rank_0_mp_rank_00_model_states.pt", state)
    listing, _ = read(tmp_path)
    assert [each.name for each in listing.tensors] == ["scale"]
    assert [each.name for each in listing.skipped] == ["w"]


def test_paddings_between_parameters_are_left_out(tmp_path: Path) -> None:
    """ZeRO-2's gaps behind parameters are known from the file, and belong to none."""
    state = deepspeed_state(
        {"a": torch.zeros(3), "b": torch.zeros(2)},
        param_shapes=[{"a": torch.Size([3]), "b": torch.Size([2])}],
    )
    save(tmp_path / "mp_rank_00_model_states.pt", state)
    optim = {
        "partition_count": [1],
        "param_alignment_paddings": [[1, 0]],
        "single_partition_of_fp32_groups": [torch.tensor([1.0, 2, 3, -9, 4, 5])],
    }
    name = "zero_pp_rank_0_mp_rank_00_optim_states.pt"
    save(tmp_path / name, {"optimizer_state_dict": optim})
    _, values = read(tmp_path)
    assert values["optimizer", "a.fp32"].tolist() == [1, 2, 3]
    assert values["optimizer", "b.fp32"].tolist() == [4, 5]


def test_tensor_parallel_layers_are_joined(tmp_path: Path) -> None:
    """GPT-NeoX's layer files of two tensor-parallel ranks give matrices (described layout)."""
    qkv, dense = torch.randn(6, 4), torch.randn(4, 4)
    for rank in range(2):
        layer = {
            "attention.query_key_value.weight": qkv[3 * rank : 3 * rank + 3].clone(),
            "attention.dense.weight": dense[:, 2 * rank : 2 * rank + 2].clone(),
            "attention.dense.bias": torch.ones(4),
            "input_layernorm.weight": torch.ones(4),
            "mlp.odd.weight": torch.full((2,), float(rank)),
        }
        save(tmp_path / f"layer_02-model_{rank:02d}-model_states.pt", layer)
        state = deepspeed_state(None, mp_world_size=2)
        save(tmp_path / f"mp_rank_{rank:02d}_model_states.pt", state)
    listing, values = read(tmp_path)
    assert torch.equal(values["model", "layers.2.attention.query_key_value.weight"], qkv)
    assert torch.equal(values["model", "layers.2.attention.dense.weight"], dense)
    assert values["model", "layers.2.attention.dense.bias"].shape == (4,)
    assert values["model", "layers.2.input_layernorm.weight"].shape == (4,)
    assert values["model", "layers.2.mlp.odd.weight[tp1]"].tolist() == [1, 1]
    assert "not known" in dict(listing.notes)["layers.2.mlp.odd.weight[tp0]"]


def test_shared_parameters_are_shown_once(tmp_path: Path) -> None:
    """A parameter under two names is listed under the first, and the other says so."""
    shared = torch.ones(2, 2)
    state = deepspeed_state({"embed": shared, "head": shared}, shared_params={"head": "embed"})
    save(tmp_path / "mp_rank_00_model_states.pt", state)
    listing, _ = read(tmp_path)
    assert [each.name for each in listing.tensors] == ["embed"]
    [alias] = listing.skipped
    assert (alias.name, alias.is_parameter) == ("head", False)


STEP = "mp_rank_00_model_states.pt"


@pytest.mark.parametrize(
    ("names", "files", "marker"),
    [
        ({STEP, "zero_to_fp32.py"}, (STEP,), None),
        ({f"global_step3/{STEP}", "latest", "trainer_state.json"}, (f"global_step3/{STEP}",),
         "trainer_state.json"),
        ({f"checkpoint/{STEP}", "latest"}, (f"checkpoint/{STEP}",), "latest"),
        ({"zero/a.weight/fp32.pt", "zero/a.weight/step.pt"}, ("zero/a.weight/fp32.pt",), None),
        ({"bf16_zero_pp_rank_10_mp_rank_01_optim_states.pt"},
         ("bf16_zero_pp_rank_10_mp_rank_01_optim_states.pt",), None),
    ],
)  # fmt: skip
def test_directories_are_recognised_by_names(
    names: set[str], files: tuple[str, ...], marker: str | None
) -> None:
    """A step's directory is one, as is a Trainer's or Lightning's around a single one."""
    assert deepspeed.recognise(frozenset(names)) == Layout("deepspeed", files, marker)


@pytest.mark.parametrize(
    "names",
    [
        set[str](),
        {f"global_step3/{STEP}", "latest"},
        {f"global_step3/{STEP}", f"global_step4/{STEP}", "latest", "trainer_state.json"},
        {f"checkpoint-3/global_step3/{STEP}", "trainer_state.json"},
        {"model.safetensors", "trainer_state.json"},
        {f"{STEP}.tmp"},
    ],
)
def test_runs_and_others_are_not_taken_for_a_checkpoint(names: set[str]) -> None:
    """The directory of a run, which more steps will join, is none; nor is what others wrote."""
    assert deepspeed.recognise(frozenset(names)) is None


def test_nested_folders_are_read_in_place() -> None:
    """The files of a folder within the checkpoint are read by their names with the folder."""
    directory = DEEPSPEED / "zero1"
    names = names_in(directory) | {"trainer_state.json"}
    layout = deepspeed.recognise(names)
    assert layout is not None
    ref = ref_of_layout(directory, layout)
    listing = deepspeed.DeepspeedReader().listing(ref)
    assert len(listing.tensors) == 34
    assert isinstance(deepspeed.prove(directory, layout.files), Whole)


@pytest.mark.parametrize("shape", [[2, -3], [2, "3"], [1 << 40, 1 << 40], None, [True]])
def test_shapes_that_are_none_are_refused(tmp_path: Path, shape: object) -> None:
    """A shape out of a file is checked before anything is computed with it."""
    state = deepspeed_state({"w": torch.empty(0)}, param_shapes=[{"w": shape}])
    save(tmp_path / "zero_pp_rank_0_mp_rank_00_model_states.pt", state)
    optim = {"fp32_flat_groups": [torch.ones(6)], "partition_count": 1}
    name = "zero_pp_rank_0_mp_rank_00_optim_states.pt"
    save(tmp_path / name, {"optimizer_state_dict": optim})
    with pytest.raises(CheckpointError):
        read(tmp_path)
