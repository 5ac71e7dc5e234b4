"""What users see of a checkpoint: its tensors under their names, in their roles, and its step."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from forkmon.errors import FormatError
from forkmon.formats.pickles import Opaque, Storage, Stub, TorchTensor
from forkmon.formats.torch_file import read_torch
from forkmon.formats.torch_reader import TorchReader, torch_listing
from forkmon.formats.torch_tree import named_tensors, only_averages, step_of
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]
Tree = Callable[[object], object]


class Net(nn.Module):
    """Two layers, a norm with buffers, one buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.second = nn.Linear(4, 3, bias=False)
        self.register_buffer("scratch", torch.ones(2), persistent=False)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a maker of what a value is once it was saved and read."""

    def make(value: object) -> object:
        path = tmp_path / "x.pt"
        torch.save(value, path)
        fd = os.open(path, os.O_RDONLY)
        try:
            return read_torch(fd, path.stat().st_size, path).root
        finally:
            os.close(fd)

    return make


def names(root: object, role: str) -> list[str]:
    """Return the names of the tensors of a role."""
    return [name for name, found, _ in named_tensors(root) if found == role]


def trained(optimizer_of: Callable[[nn.Module], torch.optim.Optimizer]) -> tuple[
    Net, torch.optim.Optimizer
]:  # fmt: skip
    """Return a net and its optimizer after one step."""
    net = Net()
    optimizer = optimizer_of(net)
    out = net.second(net.norm(net.first(torch.randn(5, 3))))
    out.sum().backward()
    optimizer.step()
    return net, optimizer


SD = {"layer.weight": torch.ones(2, 2), "layer.bias": torch.ones(2)}
NAMES = ["layer.weight", "layer.bias"]


@pytest.mark.parametrize(
    "value",
    [
        SD,
        {"model": SD, "optimizer": {}, "iter_num": 5, "config": {"lr": 0.1}},
        {"state_dict": SD, "epoch": 1, "lr_schedulers": [], "callbacks": {}},
        {"model_state_dict": SD, "loss": torch.tensor(0.5)},
        {"state": {"model": SD, "timestamp": {"batch": 4}}, "rng": [{"cpu": torch.ones(4)}]},
        {"model": SD, "rng_state": torch.ones(8, dtype=torch.uint8), "best": torch.ones(())},
        {"module": SD, "lr_scheduler": {"t": torch.ones(2)}},
        [SD],
        ({"model": SD}, 7),
    ],
    ids=["plain", "nanogpt", "lightning", "tutorial", "composer", "rng", "deepspeed", "list",
         "tuple"],
)  # fmt: skip
def test_containers_are_taken_off(tree: Tree, value: object) -> None:
    """However a framework wraps a state dict, its names are its own."""
    assert names(tree(value), "model") == NAMES
    assert not names(tree(value), "ema")
    assert not names(tree(value), "optimizer")


def test_several_models_keep_their_names(tree: Tree) -> None:
    """A GAN's nets are told apart by the keys they lie under; so are the entries of a list."""
    root = tree({"netG": SD, "netD": SD, "epoch": 3, "netG_ema": SD})
    assert names(root, "model") == [f"{net}.{name}" for net in ("netG", "netD") for name in NAMES]
    assert names(root, "ema") == [f"netG.{name}" for name in NAMES]
    assert names(tree([SD, SD]), "model") == [f"{i}.{name}" for i in (0, 1) for name in NAMES]
    both = names(tree({"model": SD, "net": SD}), "model")
    assert both == [f"{key}.{name}" for key in ("model", "net") for name in NAMES]


@pytest.mark.parametrize(
    "value",
    [
        {"state_dict": SD, "state_dict_ema": SD},
        {"model": SD, "model_ema": SD},
        {"params": SD, "params_ema": SD},
        {"state_dict": SD, "ema_state_dict": SD, "message_hub": {}, "meta": {"iter": 3}},
        {"model": SD, "ema": {"decay": 0.9, "module": SD}},
        {"state_dict": SD, "callbacks": {"EMA": {"decay": 0.9, "ema_weights": SD}}},
        {"state_dict": SD, "current_model_state": SD,
         "averaging_state": {"n_averaged": torch.tensor(3)}},
        {"state": {"model": SD, "algorithms": [("EMA", {"ema_model": SD})]}},
    ],
    ids=["timm", "torchvision", "basicsr", "mmengine", "wrapped", "callback", "averaging",
         "composer"],
)  # fmt: skip
def test_averages_are_told_apart(tree: Tree, value: object) -> None:
    """Running averages have the model's names and a role of their own."""
    root = tree(value)
    assert names(root, "model") == NAMES
    assert names(root, "ema") == NAMES
    assert not only_averages(root)


