"""The torch kernel gives what the CPU kernel gives: the same counts and hash, floats to 1e-12."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forkmon.formats.refs import ITEM_BYTES
from forkmon.kernels.cpu import CpuKernel
from forkmon.kernels.protocol import Accumulator, Kernel
from forkmon.stats import grids
from forkmon.stats.blocks import BLOCK, LO, MEAN, MEAN_ABS, MU2, MU3, MU4
from forkmon.stats.codes import Counts
from forkmon.stats.summary import Summary, empty

Raw = NDArray[np.uint8]
Floats = NDArray[np.float64]

WIDE = ["f32", "f64", "i32", "u32", "i64", "u64"]
TOLERANCE = 1e-12


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """The torch kernel on every device there is."""
    return open_kernel(request.param)


def open_kernel(device: str) -> Kernel:
    """Return the torch kernel; torch is imported only now, it takes seconds."""
    torch = pytest.importorskip("torch")
    from forkmon.kernels.torch_kernel import TorchKernel

    if device == "cpu":
        torch.set_num_threads(1)
        return TorchKernel()
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    from forkmon.engines.upload import CAP_BYTES, Uploader
    from forkmon.kernels.torch_cuda import CudaBackend

    return TorchKernel(Uploader(CudaBackend("cuda:0", CAP_BYTES)))


@dataclass
class Broken:
    """A kernel whose summaries are spoilt."""

    kernel: Kernel
    spoil: Callable[[Summary], Summary]
    name: str = "broken"

    def accumulator(self, dtype: str, columns: int = 0) -> Accumulator:
        """Return an accumulator that spoils its summary."""
        return Spoilt(self.kernel.accumulator(dtype, columns), self.spoil)


@dataclass
class Spoilt:
    """An accumulator whose summary is spoilt."""

    accumulator: Accumulator
    spoil: Callable[[Summary], Summary]

    def add(self, data: Raw, first: int) -> None:
        """Take elements."""
        self.accumulator.add(data, first)

    def summary(self) -> Summary:
        """Return a wrong summary."""
        return self.spoil(self.accumulator.summary())

    def shifted(self, data: Raw, pivot: float) -> Counts:
        """Return counts by key."""
        return self.accumulator.shifted(data, pivot)


def summarise(
    kernel: Kernel, dtype: str, data: Raw, columns: int, first: int, cuts: list[int]
) -> Summary:
    """Return the summary of bytes given in chunks cut at the element indices `cuts`."""
    item = ITEM_BYTES[dtype]
    accumulator = kernel.accumulator(dtype, columns)
    for start, end in pairwise([0, *cuts, len(data) // item]):
        accumulator.add(data[start * item : end * item], first + start)
    return accumulator.summary()


def reference(dtype: str, data: Raw, columns: int, first: int, cuts: list[int]) -> Summary:
    """Return the CPU kernel's summary."""
    with np.errstate(over="ignore", invalid="ignore"):
        return summarise(CpuKernel(), dtype, data, columns, first, cuts)


def zeroed(dtype: str, data: Raw) -> Raw:
    """Return bytes of an exact type with zeros in place of what is not finite."""
    grid = grids.grid(grids.GRID_OF_DTYPE[dtype])
    codes = data.view("<u2" if grid.size == 65_536 else "u1")
    return np.where(grid.finite[codes], codes, 0).astype(codes.dtype).view(np.uint8)


def check(kernel: Kernel, dtype: str, data: Raw, *, columns: int = 0, first: int = 0,
          cuts: list[int] | None = None) -> None:  # fmt: skip
    """Compare a kernel with the CPU's on one stretch of a tensor."""
    found = summarise(kernel, dtype, data, columns, first, cuts or [])
    expected = reference(dtype, data, columns, first, cuts or [])
    assert found.codes == expected.codes
    assert found.digest == expected.digest
    assert np.array_equal(found.blocks.whole, expected.blocks.whole)
    check_blocks(found.blocks.real, expected.blocks.real)
    if expected.codes.exact:  # what counts as zero is said in the bytes
        expected = reference(dtype, zeroed(dtype, data), columns, first, cuts or [])
    check_parts(found, expected)


