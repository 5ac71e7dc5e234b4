"""One conformance suite for every kernel, and for deliberately broken ones that must fail it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forkmon.errors import GridMismatchError
from forkmon.formats.refs import ITEM_BYTES
from forkmon.kernels.cpu import CpuAccumulator, CpuKernel
from forkmon.kernels.protocol import Kernel
from forkmon.stats import grids
from forkmon.stats.blocks import BLOCK
from forkmon.stats.moments import FAINTEST
from forkmon.stats.row import QUANTILES, StatRow
from forkmon.stats.summary import Summary, empty, empty_group, group_of

Raw = NDArray[np.uint8]

EXACT = ["bf16", "f16", "f8_e4m3", "f8_e5m2", "i8", "u8", "bool", "i16", "u16"]
WIDE = ["f32", "f64", "i32", "u32", "i64", "u64"]


class DropsTheLastElement(CpuAccumulator):
    """A broken kernel: the end of every chunk is lost."""

    def add(self, data: Raw, first: int) -> None:
        super().add(data[: len(data) - ITEM_BYTES[self._dtype]], first)


class OffByOneCode(CpuAccumulator):
    """A broken kernel: every code is counted one place too high."""

    def summary(self) -> Summary:
        whole = super().summary()
        return replace(whole, codes=replace(whole.codes, counts=np.roll(whole.codes.counts, 1)))


class SumsInFloat32(CpuAccumulator):
    """A broken kernel: its moments have the accuracy of float32."""

    def summary(self) -> Summary:
        whole = super().summary()
        with np.errstate(over="ignore"):
            real = whole.blocks.real.astype(np.float32).astype(np.float64)
        return replace(whole, blocks=replace(whole.blocks, real=real))


class Broken(CpuKernel):
    """A kernel made of a broken accumulator."""

    def __init__(self, accumulator: type[CpuAccumulator]) -> None:
        self._accumulator = accumulator

    def accumulator(self, dtype: str, columns: int = 0) -> CpuAccumulator:
        return self._accumulator(dtype, columns)


def values_of(dtype: str, data: Raw) -> NDArray[np.float64]:
    """Return the values of raw bytes as float64, by another road than the kernel's."""
    match dtype:
        case "bf16":
            bits = data.view("<u2").astype(np.uint32) << 16
            with np.errstate(invalid="ignore"):
                return bits.view(np.float32).astype(np.float64)
        case "f16" | "f32" | "f64":
            with np.errstate(invalid="ignore"):
                return data.view({"f16": "<f2", "f32": "<f4", "f64": "<f8"}[dtype]).astype(float)
        case "f8_e4m3" | "f8_e5m2":
            torch = pytest.importorskip("torch")
            kind = {"f8_e4m3": torch.float8_e4m3fn, "f8_e5m2": torch.float8_e5m2}[dtype]
            out: NDArray[np.float64] = torch.from_numpy(data.copy()).view(kind).double().numpy()
            return out
        case "bool":
            return data.astype(np.float64)
        case _:
            return data.view(f"<{dtype[0]}{ITEM_BYTES[dtype]}").astype(np.float64)


