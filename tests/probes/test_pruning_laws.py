"""Sparsity from counts of codes: what sorting the values themselves would say, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from forkmon.formats.refs import Stripes, TensorRef, View
from forkmon.probes.pruning import (
    FRACTIONS,
    Block,
    Parameters,
    Result,
    block_of,
    lost_energy,
    measure,
    row_of,
)
from forkmon.probes.pruning_ladder import Ladder, ladder, of_codes, of_values, together
from forkmon.probes.pruning_pass import passed
from forkmon.probes.pruning_rounding import TARGETS, Target, e4m3, rounded
from forkmon.stats import grids

from .conftest import Land, Measure

Floats = NDArray[np.float64]
HALVES = arrays.arrays(
    np.float16,
    st.integers(1, 300),
    elements=st.one_of(
        st.floats(width=16, allow_nan=False, allow_infinity=False),
        st.sampled_from([0.0, -0.0, 1.0, -1.0, 6e-8, 65504.0]),
    ),
)


def rungs(values: NDArray[np.float16]) -> Ladder:
    """Return the ladder of values of a 16-bit type."""
    tally, _ = of_codes("f16", np.bincount(values.view(np.uint16), minlength=65_536))
    return ladder({"f16": tally})


def brute(values: NDArray[Any]) -> Floats:
    """Return magnitudes, ascending."""
    return np.sort(np.abs(values.astype(np.float64)))


@given(HALVES)
def test_the_curve_is_that_of_the_sorted_values(values: NDArray[np.float16]) -> None:
    """Pruning k of n takes the energy of the k smallest, for every k."""
    found, magnitude = rungs(values), brute(values)
    sums = np.append(0.0, np.cumsum(magnitude**2))
    every = np.arange(len(values) + 1, dtype=np.float64)
    np.testing.assert_allclose(found.energy_below(every), sums, rtol=1e-12)
    assert found.n == len(values)
    assert found.zeros() == int((values == 0).sum())


@given(HALVES, st.sampled_from([0.001, 0.01, 0.1, 0.5]))
def test_the_prunable_part_is_the_largest_that_fits(
    values: NDArray[np.float16], share: float
) -> None:
    """One weight more would take more than the share."""
    found, magnitude = rungs(values), brute(values)
    answer = found.prunable(share)
    total = float((magnitude**2).sum())
    if total == 0:
        assert answer is None
        return
    assert answer is not None
    k = round(answer[0] * len(values))
    sums = np.append(0.0, np.cumsum(magnitude**2))
    assert sums[k] <= share * total * (1 + 1e-9)
    assert k == len(values) or sums[k + 1] > share * total * (1 - 1e-9)
    assert answer[1] == (magnitude[k - 1] if k else 0.0)


@given(HALVES)
def test_gini_and_hoyer_are_their_definitions(values: NDArray[np.float16]) -> None:
    """Gini by ranks, Hoyer by norms; neither where all is zero."""
    found, x = rungs(values), brute(values)
    n = len(x)
    if x.sum() == 0:
        assert found.gini() is None
        assert found.hoyer() is None
        return
    ranks = np.arange(1, n + 1)
    assert found.gini() == pytest.approx(
        float(((2 * ranks - n - 1) * x).sum() / n / x.sum()), abs=1e-9
    )
    if n > 1:
        expected = (np.sqrt(n) - x.sum() / np.sqrt((x**2).sum())) / (np.sqrt(n) - 1)
        assert found.hoyer() == pytest.approx(expected, abs=1e-9)


@given(HALVES, HALVES)
def test_blocks_are_their_values_together(
    first: NDArray[np.float16], second: NDArray[np.float16]
) -> None:
    """Merging tallies, of one type or of two, is concatenating values."""
    whole = np.concatenate([first, second])
    a, _ = of_codes("f16", np.bincount(first.view(np.uint16), minlength=65_536))
    b, _ = of_codes("f16", np.bincount(second.view(np.uint16), minlength=65_536))
    c, _ = of_values(second.astype(np.float64))
    expected = rungs(whole)
    same = ladder(together({"f16": a}, {"f16": b}))
    mixed = ladder(together({"f16": a}, {grids.PREFIX: c}))
    k = np.arange(len(whole) + 1, dtype=np.float64)
    np.testing.assert_allclose(same.energy_below(k), expected.energy_below(k), rtol=1e-12)
    assert mixed.n == expected.n
    assert mixed.total == pytest.approx(expected.total)
    if expected.gini() is not None:
        assert mixed.gini() == pytest.approx(expected.gini(), abs=0.01)


def test_float32_is_good_to_a_cell() -> None:
    """Counts by prefix, energies exact: the curve errs by less than a cell holds."""
    values = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    tally, odd = of_values(np.append(values.astype(np.float64), [np.nan, np.inf]))
    assert odd == 2
    found, magnitude = ladder({grids.PREFIX: tally}), brute(values)
    sums = np.append(0.0, np.cumsum(magnitude**2))
    k = np.floor(np.array(FRACTIONS) * len(values))
    np.testing.assert_allclose(found.energy_below(k), sums[k.astype(int)], rtol=2e-4)
    answer = found.prunable(0.01)
    assert answer is not None
    assert answer[0] == pytest.approx(0.265, abs=2e-3)
    spike = found.spike()
    assert spike is not None
    assert spike[0] == pytest.approx(0.00798, abs=5e-4)
    assert found.gini() == pytest.approx(np.sqrt(2) - 1, abs=2e-3)


def test_nonfinite_codes_are_left_out() -> None:
    """NaN and infinities are counted and touch nothing else."""
    values = np.array([1.0, np.nan, np.inf, -np.inf, -2.0], np.float16)
    tally, odd = of_codes("f16", np.bincount(values.view(np.uint16), minlength=65_536))
    found = ladder({"f16": tally})
    assert (odd, found.n, found.total) == (3, 2, 5.0)


def test_e4m3_is_torchs() -> None:
    """Every rounding, ties and subnormals too, against torch's cast."""
    values = np.concatenate([
        np.linspace(-448, 448, 40_001), 2.0 ** np.linspace(-14, 8, 20_001),
        np.array([0.0, 2.0**-10, 3 * 2.0**-10, 2.0**-9, 1.0625, 1.1875]),
    ]).astype(np.float32)  # fmt: skip
    expected = torch.from_numpy(values).to(torch.float8_e4m3fn).to(torch.float64).numpy()
    np.testing.assert_array_equal(e4m3(values.astype(np.float64)), expected)


