"""What only shows by comparison: copies, swaps, twins, frozen, outlying and parting layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from forkmon.detect import every
from forkmon.detect.diverge import parting
from forkmon.detect.peers import place_of, places_of
from forkmon.detect.settings import DEFAULT, Among
from forkmon.stats.alert import Alert, Severity
from forkmon.stats.series import Series

Told = Callable[..., Series]
COUNT, TENSORS, WIDTH = 40, 6, 300


@pytest.fixture
def walked(told: Told) -> Callable[..., list[Series]]:
    """Return a run from real weights: `files[t]` says whose weights checkpoint t holds."""

    def run(files: Sequence[int] | dict[int, Sequence[int]], seed: int = 0) -> list[Series]:
        rng = np.random.default_rng(seed)
        out: list[Series] = []
        for i in range(TENSORS):
            order = files[i] if isinstance(files, dict) else files
            # A momentum that turns slowly, and noise: neither straight nor a random walk.
            heading = np.cumsum(rng.normal(size=(COUNT, WIDTH)), axis=0) * 0.02
            path = np.cumsum(heading + 0.1 * rng.normal(size=(COUNT, WIDTH)), axis=0)
            path += 3 * rng.normal(size=WIDTH)
            out.append(_measured(told, f"h.{i}.w", path[list(order)]))
        return out

    return run


def _measured(told: Told, name: str, weights: NDArray[np.float64]) -> Series:
    def distance(a: int, b: int) -> float:
        return float(np.linalg.norm(weights[a] - weights[b]))

    count = len(weights)
    return told(
        name, count, n=[float(WIDTH)] * count, l2=np.linalg.norm(weights, axis=1).tolist(),
        std=weights.std(axis=1).tolist(),
        digests=[hash(row.tobytes()) % 2**64 for row in weights],
        update=[None, *(distance(t - 1, t) for t in range(1, count))],
        return_jump=[None, *(distance(t - 1, t + 1) for t in range(1, count - 1)), None],
    )  # fmt: skip


def of_kind(run: Sequence[Series], kind: str) -> list[Alert]:
    """Return the alerts of a kind, oldest first."""
    return [a for a in every.all_alerts(run, ())[::-1] if a.kind == kind]


def swapped(a: int, b: int) -> list[int]:
    """Return the order of checkpoints with two exchanged."""
    order = list(range(COUNT))
    order[a], order[b] = b, a
    return order


@pytest.mark.parametrize("seed", range(20))
def test_an_honest_run_has_no_foreign_checkpoint(
    seed: int, walked: Callable[..., list[Series]]
) -> None:
    """Turning slowly, with noise: no copy, no return, no jump."""
    assert not of_kind(walked(range(COUNT), seed), "PROVENANCE")


@pytest.mark.parametrize("seed", range(10))
def test_swapped_checkpoints_are_both_found(seed: int, walked: Callable[..., list[Series]]) -> None:
    """Two steps that hold each other's weights jump out and back, each of them."""
    found = of_kind(walked(swapped(10, 30), seed), "PROVENANCE")
    assert [(a.onset, a.step) for a in found] == [(1000, 1100), (3000, 3100)]
    assert {a.severity for a in found} == {Severity.ERROR}


def test_a_copy_of_the_step_before_is_found_once(walked: Callable[..., list[Series]]) -> None:
    """Step 100 that is step 0, as Pythia's first was; a frozen run is one copy, not many."""
    (alert,) = of_kind(walked([0, 0, *range(2, COUNT)]), "PROVENANCE")
    assert (alert.onset, alert.step, alert.evidence["equals"]) == (100, 100, 0)
    assert len(of_kind(walked([*range(30), *[29] * 10]), "PROVENANCE")) == 1


def test_a_return_to_earlier_weights_is_found(walked: Callable[..., list[Series]]) -> None:
    """An early step served final weights: told when the same weights come again."""
    found = of_kind(walked([*range(5), COUNT - 1, *range(6, COUNT)]), "PROVENANCE")
    assert [(a.onset, a.evidence.get("equals")) for a in found] == [(500, None), (3900, 500)]


def test_a_shard_from_elsewhere_is_found(walked: Callable[..., list[Series]]) -> None:
    """Only half of the tensors hold another step's weights."""
    foreign = [*range(20), COUNT - 1, *range(21, COUNT)]
    files = {i: foreign if i < 3 else range(COUNT) for i in range(TENSORS)}
    found = of_kind(walked(files), "PROVENANCE")
    assert [a.onset for a in found] == [2000, 3900]
    assert found[0].message.startswith("3 of 6 tensors")


def test_one_small_tensor_may_come_back(walked: Callable[..., list[Series]]) -> None:
    """A rounded gain among large tensors returns to old values by itself."""
    run = walked(range(COUNT))
    digests = list(run[0].digests)
    digests[20] = digests[10]
    run[0] = replace(run[0], digests=tuple(digests))
    assert not of_kind(run, "PROVENANCE")