def check_blocks(found: Floats, expected: Floats) -> None:
    """Compare block moments; a mean may be off by some of the last bits of the largest value."""
    assert np.array_equal(found[:, LO : LO + 2], expected[:, LO : LO + 2])
    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.abs(expected[:, LO : LO + 2]).max(axis=1, initial=0)
        usable = np.isfinite(expected[:, MEAN_ABS])
        off = 2.0**-48 * largest
        close(found[:, MEAN], expected[:, MEAN], TOLERANCE * expected[:, MEAN_ABS] + off, usable)
        close(found[:, MEAN_ABS], expected[:, MEAN_ABS], TOLERANCE * expected[:, MEAN_ABS], usable)
        usable &= np.isfinite(expected).all(axis=1)
        spread = expected[:, MU4] ** 0.25
        for column, power in ((MU2, 2), (MU3, 3), (MU4, 4)):
            room = TOLERANCE * spread**power + power * spread ** (power - 1) * off + off**power
            close(found[:, column], expected[:, column], room, usable)


def close(found: Floats, expected: Floats, room: Floats, usable: NDArray[np.bool_]) -> None:
    """Check numbers that did not overflow; 1e-300 is left for what underflows."""
    assert np.all(np.abs(found - expected)[usable] <= room[usable] + 1e-300)


def check_parts(found: Summary, expected: Summary) -> None:
    """Compare sketch and channel sums, part by part."""
    assert len(found.parts) == len(expected.parts)
    with np.errstate(over="ignore", invalid="ignore"):
        moments = expected.finish().moments
        total = np.float64(moments.mean_abs) * moments.n
        for a, b in zip(found.parts, expected.parts, strict=True):
            assert (a.first, a.size, a.first_row) == (b.first, b.size, b.first_row)
            assert (a.rows.shape, a.columns.shape) == (b.rows.shape, b.columns.shape)
            finite = np.isfinite(b.sketch) & np.isfinite(total)
            close(a.sketch, b.sketch, np.full(256, TOLERANCE * total), finite)
            close(a.rows, b.rows, TOLERANCE * b.rows, np.isfinite(b.rows))
            close(a.columns, b.columns, TOLERANCE * b.columns, np.isfinite(b.columns))


def sample(dtype: str, size: int, seed: int = 0) -> Raw:
    """Return bell-shaped floats, or arbitrary bytes of another dtype."""
    rng = np.random.default_rng(seed)
    if dtype in ("f32", "f64"):
        x = 0.5 + 0.02 * rng.standard_normal(size)
        return x.astype("<f4" if dtype == "f32" else "<f8").view(np.uint8)
    return rng.integers(0, 2 if dtype == "bool" else 256, size * ITEM_BYTES[dtype]).astype(np.uint8)


