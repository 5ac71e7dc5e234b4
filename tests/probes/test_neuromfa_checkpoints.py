"""NeuroMFA on checkpoints: families, scale, structure, emergence, what cannot be measured."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from forkmon.commands.probe_found import checkpoints
from forkmon.errors import UsageError
from forkmon.probes import neuromfa
from forkmon.probes.neuromfa import emergence
from forkmon.probes.neuromfa_values import Parameters, Result, Sample
from forkmon.probes.protocol import Declined, Subject
from forkmon.runs.refs import CheckpointRef

from .conftest import LONG_AGO, Land, Measure

H = 96
Floats = NDArray[np.float32]
FULL = Parameters(s=0)


def neox(seed: int = 0, blocks: int = 2, scale: float = 0.1) -> dict[str, Floats]:
    """Return a small GPT-NeoX of Gaussian weights."""
    rng = np.random.default_rng(seed)

    def matrix(out: int, into: int) -> Floats:
        return (rng.standard_normal((out, into)) * scale).astype(np.float32)

    weights = {"embed_in.weight": matrix(50, H)}
    for block in range(blocks):
        at = f"gpt_neox.layers.{block}."
        weights[at + "attention.query_key_value.weight"] = matrix(3 * H, H)
        weights[at + "attention.dense.weight"] = matrix(H, H)
        weights[at + "mlp.dense_h_to_4h.weight"] = matrix(4 * H, H)
        weights[at + "mlp.dense_4h_to_h.weight"] = matrix(H, 4 * H)
    return weights


def gpt2(weights: dict[str, Floats]) -> dict[str, Floats]:
    """Return the same weights under GPT-2's names: [in, out], q, k and v side by side."""
    names = {
        "attention.query_key_value": "attn.c_attn", "attention.dense": "attn.c_proj",
        "mlp.dense_h_to_4h": "mlp.c_fc", "mlp.dense_4h_to_h": "mlp.c_proj",
    }  # fmt: skip
    found: dict[str, Floats] = {}
    for name, matrix in weights.items():
        new = name.replace("gpt_neox.layers", "transformer.h").replace("embed_in", "wte")
        for old, other in names.items():
            new = new.replace(old, other)
        found[new] = matrix if "wte" in new else matrix.T
    return found


@pytest.fixture
def result(opened: Measure) -> Any:
    """Return what measures a checkpoint that has a result."""

    def measure(ref: CheckpointRef, parameters: Parameters = Parameters()) -> Result:  # noqa: B008
        found = opened(ref, lambda it: neuromfa.measure(it, parameters, lambda *_: None))
        assert isinstance(found, Result), found
        return found

    return measure


def test_families_with_the_same_weights_have_the_same_result(land: Land, result: Any) -> None:
    """A transposed layout changes no neuron: GPT-2's Conv1D gives GPT-NeoX's numbers."""
    weights = neox()
    one, other = result(land(1, weights)), result(land(2, gpt2(weights)))
    assert (one.rule, other.rule) == ("gpt-neox", "gpt-2")
    assert one.real == other.real
    assert [layer.mean for layer in one.layers] == [layer.mean for layer in other.layers]
    assert one.nodes == 10 * 5 * 2 * 32


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_types_count_alike(dtype: str, land: Land, result: Any) -> None:
    """Values that every type holds have one result, from tables of codes or from floats."""
    weights = {name: w.astype(np.float16) for name, w in neox().items()}
    plain = result(land(1, weights))
    other = result(land(2, {name: w.astype(dtype) for name, w in weights.items()}))
    assert other == plain


def test_all_neurons_are_every_neuron(land: Land, result: Any) -> None:
    """s=0: one sample of everything, so no error is known; permuted neurons change nothing."""
    weights = neox(scale=0.05)
    found = result(land(1, weights), FULL)
    assert found.real.alpha_0.error is None
    assert found.edges == 2 * 12 * H * H
    assert found.nodes == 2 * 7 * H
    order = np.random.default_rng(1).permutation(4 * H)
    for block in range(2):
        at = f"gpt_neox.layers.{block}.mlp."
        weights[at + "dense_h_to_4h.weight"] = weights[at + "dense_h_to_4h.weight"][order]
        weights[at + "dense_4h_to_h.weight"] = weights[at + "dense_4h_to_h.weight"][:, order]
    mixed = result(land(2, weights), FULL)
    assert mixed.real.alpha_0.value == pytest.approx(found.real.alpha_0.value, abs=1e-12)
    assert mixed.real.width.value == pytest.approx(found.real.width.value, abs=1e-10)


def test_scale_is_not_structure(land: Land, result: Any) -> None:
    """Larger weights lower alpha_0, and those of the shuffled line as much: E tells them apart."""
    one, other = result(land(1, neox(scale=0.05))), result(land(2, neox(scale=0.15)))
    assert other.real.alpha_0.value < one.real.alpha_0.value - 0.2
    real = emergence(other.real.samples, one.real.samples)
    scale = emergence(other.shuffled.samples, one.shuffled.samples)
    assert real is not None
    assert scale is not None
    assert real.value > 0.1
    assert real.error is not None
    assert scale.error is not None
    assert real.value == pytest.approx(scale.value, abs=4 * (real.error + scale.error))