def test_twins_are_told_once_and_count_once(walked: Callable[..., list[Series]]) -> None:
    """Bit-equal tensors make one TWIN; what both show is told of the first."""
    run = walked(range(COUNT))
    jump = [64.0 * (2.0 if t >= 35 else 1.0) for t in range(COUNT)]
    first = replace(run[0], tensor="a.bias", values={**run[0].values, "l2": tuple(jump)})
    twin = replace(first, tensor="b.bias")
    (alert,) = of_kind([*run[1:], twin, first], "TWIN")
    assert (alert.tensor, alert.onset, alert.step) == ("a.bias", 0, 100)
    assert alert.evidence["twins"] == "b.bias"
    assert [a.tensor for a in of_kind([*run[1:], twin, first], "REGIME")] == ["a.bias"]


def test_constant_tensors_are_no_twins(walked: Callable[..., list[Series]], told: Told) -> None:
    """All zeros equal all zeros: that says nothing."""
    zeros = [
        told(name, COUNT, std=[0.0] * COUNT, digests=[7] * COUNT) for name in ("a.bias", "b.bias")
    ]
    assert not of_kind([*walked(range(COUNT)), *zeros], "TWIN")


def test_a_tensor_that_stops_is_frozen(walked: Callable[..., list[Series]]) -> None:
    """Stopped is a warning, never moved is information; all stopping together is neither."""
    still = {0: [*range(20), *[20] * 20], 1: [0] * COUNT}
    run = walked({i: still.get(i, range(COUNT)) for i in range(TENSORS)})
    found = of_kind(run, "FROZEN")
    assert [(a.tensor, a.severity, a.onset, a.step) for a in found] == [
        ("h.1.w", Severity.INFO, 100, 200), ("h.0.w", Severity.WARN, 2100, 2200),
    ]  # fmt: skip
    assert not of_kind(walked([*range(20), *[20] * 20]), "FROZEN")


def layers(told: Told, levels: NDArray[np.float64]) -> list[Series]:
    """Return one tensor a layer with these log scales (layers, checkpoints)."""
    return [
        told(f"h.{i}.up.weight", l2=(64 * np.exp(row)).tolist()) for i, row in enumerate(levels)
    ]


def test_layers_that_part_diverge(told: Told) -> None:
    """Half of the layers leave the others: one alert, on the first of the smaller family."""
    rng = np.random.default_rng(0)
    levels = rng.normal(0, 0.03, (16, 1)) + rng.normal(0, 0.003, (16, COUNT))
    levels[1::3, 20:] += np.linspace(0, 1.5, 20)
    (alert,) = of_kind(layers(told, levels), "DIVERGE")
    assert alert.tensor == "h.1.up.weight"
    assert alert.evidence["family"] == 5
    assert 2100 <= alert.onset <= 2600


def test_layers_that_begin_apart_do_not_diverge(told: Told) -> None:
    """Two kinds of layers by design are two families from the start."""
    rng = np.random.default_rng(1)
    levels = rng.normal(0, 0.03, (16, 1)) + rng.normal(0, 0.003, (16, COUNT))
    levels[::2] += 1.5
    assert not of_kind(layers(told, levels), "DIVERGE")


@pytest.mark.parametrize("count", [12, 24, 96])
def test_one_family_seldom_looks_like_two(count: int) -> None:
    """The gate on the gap: under normal and uniform scales 1 column in 400 at most."""
    rng = np.random.default_rng(2)
    draws = 20_000
    for law in (rng.normal(size=(count, draws)), rng.uniform(-2, 2, (count, draws))):
        gaps, widths, _ = parting(law, Among())
        assert float((gaps >= Among().gap * widths).mean()) < 2.5e-3


def test_a_layer_apart_from_its_peers_is_told_once(told: Told) -> None:
    """One of eight layers more than doubles while the others do not."""
    rng = np.random.default_rng(3)
    levels = rng.normal(0, 0.3, (8, 1)) + rng.normal(0, 0.003, (8, COUNT))
    levels[5, 20:] += np.linspace(0, 0.9, 20)
    (alert,) = of_kind(layers(told, levels), "PEER")
    assert alert.tensor == "h.5.up.weight"
    assert 2900 <= alert.onset <= alert.step <= 3900


def test_peers_are_the_same_place_in_other_layers() -> None:
    """Numbers in the path are left out, numbers in words are not."""
    assert place_of("h.3.mlp.experts.11.w1") == "h.*.mlp.experts.*.w1"
    assert places_of(["h.0.q", "h.1.q", "h.0.k", "ln_1.w"]) == {"h.*.q": [0, 1]}


def test_an_event_of_the_whole_run_is_told_once(told: Told) -> None:
    """Ten of twelve tensors jump at one checkpoint: one GLOBAL; two jump: two REGIME."""
    rng = np.random.default_rng(4)

    def run(hit: int) -> list[Series]:
        levels = rng.normal(0, 0.002, (12, COUNT))
        levels[:hit, 35:] += 0.5
        return layers(told, levels)

    assert [(a.tensor, a.onset, a.step) for a in of_kind(run(10), "GLOBAL")] == [(None, 3500, 3500)]
    assert not of_kind(run(10), "REGIME")
    few = of_kind(run(2), "REGIME")
    assert [a.evidence["peers"] for a in few] == [1, 1]
    assert not of_kind(run(2), "GLOBAL")
    assert DEFAULT.whole.share == 0.3