def test_bf16_is_torchs() -> None:
    """Half to even, subnormals too."""
    rng = np.random.default_rng(1)
    values = (rng.standard_normal(50_000) * 10.0 ** rng.integers(-40, 38, 50_000)).astype(
        np.float32
    )
    expected = torch.from_numpy(values).to(torch.bfloat16).to(torch.float64).numpy()
    found = rounded("bf16", values.astype(np.float64), 1.0)
    np.testing.assert_array_equal(found[np.isfinite(expected)], expected[np.isfinite(expected)])


@given(
    arrays.arrays(np.float32, 40, elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    st.sampled_from(["int8", "int4"]),
)
def test_integers_err_by_half_a_step(values: NDArray[np.float32], target: Target) -> None:
    """The largest magnitude comes back as it was, the others within half a step."""
    exact = values.astype(np.float64)
    largest = float(np.abs(exact).max())
    if largest == 0:
        return
    back = rounded(target, exact, largest)
    step = largest / {"int8": 127, "int4": 7}[str(target)]
    assert (np.abs(back - exact) <= step / 2 * (1 + 1e-9)).all()
    np.testing.assert_allclose(np.abs(back[np.abs(exact) == largest]), largest)


def _read(values: NDArray[Any]) -> Any:
    def read(tensor: TensorRef, first: int, out: memoryview) -> None:
        width = values.dtype.itemsize
        out[:] = values.ravel()[first : first + out.nbytes // width].tobytes()

    return read


@pytest.mark.parametrize("kind", ["f16", "f32"])
@pytest.mark.parametrize("turned", [False, True])
def test_two_of_four_and_empty_tiles_are_found(kind: Literal["f16", "f32"], turned: bool) -> None:
    """Along the inputs of each output, rows or columns; over borders of chunks."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((1344, 1028)).astype("f2" if kind == "f16" else "f4")
    w[:, ::4] = 0
    w[:672, 1::4] = 0
    w[32:64, 64:96] = -0.0
    stored = np.ascontiguousarray(w.T) if turned else w
    view = View("w", "", stored.shape[1], Stripes(0, stored.shape[0]), Stripes(0, stored.shape[1]),
                transposed=turned)  # fmt: skip
    tensor = TensorRef("w", kind, stored.shape, Path("x"), 0, view=view)
    read = 0

    def tick(size: int) -> None:
        nonlocal read
        read += size

    found = passed(tensor, _read(stored), tick)
    assert found.pattern.groups == 1344 * 257
    assert found.pattern.two_four == 672 * 257
    assert found.pattern.tiles == 42 * 32
    assert found.pattern.empty_tiles == 1
    assert read == stored.nbytes * (1 if kind == "f16" else 2)


@pytest.mark.parametrize("kind", ["f16", "f32"])
def test_rounding_errors_are_those_of_the_values(kind: Literal["f16", "f32"]) -> None:
    """From counts of codes or from a second pass: the same sums of squares."""
    w = np.random.default_rng(0).standard_normal((64, 70)).astype("f2" if kind == "f16" else "f4")
    w[3, 4] = np.inf
    found = passed(TensorRef("w", kind, w.shape, Path("x"), 0), _read(w), lambda _: None)
    values = w[np.isfinite(w)].astype(np.float64)
    largest = float(np.abs(values).max())
    for target in TARGETS:
        expected = float(((rounded(target, values, largest) - values) ** 2).sum())
        assert found.errors[target] == pytest.approx(expected, rel=1e-9)
    assert found.nonfinite == 1


def test_no_energy_gives_no_numbers() -> None:
    """All zero, or nothing at all: nulls, not NaN."""
    zeros, _ = of_codes("f16", np.bincount(np.zeros(50, np.uint16), minlength=65_536))
    row = row_of("w", "tensor", Block({"f16": zeros}), Parameters())
    assert (row.n, row.zeros, row.prunable, row.gini, row.int8, row.kept) == (
        50,
        50,
        None,
        None,
        None,
        (),
    )
    assert row_of("w", "tensor", Block(), Parameters()).n == 0


def test_a_checkpoint_has_rows_for_tensors_blocks_and_model(land: Land, opened: Measure) -> None:
    """In tree order, the model first; vectors left out; the threshold of a block is its own."""
    rng = np.random.default_rng(0)
    large, small = rng.standard_normal((80, 64)), 0.001 * rng.standard_normal((80, 64))
    ref = land(1, {
        "h.0.up.weight": large.astype(np.float16), "h.0.bias": np.ones(4, np.float16),
        "h.1.up.weight": small.astype(np.float16),
    })  # fmt: skip
    found: Result = opened(ref, lambda it: measure(it, Parameters(), lambda *_: None))
    assert [row.name for row in found.rows] == [
        "", "h", "h.0", "h.0.up", "h.0.up.weight", "h.1", "h.1.up", "h.1.up.weight"
    ]  # fmt: skip
    assert (found.tensors, found.left_out) == (2, 1)
    half = FRACTIONS.index(0.5)
    assert found.model.kept[half] > 0.999  # one threshold takes the small matrix alone
    assert found.uniform[half] == pytest.approx(found.rows[4].kept[half], abs=1e-4)
    assert found.model.n == 2 * 80 * 64
    with_vectors = opened(
        ref, lambda it: measure(it, Parameters(matrices_only=False), lambda *_: None)
    )
    assert with_vectors.tensors == 3


def test_lost_energy_is_of_whole_weights() -> None:
    """A fraction of n is rounded down: no more is pruned than asked for."""
    values = np.arange(1, 8, dtype=np.float16)
    lost = lost_energy(rungs(values))
    assert lost[FRACTIONS.index(0.25)] == 1.0
    assert lost[FRACTIONS.index(0.3)] == 1.0 + 4.0


def test_a_block_of_one_is_the_tensor() -> None:
    """`block_of` changes nothing."""
    w = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float16)
    found = passed(TensorRef("w", "f16", w.shape, Path("x"), 0), _read(w), lambda _: None)
    assert ladder(block_of(found).tallies).total == pytest.approx(
        float((w.astype(float) ** 2).sum())
    )