def test_structure_is_not_in_the_shuffled_line(land: Land, result: Any) -> None:
    """Neurons of unlike strength widen the spectrum, but not that of shuffled weights."""
    weights = neox(scale=0.05)
    spread = np.exp(np.random.default_rng(3).standard_normal(4 * H))
    for name in weights:
        weights[name] = weights[name] * spread[: weights[name].shape[1]].astype(np.float32)
    found = result(land(1, weights))
    assert found.real.width.value > found.shuffled.width.value + 0.3


def test_emergence_is_zero_at_its_reference() -> None:
    """E(0) = 0, its definition on means, and the jackknife over pairs of one seed."""
    now = [Sample(k, 0.5 + 0.01 * k, 0.6, 0.0, 1.0, 1, 1, 1.0) for k in range(4)]
    base = [Sample(k, 0.8, 0.3, 0.0, 1.0, 1, 1, 1.0) for k in range(4)]
    same = emergence(now, now)
    assert same is not None
    assert (same.value, same.error) == (0.0, 0.0)
    found = emergence(now, base)
    assert found is not None
    assert found.value == pytest.approx(2 * np.log(0.8 / 0.515))
    assert found.error is not None
    spread = float(np.std([0, 0.01, 0.02, 0.03], ddof=1)) / 2
    assert found.error == pytest.approx(2 / 0.515 * spread, rel=0.01)
    assert emergence(now, [replace(s, width=0.0) for s in base]) is None
    assert emergence(now, [replace(s, seed=s.seed + 10) for s in base]) is None
    assert emergence([replace(s, alpha_0=-1.0) for s in now], base) is None


def test_robust_radii_are_fixed_by_the_reference(land: Land, result: Any) -> None:
    """They begin where half of the balls hold 4 neurons, unless they are named."""
    own = result(land(1, neox(scale=0.02)), Parameters(mode="robust"))
    assert own.first_radius > 1
    named = Parameters(mode="robust", first_radius=own.first_radius)
    assert result(land(1, neox(scale=0.02)), named) == own
    assert result(land(2, neox(scale=0.04)), named).first_radius == own.first_radius


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"bias": np.ones(5, np.float32)}, "it looks for"),
        ({name: w * 0 for name, w in neox().items()}, "no neuron has 11 edges"),
        ({name: w * np.nan for name, w in neox().items()}, "no neuron has 11 edges"),
        ({"h.0.mlp.up.weight": np.full((20, 20), 0.5, np.float32)}, "no neuron"),
    ],
)
def test_what_cannot_be_measured_is_said(
    weights: dict[str, Floats], said: str, land: Land, opened: Measure
) -> None:
    """No layer to map, weights all zero or NaN, edges of one length only: declined, with why."""
    found = opened(land(1, weights), lambda it: neuromfa.measure(it, Parameters(), lambda *_: None))
    assert isinstance(found, Declined)
    assert said in found.reason


def test_a_large_file_is_hardly_read(run: Path, opened: Measure, land: Land) -> None:
    """Of a sparse file only rows of sampled neurons: at most 130 s of each block's rows."""
    h, shapes = 2048, {}
    for block in range(2):
        at = f"gpt_neox.layers.{block}."
        shapes[at + "attention.query_key_value.weight"] = (3 * h, h)
        shapes[at + "attention.dense.weight"] = (h, h)
        shapes[at + "mlp.dense_h_to_4h.weight"] = (4 * h, h)
        shapes[at + "mlp.dense_4h_to_h.weight"] = (h, 4 * h)
    path = run / "step_1.safetensors"
    size = _sparse(path, shapes)
    read: list[int] = []

    def measure(subject: Subject) -> None:
        parameters = Parameters(s=4, samples=3)
        assert isinstance(neuromfa.measure(subject, parameters, lambda *_: None), Declined)
        read.append(subject.bytes_read)

    opened(checkpoints(path).ready[0], measure)
    rows = 2 * 3 * (3 * 4 + 4 + 2 * 4 + 4 * 4)  # down's rows are four times as long
    assert 0.9 * rows * h * 2 < read[0] <= rows * h * 2
    assert read[0] < size / 100


def _sparse(path: Path, shapes: dict[str, tuple[int, int]]) -> int:
    """Write a safetensors file of f16 zeros that takes no room on disk; return its size."""
    header: dict[str, object] = {}
    end = 0
    for name, (rows, columns) in shapes.items():
        begin, end = end, end + 2 * rows * columns
        header[name] = {"dtype": "F16", "shape": [rows, columns], "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.seek(8 + len(text) + end - 64)
        file.write(b"\x11" * 64)  # zeros at the end would mean that it is still written
    os.utime(path, (LONG_AGO, LONG_AGO))
    return 8 + len(text) + end


@pytest.mark.parametrize(
    "wrong", [{"s": -1}, {"samples": 0}, {"longest": 300}, {"first_radius": 0.5}, {"threads": 0}]
)
def test_parameters_that_make_no_sense_are_refused(
    wrong: dict[str, Any], land: Land, opened: Measure
) -> None:
    """UsageError names the parameter."""
    ref = land(1, neox())
    with pytest.raises(UsageError, match=next(iter(wrong))):
        opened(ref, lambda it: neuromfa.measure(it, Parameters(**wrong), lambda *_: None))
