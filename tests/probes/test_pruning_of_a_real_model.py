"""Energy against loss: a sample run's language model, pruned by magnitude for real."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from forkmon.commands.probe_found import checkpoints
from forkmon.probes.pruning import FRACTIONS, Parameters, Result, measure

from .conftest import Measure

SAMPLES = Path(__file__).resolve().parents[2] / "sample_runs"
PRUNED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
ONE_PERCENT = FRACTIONS.index(0.25)
"""At a quarter pruned the energy that goes is just below 1 %."""


@pytest.fixture(scope="module")
def training() -> Iterator[ModuleType]:
    """Return the script that trained the sample runs, on one thread."""
    spec = importlib.util.spec_from_file_location("sample_training", SAMPLES / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sample_training"] = module
    spec.loader.exec_module(module)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield module
    torch.set_num_threads(before)
    del sys.modules["sample_training"]


def pruned(weights: dict[str, Tensor], fraction: float) -> tuple[dict[str, Tensor], float]:
    """Return the weights without the smallest of all matrices', and the energy that stays."""
    matrices = [name for name, w in weights.items() if w.ndim > 1]
    every = torch.cat([weights[name].abs().flatten() for name in matrices]).double()
    threshold = every.sort().values[int(fraction * len(every)) - 1]
    kept = {
        name: torch.where(w.abs() <= threshold, 0.0, w) if name in matrices else w
        for name, w in weights.items()
    }
    return kept, float((every[every > threshold] ** 2).sum() / (every**2).sum())


def losses(training: ModuleType, step: int) -> tuple[list[float], list[float]]:
    """Return the energy kept and the loss added at each of `PRUNED`."""
    shape = training.Shape(96, 96, 64, layers=2, heads=4, norm=True, last_only=False)
    tokens = training.tokens_of(training.corpus())
    draw = torch.Generator().manual_seed(0)
    fixed = training.windows(tokens[-len(tokens) // 20 :], shape.context, 128, draw)
    path = SAMPLES / "tiny-lm" / f"checkpoint-{step}" / "model.safetensors"
    weights = {name: w.float() for name, w in load_file(path).items()}
    model = training.Transformer(shape)

    def loss(content: dict[str, Tensor]) -> float:
        model.load_state_dict(content)
        with torch.no_grad():
            return float(training.next_token_loss(model, fixed))

    whole = loss(weights)
    found = [pruned(weights, fraction) for fraction in PRUNED]
    return [kept for _, kept in found], [loss(content) - whole for content, _ in found]


@pytest.fixture(scope="module")
def measured(training: ModuleType) -> dict[int, tuple[list[float], list[float]]]:
    """Return energy and loss of some steps of training."""
    return {step: losses(training, step) for step in (64, 645, 2048)}


def test_the_curve_is_that_of_a_model_that_was_pruned(
    measured: dict[int, tuple[list[float], list[float]]], opened: Measure
) -> None:
    """The energy the probe tells from counts is what is left in the pruned weights."""
    for step, (kept, _) in measured.items():
        ref = checkpoints(SAMPLES / "tiny-lm" / f"checkpoint-{step}").ready[0]
        found: Result = opened(ref, lambda it: measure(it, Parameters(), lambda *_: None))
        told = [found.model.kept[FRACTIONS.index(fraction)] for fraction in PRUNED]
        # The threshold takes all weights that equal it: a little more than was asked for.
        assert told == pytest.approx(kept, abs=2e-3)
        assert found.model.kept[ONE_PERCENT] > 0.99


def test_loss_follows_the_energy_that_goes(
    measured: dict[int, tuple[list[float], list[float]]],
) -> None:
    """More energy taken, more loss added, at every trained step; below 1 % it is hardly felt."""
    for kept, added in measured.values():
        assert kept == sorted(kept, reverse=True)
        assert added[1:] == sorted(added[1:])
        assert added[PRUNED.index(0.2)] < 0.05


def test_the_same_energy_costs_more_later(
    measured: dict[int, tuple[list[float], list[float]]],
) -> None:
    """Why weights alone cannot call pruning free: half the weights cost 14 times as much later."""
    half = PRUNED.index(0.5)
    energies = [kept[half] for kept, _ in measured.values()]
    costs = [added[half] for _, added in measured.values()]
    assert max(energies) - min(energies) < 0.005
    assert costs == sorted(costs)
    assert costs[-1] > 5 * costs[0]
