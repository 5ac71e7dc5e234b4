"""Modality: what has one mode, what has two, and what nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forkmon.kernels.cpu import CpuKernel
from forkmon.kernels.modality import of_values, views
from forkmon.stats import sample
from forkmon.stats.modality import Modality, View, decode, encode

Floats = NDArray[np.float64]
Law = Callable[[np.random.Generator, int], Floats]

ONE: dict[str, Law] = {
    "normal": lambda r, n: r.normal(size=n),
    "uniform": lambda r, n: r.uniform(size=n),
    "laplace": lambda r, n: r.laplace(size=n),
    "t3": lambda r, n: r.standard_t(3, n),
    "cauchy": lambda r, n: r.standard_cauchy(n),
    "exponential": lambda r, n: r.exponential(size=n),
    "lognormal": lambda r, n: np.exp(r.normal(size=n)),
    "spike and slab": lambda r, n: r.normal(size=n) * (r.uniform(size=n) < 0.3),
    "edge": lambda r, n: r.normal(size=n) + 2.0 * (r.uniform(size=n) < 0.5),
    "gains": lambda r, n: 1 + 0.002 * r.normal(size=n),
    "outliers": lambda r, n: r.normal(size=n) + 8 * (np.arange(n) < 0.008 * n),
}

TWO: dict[str, Law] = {
    "balanced": lambda r, n: r.normal(size=n) + 4 * (r.uniform(size=n) < 0.5),
    "minor": lambda r, n: r.normal(size=n) + 6 * (r.uniform(size=n) < 0.05),
    "gains": lambda r, n: np.where(r.uniform(size=n) < 0.5, 0.95, 1.05) + 0.015 * r.normal(size=n),
    "first step": lambda r, n: np.where(r.uniform(size=n) < 0.5, -1e-3, 1e-3),
}


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("law", ONE)
def test_unimodal_laws_have_one_mode(law: str, dtype: str) -> None:
    """Whatever the tails, the skew and the rounding."""
    for seed in range(20):
        found = of_values(ONE[law](np.random.default_rng(seed), 2048), dtype)
        assert found.modes == 1, (seed, found)
        assert found.p > 1e-6


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("law", TWO)
def test_forks_are_seen_where_they_are(law: str, dtype: str) -> None:
    """Two peaks with a valley between them, each element's side told."""
    values = TWO[law](np.random.default_rng(1), 4096)
    found = of_values(values, dtype)
    assert (found.state, found.modes, len(found.peaks), len(found.valleys)) == ("peaks", 2, 2, 1)
    low, high = found.peaks
    assert low.position < found.valleys[0] < high.position
    assert low.mass + high.mass == pytest.approx(1)
    assert found.separation > 3
    assert found.sampled == 4096
    sides = np.unpackbits(np.frombuffer(found.sides, np.uint8), bitorder="little")
    assert sides.mean() == pytest.approx(high.mass, abs=0.01)


@pytest.mark.parametrize(("n", "law", "least"), [(512, "balanced", 0.98), (4096, "minor", 0.98)])
def test_recall_is_what_was_measured(n: int, law: str, least: float) -> None:
    """Mixtures at the size and distance the gates were chosen for; figures are population rates."""
    seen = sum(of_values(TWO[law](np.random.default_rng(s), n)).modes >= 2 for s in range(150))
    assert seen / 150 >= least


@pytest.mark.parametrize("spread", [5e-4, 2e-3, 1e-2, 5e-2])
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_a_grid_is_no_fork(spread: float, dtype: str) -> None:
    """Norm gains that drift over few grid points are unimodal, or too coarse to tell."""
    for seed in range(20):
        values = 1 + spread * np.random.default_rng(seed).normal(size=2048)
        found = of_values(values, dtype)
        assert found.modes == 1, (seed, found)


def test_few_values_cannot_be_told_and_one_is_flat() -> None:
    """Neighbouring grid points carry no shape; far atoms are modes all the same."""
    rng = np.random.default_rng(0)
    steps = 1 + 2.0**-7 * rng.integers(0, 3, 2048).astype(np.float64)
    assert of_values(steps, "bf16").state == "qlim"
    far = 1 + 2.0**-7 * 4 * rng.integers(0, 2, 2048).astype(np.float64)
    assert (of_values(far, "bf16").state, of_values(far, "bf16").modes) == ("peaks", 2)
    assert of_values(np.ones(100), "bf16").state == "flat"
    assert of_values(np.zeros(100)).state == "flat"
    assert of_values(np.full(10, np.nan)) == Modality(
        "flat", 1, 1, (), (), 0.0, 0.0, 0.0, 1.0, 0, 0.0
    )


@given(
    law=st.sampled_from(sorted(TWO)), seed=st.integers(0, 50), power=st.integers(-12, 12),
    flip=st.booleans(),
)  # fmt: skip
@settings(max_examples=30)
def test_scale_and_sign_change_no_decision(law: str, seed: int, power: int, flip: bool) -> None:
    """A power of two moves every rounding cell along; a mirror image has the mirror's peaks."""
    values = TWO[law](np.random.default_rng(seed), 600)
    before = of_values(values)
    after = of_values(values * 2.0**power * (-1 if flip else 1))
    assert (after.state, after.modes, after.held) == (before.state, before.modes, before.held)
    assert after.dip == pytest.approx(before.dip, abs=1e-9)
    assert after.separation == pytest.approx(before.separation, rel=1e-6)