def summarise(kernel: Kernel, dtype: str, data: Raw, cuts: list[int]) -> Summary:
    """Return the summary of bytes given in pieces cut at the element indices `cuts`."""
    item = ITEM_BYTES[dtype]
    borders = [0, *cuts, len(data) // item]
    parts = []
    for first, last in pairwise(borders):
        accumulator = kernel.accumulator(dtype)
        accumulator.add(data[first * item : last * item], first)
        parts.append(accumulator.summary())
    whole = empty(dtype)
    for part in reversed(parts):
        whole = whole.join(part)
    return whole


def check_against_exact(row: StatRow, dtype: str, data: Raw) -> None:
    """Compare a row with exact rational arithmetic over the same values."""
    x = values_of(dtype, data)
    finite = x[np.isfinite(x)]
    assert row.n == len(x)
    assert row.nan == int(np.isnan(x).sum())
    assert row.inf == int(np.isinf(x).sum())
    assert row.zeros == int((finite == 0).sum())
    if len(finite) == 0:
        assert row.mean is row.std is row.min is row.max is row.quantiles[4] is None
        return
    exact = [Fraction(v) for v in finite.tolist()]
    n = len(exact)
    mean = sum(exact) / n
    mu2, mu3, mu4 = (sum((v - mean) ** k for v in exact) / n for k in (2, 3, 4))
    scale = float(max(abs(v) for v in exact)) or 1.0
    assert row.min == finite.min()
    assert row.max == finite.max()
    assert row.mean == pytest.approx(float(mean), rel=1e-13, abs=1e-14 * scale)
    assert row.l1 == pytest.approx(float(sum(abs(v) for v in exact)), rel=1e-12)
    assert row.l2 == pytest.approx(math.sqrt(sum(v * v for v in exact)), rel=1e-9)
    assert row.std == pytest.approx(math.sqrt(mu2), rel=1e-10, abs=1e-13 * scale)
    if finite.min() == finite.max():
        assert row.skew is None
        assert row.kurtosis is None
    elif float(mu2) < FAINTEST:
        assert row.skew is row.kurtosis is None
    elif float(mu2) > 1e-6 * scale**2:
        assert row.skew == pytest.approx(float(mu3) / float(mu2) ** 1.5, rel=1e-7, abs=1e-7)
        assert row.kurtosis == pytest.approx(float(mu4) / float(mu2) ** 2 - 3, rel=1e-7, abs=1e-7)
    check_quantiles(row, dtype, finite)


def check_quantiles(row: StatRow, dtype: str, finite: NDArray[np.float64]) -> None:
    """Exact types: numpy's quantiles; others: inside the cells of the neighbouring ranks."""
    ordered = np.sort(finite)
    for level, found in zip(QUANTILES, row.quantiles, strict=True):
        assert found is not None
        if dtype in EXACT:
            expected = float(np.quantile(ordered, level))
            assert found == pytest.approx(expected, rel=1e-12, abs=1e-300)
            continue
        rank = level * (len(ordered) - 1)
        low, high = ordered[math.floor(rank)], ordered[math.ceil(rank)]
        room = 2.0**-4 * max(abs(low), abs(high)) + 2.0**-130
        assert low - room <= found <= high + room


def conforms(kernel: Kernel, dtype: str, data: Raw) -> None:
    """Check one kernel on one tensor."""
    check_against_exact(summarise(kernel, dtype, data, []).finish().row(), dtype, data)


def sample(dtype: str, size: int, seed: int = 0) -> Raw:
    """Return bell-shaped values of a dtype as bytes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(size) * 0.02
    match dtype:
        case "bf16":
            return (x.astype(np.float32).view(np.uint32) >> 16).astype("<u2").view(np.uint8)
        case "f16" | "f32" | "f64":
            return x.astype({"f16": "<f2", "f32": "<f4", "f64": "<f8"}[dtype]).view(np.uint8)
        case "bool":
            return (x > 0).astype(np.uint8)
        case _:
            return rng.integers(0, 256, size * ITEM_BYTES[dtype]).astype(np.uint8)


@pytest.fixture(params=["cpu"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """Every kernel there is."""
    return {"cpu": CpuKernel}[request.param]()


@pytest.mark.parametrize("dtype", EXACT + WIDE)
def test_bell_shaped_values_match_exact_arithmetic(kernel: Kernel, dtype: str) -> None:
    """Every statistic of 3,000 values agrees with rational arithmetic."""
    conforms(kernel, dtype, sample(dtype, 3000))


@pytest.mark.parametrize("dtype", ["bf16", "f16", "f32", "f64", "f8_e4m3", "f8_e5m2", "i8", "i64"])
@given(data=st.binary(max_size=400))
@settings(max_examples=60)
def test_any_bytes_match_exact_arithmetic(kernel: Kernel, dtype: str, data: bytes) -> None:
    """Whatever the bits - NaN, Inf, subnormals, negative zero - the numbers are right or null."""
    item = ITEM_BYTES[dtype]
    raw = np.frombuffer(data[: len(data) // item * item], np.uint8)
    x = values_of(dtype, raw)
    finite = x[np.isfinite(x)]
    if len(finite) and np.abs(finite).max() > 1e70:  # fourth powers leave a double: null is right
        row = summarise(kernel, dtype, raw, []).finish().row()
        assert row.n == len(x)
        assert row.min == finite.min()
        assert row.max == finite.max()
        assert all(v is None or math.isfinite(v) for v in (row.std, row.skew, row.kurtosis))
        return
    conforms(kernel, dtype, raw)


@pytest.mark.parametrize(
    ("dtype", "broken"),
    [(d, DropsTheLastElement) for d in EXACT + WIDE]
    + [(d, OffByOneCode) for d in EXACT]
    + [(d, SumsInFloat32) for d in WIDE],
)
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the suite must see a broken kernel")
def test_the_suite_is_not_blind(dtype: str, broken: type[CpuAccumulator]) -> None:
    """A kernel that is wrong in one place fails."""
    conforms(Broken(broken), dtype, sample(dtype, 3000))


@pytest.mark.parametrize("dtype", ["bf16", "f16", "i8", "u16"])
@given(cuts=st.lists(st.integers(0, 5000), max_size=5))
@settings(max_examples=25)
def test_exact_types_give_the_same_bits_for_any_split(
    kernel: Kernel, dtype: str, cuts: list[int]
) -> None:
    """Wherever the pieces are cut, codes and moments are the same value."""
    data = sample(dtype, 5000)
    parts = summarise(kernel, dtype, data, sorted(cuts))
    whole = summarise(kernel, dtype, data, [])
    assert parts.codes == whole.codes
    assert parts.finish().moments == whole.finish().moments


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32"])
@given(cuts=st.sets(st.integers(0, 4)))
@settings(max_examples=12)
def test_wide_types_give_the_same_bits_for_any_split_on_block_borders(
    kernel: Kernel, dtype: str, cuts: set[int]
) -> None:
    """Chunks and threads cut on block borders; then not a bit may change."""
    data = sample(dtype, 4 * BLOCK + 123)
    parts = summarise(kernel, dtype, data, sorted(c * BLOCK for c in cuts))
    whole = summarise(kernel, dtype, data, [])
    assert parts.codes == whole.codes
    assert parts.blocks == whole.blocks
    assert parts.finish().moments == whole.finish().moments
    assert parts.digest == whole.digest


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@given(cuts=st.lists(st.integers(0, BLOCK + 999), max_size=4))
@settings(max_examples=12)
def test_a_split_inside_a_block_changes_no_more_than_rounding(
    kernel: Kernel, dtype: str, cuts: list[int]
) -> None:
    """Slices of a tensor may start anywhere: counts stay exact, floats agree to 1e-12."""
    data = sample(dtype, BLOCK + 999)
    parts = summarise(kernel, dtype, data, sorted(cuts)).finish()
    whole = summarise(kernel, dtype, data, []).finish()
    assert parts.codes == whole.codes
    assert parts.moments.n == whole.moments.n
    assert parts.moments.mu2 == pytest.approx(whole.moments.mu2, rel=1e-12)
    assert parts.moments.mu4 == pytest.approx(whole.moments.mu4, rel=1e-11)


@pytest.mark.parametrize("dtype", ["bf16", "f32"])
def test_join_has_its_laws(kernel: Kernel, dtype: str) -> None:
    """Identity, commutativity and associativity hold to the bit, channels and sketch included."""
    data = sample(dtype, 3 * BLOCK)
    item = ITEM_BYTES[dtype]
    accumulators = [kernel.accumulator(dtype, 256) for _ in range(3)]
    for i, accumulator in enumerate(accumulators):
        accumulator.add(data[i * BLOCK * item : (i + 1) * BLOCK * item], i * BLOCK)
    a, b, c = (accumulator.summary() for accumulator in accumulators)
    assert a.join(empty(dtype)) == a == empty(dtype).join(a)
    assert a.join(b) == b.join(a)
    assert a.join(b).join(c) == a.join(b.join(c)) == c.join(a).join(b)
    with pytest.raises(GridMismatchError):
        a.join(b).join(a)


@pytest.mark.parametrize("dtype", EXACT + WIDE)
def test_an_empty_tensor_has_no_numbers(kernel: Kernel, dtype: str) -> None:
    """Nothing is divided by zero."""
    row = summarise(kernel, dtype, np.zeros(0, np.uint8), []).finish().row()
    assert row.n == 0
    assert row.mean is row.std is row.kurtosis is row.l1 is None or row.l1 == 0.0
    assert row.quantiles == (None,) * 9


@pytest.mark.parametrize("size", [1, 7, BLOCK, BLOCK + 1])
@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, 0.1, 1e-40, 3.4e38])
def test_constant_tensors_have_their_value_and_no_shape(
    kernel: Kernel, size: int, value: float
) -> None:
    """A constant has a mean that is its value, no spread and no skewness."""
    data = np.full(size, value, "<f4").view(np.uint8)
    row = summarise(kernel, "f32", data, []).finish().row()
    assert row.mean == row.min == row.max == row.quantiles[4] == np.float32(value)
    assert row.std == 0.0
    assert row.skew is row.kurtosis is None
    assert row.zeros == (size if value == 0 else 0)


def grouped(parts: list[tuple[str, Raw]], kernel: Kernel) -> StatRow:
    """Return the row of a block that holds the given tensors."""
    group = empty_group()
    for dtype, data in parts:
        group = group.merge(group_of(summarise(kernel, dtype, data, []).finish()))
    return group.finish().row()


@given(seeds=st.permutations([0, 1, 2, 3]))
@settings(max_examples=8)
def test_a_group_equals_its_tensors_taken_together(kernel: Kernel, seeds: list[int]) -> None:
    """Whatever the order, a block of mixed types has the numbers of all its elements."""
    kinds = ["bf16", "f32", "f16", "f64"]
    parts = [(kinds[s], sample(kinds[s], 2000 + s, s)) for s in seeds]
    row = grouped(parts, kernel)
    everything = np.concatenate([values_of(d, raw) for d, raw in parts])
    assert row.n == len(everything)
    assert row.mean == pytest.approx(everything.mean(), rel=1e-9, abs=1e-12)
    assert row.std == pytest.approx(everything.std(), rel=1e-10)
    assert row.quantiles[5] == pytest.approx(np.quantile(everything, 0.75), rel=2.0**-6)


def test_norm_gains_are_kept_around_a_pivot(kernel: Kernel) -> None:
    """Values 1 +- 0.01 occupy hundreds of cells, not three, and quantiles follow."""
    gains = (1 + 0.01 * np.random.default_rng(3).standard_normal(4096)).astype("<f4")
    finished = summarise(kernel, "f32", gains.view(np.uint8), []).finish()
    assert finished.needs_recount()
    at = finished.pivot()
    shifted = kernel.accumulator("f32").shifted(gains.view(np.uint8), at)
    finished = finished.with_shifted(shifted, at)
    assert not finished.needs_recount()
    assert finished.reduced().n == 4096
    assert len(finished.reduced().keys) > 200
    for level, found in zip(QUANTILES, finished.row().quantiles, strict=True):
        assert found == pytest.approx(float(np.quantile(gains, level)), abs=2e-3)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_sixteen_bit_gains_shift_exactly(kernel: Kernel, dtype: str) -> None:
    """Exact codes need no second look at the values."""
    gains = 1 + 0.01 * np.random.default_rng(3).standard_normal(4096)
    data = (
        gains.astype("<f2").view(np.uint8)
        if dtype == "f16"
        else (gains.astype("<f4").view("<u4") >> 16).astype("<u2").view(np.uint8)
    )
    finished = summarise(kernel, dtype, data, []).finish()
    assert not finished.needs_recount()
    assert finished.reduced().pivot != 0.0
    assert finished.reduced().n == 4096


Measure = Callable[[Kernel], Summary]


@pytest.mark.parametrize("name", sorted(set(grids.GRID_OF_DTYPE.values())))
def test_grid_order_is_the_order_of_values(name: str) -> None:
    """Lookup tables ascend along `order` and hold every finite code once."""
    g = grids.grid(name)
    low = g.low[g.order]
    assert np.all(np.diff(low) >= 0)
    assert len(g.order) == int(g.finite.sum())
    assert np.all(g.high[g.order] >= low)