def test_a_callback_that_swaps_averages_in_is_seen_through(tree: Tree) -> None:
    """Lightning's averaging callback stores the averages where the model was."""
    live = {"w.weight": torch.zeros(5)}
    root = tree({"state_dict": {"w.weight": torch.zeros(3)}, "current_model_state": live})
    found = {role: leaf for _, role, leaf in named_tensors(root)}
    assert isinstance(found["model"], TorchTensor)
    assert isinstance(found["ema"], TorchTensor)
    assert (found["model"].shape, found["ema"].shape) == ((5,), (3,))


def test_a_pickled_module_has_the_names_of_its_state_dict(tree: Tree) -> None:
    """Whole modules are walked without their classes, temporary buffers left out."""
    net = Net()
    assert names(tree(net), "model") == list(net.state_dict())
    assert names(tree({"model": net, "epoch": 1}), "model") == list(net.state_dict())


def test_a_file_of_averages_alone_is_shown_as_the_model(
    tree: Tree, tmp_path: Path, ref_of: RefOf
) -> None:
    """Ultralytics keeps nothing but the average; its tensors say so."""
    net = Net().half()
    value = {"epoch": 4, "model": None, "ema": net, "updates": 120, "optimizer": None}
    root = tree(value)
    assert names(root, "model") == list(net.state_dict())
    assert only_averages(root)
    listing = TorchReader().listing(ref_of(tmp_path / "x.pt"))
    assert {name for name, _ in listing.notes} == {tensor.name for tensor in listing.tensors}


def adam(net: nn.Module) -> torch.optim.Optimizer:
    """Return Adam over all parameters in one group."""
    return torch.optim.AdamW(net.parameters())