@pytest.mark.parametrize("columns", [0, 7, 1000, 150_000])
@pytest.mark.parametrize("dtype", ITEM_BYTES)
def test_a_stretch_of_a_tensor(kernel: Kernel, dtype: str, columns: int) -> None:
    """Blocks, runs, rows and kilobytes are cut where the CPU kernel cuts them."""
    data = sample(dtype, 2 * BLOCK + 1234)
    check(kernel, dtype, data, columns=columns, first=BLOCK, cuts=[BLOCK // 2, BLOCK + 77])


@pytest.mark.parametrize("dtype", ITEM_BYTES)
@given(
    data=st.binary(max_size=600),
    first=st.sampled_from([0, 128, 1024, BLOCK - 40, 3 * BLOCK + 5]),
    columns=st.sampled_from([0, 2, 3, 40, 1000]),
    cut=st.integers(0, 600),
)
@settings(max_examples=20)
def test_any_bytes(
    kernel: Kernel, dtype: str, data: bytes, first: int, columns: int, cut: int
) -> None:
    """Whatever the bits and wherever they lie, the kernels agree."""
    size = len(data) // ITEM_BYTES[dtype]
    raw = np.frombuffer(data[: size * ITEM_BYTES[dtype]], np.uint8)
    check(kernel, dtype, raw, columns=columns, first=first, cuts=[min(cut, size)])


BITS = {"f32": "<f4", "f64": "<f8", "f16": "<f2"}


def hard(dtype: str) -> Iterator[tuple[str, Raw]]:
    """Yield tensors that break kernels."""
    kind = np.dtype(BITS[dtype])
    top, tiny = np.finfo(kind).max, np.finfo(kind).smallest_subnormal
    values: dict[str, list[Any]] = {
        "all NaN": [np.nan], "all Inf": [np.inf], "both Inf": [np.inf, -np.inf],
        "NaN everywhere": [np.nan, 1.0, -np.inf, 0.25], "zeros": [0.0], "negative zeros": [-0.0],
        "both zeros": [0.0, -0.0], "ones": [1.0], "tenths": [0.1], "subnormals": [tiny, -3 * tiny],
        "the largest": [top], "both ends": [top, -top], "large and small": [top, tiny, 1.0],
        "one NaN": [1.0] * 999 + [np.nan],
    }  # fmt: skip
    for name, pattern in values.items():
        yield name, np.resize(np.array(pattern).astype(kind), BLOCK + 999).view(np.uint8)


@pytest.mark.parametrize("dtype", BITS)
def test_hard_tensors(kernel: Kernel, dtype: str) -> None:
    """NaN, Inf, constants, subnormals, signed zeros and the largest floats agree as well."""
    for name, data in hard(dtype):
        try:
            check(kernel, dtype, data, columns=500)
        except AssertionError as error:
            raise AssertionError(f"{dtype}: {name}") from error


@pytest.mark.parametrize("dtype", ITEM_BYTES)
def test_nothing_gives_the_empty_summary(kernel: Kernel, dtype: str) -> None:
    """No elements, no numbers, no division by zero."""
    assert summarise(kernel, dtype, np.zeros(0, np.uint8), 10, 0, []) == empty(dtype)


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("pivot", [0.0, 0.5, -1e30])
def test_counts_around_a_pivot_are_the_same_integers(
    kernel: Kernel, dtype: str, pivot: float
) -> None:
    """The second look at norm gains counts exactly as the CPU kernel does."""
    data = sample(dtype, 5000, 1)
    expected = CpuKernel().accumulator(dtype).shifted(data, pivot)
    assert np.array_equal(kernel.accumulator(dtype).shifted(data, pivot), expected)


def test_the_same_bits_twice(kernel: Kernel) -> None:
    """Without atomics on floats one device gives one answer."""
    data = sample("f32", 3 * BLOCK + 17)
    twice = [summarise(kernel, "f32", data, 300, 0, []) for _ in range(2)]
    assert twice[0] == twice[1]


def test_only_the_distribution() -> None:
    """Sketch, channels and hash can be left out; the rest stays as it is."""
    open_kernel("cpu")
    from forkmon.kernels.torch_kernel import TorchKernel

    for dtype in ("bf16", "f32"):
        data = sample(dtype, 5000)
        lean = summarise(TorchKernel(distribution_only=True), dtype, data, 10, 0, [])
        assert (lean.parts, lean.digest) == ((), None)
        assert lean.codes == summarise(CpuKernel(), dtype, data, 10, 0, []).codes


@pytest.mark.parametrize("short_at", [1, 2, 5, 9])
def test_a_shortage_in_the_middle_changes_no_number(short_at: int) -> None:
    """A slice that did not fit is measured again, smaller; nothing is counted twice."""
    open_kernel("cpu")
    from forkmon.kernels.torch_kernel import HostLoader, TorchKernel

    class Short(HostLoader):
        slice_elements = 2 * BLOCK
        loads = 0

        @contextmanager
        def load(self, data: Raw) -> Iterator[Any]:
            with super().load(data) as raw:
                yield raw
            self.loads += 1
            if self.loads == short_at:
                raise MemoryError

        def recover(self, error: Exception) -> None:
            assert isinstance(error, MemoryError)
            self.slice_elements = BLOCK

    check(TorchKernel(Short()), "f32", sample("f32", 6 * BLOCK + 5), columns=300, first=77)


def test_chunks_must_follow_one_another(kernel: Kernel) -> None:
    """A gap is a bug of the caller's, and said so."""
    accumulator = kernel.accumulator("u8")
    accumulator.add(np.zeros(10, np.uint8), 0)
    with pytest.raises(ValueError, match="expected 10"):
        accumulator.add(np.zeros(10, np.uint8), 11)


def _parts(s: Summary, change: Callable[[Any], dict[str, Floats]]) -> Summary:
    return replace(s, parts=tuple(replace(p, **change(p)) for p in s.parts))


def _in_float32(x: Floats) -> Floats:
    return x.astype(np.float32).astype(np.float64)


BROKEN: dict[str, Callable[[Summary], Summary]] = {
    "codes": lambda s: replace(s, codes=replace(s.codes, counts=np.roll(s.codes.counts, 1))),
    "moments": lambda s: replace(s, blocks=replace(s.blocks, real=_in_float32(s.blocks.real))),
    "sketch": lambda s: _parts(s, lambda p: {"sketch": np.roll(p.sketch, 1)}),
    "columns": lambda s: _parts(s, lambda p: {"columns": p.columns[::-1]}),
    "rows": lambda s: _parts(s, lambda p: {"rows": _in_float32(p.rows)}),
    "hash": lambda s: replace(s, digest=(s.digest or 0) ^ (1 << 63)),
}


@pytest.mark.parametrize("where", BROKEN)
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the suite must see a broken kernel")
def test_the_suite_is_not_blind(where: str) -> None:
    """A kernel that is wrong in one place fails."""
    check(Broken(open_kernel("cpu"), BROKEN[where]), "f32", sample("f32", 5000), columns=70)