@given(seed=st.integers(0, 50), dtype=st.sampled_from(["f32", "f16", "bf16"]))
@settings(max_examples=20)
def test_order_and_repetition_change_nothing(seed: int, dtype: str) -> None:
    """A permutation of the elements gives the same bits, but for which element is on which side."""
    rng = np.random.default_rng(seed)
    values = TWO["minor"](rng, 1500)
    one = replace(of_values(values, dtype), sides=b"")
    assert replace(of_values(rng.permutation(values), dtype), sides=b"") == one
    assert replace(of_values(values, dtype), sides=b"") == one


def measured(values: NDArray[np.generic], dtype: str) -> dict[View, Modality]:
    """Return the views of a tensor as an engine measures them."""
    rows, columns = values.shape if values.ndim == 2 else (0, 0)
    flat = values.reshape(-1)
    accumulator = CpuKernel().accumulator(dtype, columns)
    accumulator.add(flat.view(np.uint8), 0)
    whole = accumulator.summary()
    whole = replace(whole, sample=sample.taken(flat, dtype, 0, flat.size))
    finished = whole.finish(rows)
    if finished.needs_recount():
        at = finished.pivot()
        finished = finished.with_shifted(accumulator.shifted(flat.view(np.uint8), at), at)
    return views(whole, finished, rows)


def coarse(values: Floats, dtype: str) -> NDArray[np.float32]:
    """Return values rounded to a 16-bit type, as float32."""
    if dtype == "f16":
        return values.astype(np.float16).astype(np.float32)
    bits = values.astype(np.float32).view(np.uint32) + np.uint32(0x8000)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


@pytest.mark.parametrize("around", [0.0, 1.0, -300.0])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_wide_types_are_told_from_their_counts(around: float, dtype: str) -> None:
    """Around any pivot the counts say what the values themselves say."""
    rng = np.random.default_rng(3)
    for law in (ONE["normal"], TWO["balanced"]):
        values = around + 0.01 * law(rng, 6000)
        stored: NDArray[np.generic] = values.astype(np.float32) if dtype == "f32" else values
        found, expected = measured(stored, dtype)["elements"], of_values(values)
        assert found.modes == expected.modes
        assert found.dip == pytest.approx(expected.dip, abs=0.004)
        for peak, other in zip(found.peaks, expected.peaks, strict=True):
            assert peak.position == pytest.approx(other.position, abs=0.01)
            assert peak.mass == pytest.approx(other.mass, abs=0.03)


@pytest.mark.parametrize("origin", ["f16", "bf16"])
@pytest.mark.parametrize("spread", [2e-3, 1e-2])
def test_what_was_rounded_before_keeps_its_grid(origin: str, spread: float) -> None:
    """A float32 file of rounded gains is measured in the cells of the type they came from."""
    for seed in range(5):
        values = coarse(1 + spread * np.random.default_rng(seed).normal(size=3000), origin)
        assert measured(values, "f32")["elements"].modes == 1


def test_rows_and_columns_fork_on_their_own() -> None:
    """Half the rows twice as long: invisible in columns, two modes among the row norms."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 200)).astype(np.float32)
    values[::2] *= 2
    found = measured(values, "f32")
    assert (found["rows"].modes, found["columns"].modes) == (2, 1)
    sides = np.unpackbits(np.frombuffer(found["rows"].sides, np.uint8), bitorder="little")
    assert sides[:300].tolist() == [1, 0] * 150


def test_masks_and_indices_have_no_modality() -> None:
    """Peaks of what is no weight mean nothing."""
    assert measured(np.arange(100), "i64") == {}
    assert measured(np.ones(100, np.uint8), "bool") == {}
    assert measured(np.full(8, np.nan, np.float32), "f32") == {}


@given(law=st.sampled_from(sorted({**ONE, **TWO})), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_what_is_stored_comes_back(law: str, seed: int) -> None:
    """Decisions, positions and sides exactly, scores to float32; about 60 bytes for one mode."""
    found = of_values({**ONE, **TWO}[law](np.random.default_rng(seed), 500))
    both: dict[View, Modality] = {"elements": found, "columns": found}
    blob = encode(both)
    back = decode(blob)
    assert encode(back) == blob
    assert set(back) == set(both)
    kept = back["elements"]
    assert (kept.state, kept.modes, kept.held, kept.n, kept.p) == (
        found.state, found.modes, found.held, found.n, found.p,
    )  # fmt: skip
    assert (kept.valleys, kept.sides, kept.sampled) == (found.valleys, found.sides, found.sampled)
    assert [p.position for p in kept.peaks] == [p.position for p in found.peaks]
    assert kept.z == pytest.approx(found.z, rel=1e-6)
    assert found.held > 1 or len(blob) < 2 * 64


def test_bytes_of_another_format_are_refused() -> None:
    """A newer format, and a blob cut short."""
    blob = encode({"elements": of_values(np.arange(10.0))})
    with pytest.raises(ValueError, match="format 9"):
        decode(b"\x09" + blob[1:])
    with pytest.raises(ValueError, match="cut short"):
        decode(blob[:-1])