def decayed(net: nn.Module) -> torch.optim.Optimizer:
    """Return Adam with matrices in the first group and vectors in the second (nanoGPT)."""
    params = list(net.parameters())
    return torch.optim.AdamW([
        {"params": [p for p in params if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0},
    ])  # fmt: skip


def undecayed(net: nn.Module) -> torch.optim.Optimizer:
    """Return Adam with vectors in the first group and matrices in the second (timm)."""
    params = list(net.parameters())
    return torch.optim.AdamW([
        {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0},
        {"params": [p for p in params if p.dim() >= 2], "weight_decay": 0.1},
    ])  # fmt: skip


def named(net: nn.Module) -> torch.optim.Optimizer:
    """Return Adam that knows its parameters' names."""
    return torch.optim.AdamW(net.named_parameters())


@pytest.mark.parametrize("optimizer_of", [adam, decayed, undecayed, named])
def test_optimizer_states_carry_the_names_of_their_parameters(
    tree: Tree, optimizer_of: Callable[[nn.Module], torch.optim.Optimizer]
) -> None:
    """Each state is that of the parameter it is named after, whatever the groups."""
    net, optimizer = trained(optimizer_of)
    root = tree({"model": net.state_dict(), "optimizer": optimizer.state_dict()})
    by_parameter = {name: optimizer.state[p] for name, p in net.named_parameters()}
    wanted = {
        f"{name}.{key}": tuple(state[key].shape)
        for name, state in by_parameter.items() for key in ("exp_avg", "exp_avg_sq")
    }  # fmt: skip
    found = {name: leaf.shape for name, role, leaf in named_tensors(root)
             if role == "optimizer" and isinstance(leaf, TorchTensor)}  # fmt: skip
    assert found == wanted


def test_optimizer_states_that_fit_no_model_keep_their_numbers(tree: Tree) -> None:
    """Where counts or shapes do not match, nothing is guessed."""
    _, optimizer = trained(adam)
    root = tree({"model": SD, "optimizer": optimizer.state_dict()})
    assert "state.0.exp_avg" in names(root, "optimizer")


def test_an_optimizer_in_a_file_of_its_own_takes_the_names_of_the_model_beside_it(
    tmp_path: Path, ref_of: RefOf
) -> None:
    """optimizer.pt beside model.safetensors is given the model's parameters."""
    net, optimizer = trained(adam)
    path = tmp_path / "optimizer.pt"
    torch.save(optimizer.state_dict(), path)
    known = [(name, tuple(p.shape)) for name, p in net.state_dict().items()]
    listing = torch_listing([(path, ref_of(path).fingerprint.files[0])], known)
    assert {(t.name, t.role) for t in listing.tensors} == {
        (f"{name}.{key}", "optimizer") for name, _ in net.named_parameters()
        for key in ("exp_avg", "exp_avg_sq")
    }  # fmt: skip


def test_an_optimizer_beside_a_model_is_read_after_it(tmp_path: Path, ref_of: RefOf) -> None:
    """Whatever the order of their names, states are named after the model's parameters."""
    net, optimizer = trained(decayed)
    model, states = tmp_path / "pytorch_model.bin", tmp_path / "optimizer.bin"
    torch.save(net.state_dict(), model)
    torch.save(optimizer.state_dict(), states)
    listing = TorchReader().listing(ref_of(model, states, path=tmp_path))
    found = {t.name for t in listing.tensors if t.role == "optimizer"}
    assert found == {f"{name}.{key}" for name, _ in net.named_parameters()
                     for key in ("exp_avg", "exp_avg_sq")}  # fmt: skip
    assert {t.file.name for t in listing.tensors if t.role == "model"} == {model.name}


def test_several_optimizers_are_told_apart(tree: Tree) -> None:
    """States of a GAN's two optimizers never share a name."""
    _, one = trained(adam)
    _, two = trained(adam)
    root = tree({"netG": SD, "optimizerG": one.state_dict(), "optimizerD": two.state_dict()})
    found = names(root, "optimizer")
    assert len(found) == len(set(found)) == 2 * 2 * 5
    assert found[0].startswith("optimizerG.")


@pytest.mark.parametrize(
    ("value", "step", "epoch"),
    [
        ({"iter_num": 2000, "model": {}}, 2000, None),
        ({"global_step": 10, "epoch": 2, "state_dict": {}}, 10, 2.0),
        ({"meta": {"iter": 7, "epoch": 1}, "state_dict": {}}, 7, 1.0),
        (
            {"state": {"timestamp": {"Timestamp": {"batch": 40, "epoch": 0, "iteration": 0}}}},
            40,
            0.0,
        ),
        ({"model": {}, "iter_num": 20, "step_count": 5}, 5, None),
        ({"state": {"timestamp": {"batch": 41}}}, 41, None),
        ({"optimizer_history": [{"num_updates": 3}, {"num_updates": 9}]}, 9, None),
        ({"iteration": 99, "args": argparse.Namespace(step=1)}, 99, None),
        ({"epoch": 4, "updates": 120, "model": None}, 120, 4.0),
        ({"epoch": -1, "step": True}, None, None),
        ({"state": {0: {"step": 5.0}}, "param_groups": []}, None, None),
        ({"step": 12.0}, 12, None),
        ({"step": float("nan")}, None, None),
        ({"step": 10**30}, None, None),
        (["step", 3], None, None),
    ],
)
def test_the_step_is_read_from_what_the_file_says(
    tree: Tree, value: object, step: int | None, epoch: float | None
) -> None:
    """Each framework's counter is found; what is none is not taken for one."""
    assert step_of(tree(value)) == (step, epoch)


def test_objects_that_share_and_circle_end(tree: Tree) -> None:
    """A cycle is walked once; what is reached in too many ways is refused."""
    circle: dict[str, object] = {"a.w": torch.ones(1)}
    circle["again"] = circle
    assert names(tree(circle), "model") == ["a.w"]
    leaf = TorchTensor(Storage("f32", "0", 1), 0, (1,), (1,), "f32")
    laughs: object = {"w": leaf}
    for _ in range(40):
        laughs = {"x.a": laughs, "x.b": laughs}
    with pytest.raises(FormatError, match="more than"):
        list(named_tensors(laughs))


def test_modules_and_stubs_in_strange_shapes_are_no_harm() -> None:
    """Attributes of the wrong kind yield nothing."""
    odd = Stub("a.Module")
    odd.state = {"_parameters": 3, "_modules": [1, 2], "_buffers": None}
    assert not list(named_tensors(odd))
    holder = Stub("a.State")
    holder.state = {"w": Opaque("f32", "why")}
    assert [name for name, _, _ in named_tensors(holder)] == ["w"]


def test_a_file_without_weights_says_so(tmp_path: Path, ref_of: RefOf) -> None:
    """training_args.bin is no checkpoint."""
    path = tmp_path / "x.bin"
    torch.save(argparse.Namespace(lr=1), path)
    with pytest.raises(FormatError, match="no weights"):
        TorchReader().listing(ref_of(path))


def test_every_listing_has_each_name_once_in_a_role(tree: Tree) -> None:
    """Sections whose names would be the same are told apart by their keys."""
    values: list[Mapping[str, object]] = [
        {"model": SD, "ema": SD, "model_ema": SD},
        {"model": {"a.b": torch.ones(1), "a": {"b": torch.ones(1)}}},
        {"state_dict": SD, "model": SD, "extra": SD, "extra_ema": SD, "ema": SD},
    ]
    for value in values[:1] + values[2:]:
        found = [(name, role) for name, role, _ in named_tensors(tree(value))]
        assert len(found) == len(set(found))
