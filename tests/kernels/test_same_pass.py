"""Channels, sketch and content hash: what the same pass over the elements also yields."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forkmon.kernels.cpu import CpuKernel
from forkmon.kernels.protocol import Kernel
from forkmon.stats import channels, parts, sketch
from forkmon.stats.blocks import BLOCK
from forkmon.stats.summary import Finished, Summary, empty

Matrix = NDArray[np.float32]


@pytest.fixture(params=["cpu"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """Every kernel there is."""
    return {"cpu": CpuKernel}[request.param]()


def summary_of(kernel: Kernel, values: NDArray[np.generic], dtype: str, cuts: list[int]) -> Summary:
    """Return the summary of a matrix, its elements given in pieces cut at `cuts`."""
    columns = values.shape[1] if values.ndim == 2 else 0
    flat = values.reshape(-1)
    whole = empty(dtype)
    for first, last in zip([0, *cuts], [*cuts, flat.size], strict=True):
        accumulator = kernel.accumulator(dtype, columns)
        accumulator.add(flat[first:last].view(np.uint8), first)
        whole = whole.join(accumulator.summary())
    return whole


def finished(kernel: Kernel, values: NDArray[np.generic], dtype: str = "f32") -> Finished:
    """Return the numbers of a matrix or vector."""
    rows = values.shape[0] if values.ndim == 2 else 0
    return summary_of(kernel, values, dtype, []).finish(rows)


def bf16(values: Matrix) -> NDArray[np.uint16]:
    """Return values rounded towards zero to bf16 codes."""
    return (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16)


shapes = st.sampled_from([(2, 2), (3, 70_001), (300, 257), (64, 1024), (70_000, 3), (129, 640)])


@given(shape=shapes, seed=st.integers(0, 5), dtype=st.sampled_from(["f32", "f64", "bf16", "f16"]))
@settings(max_examples=30)
def test_norms_are_those_of_the_rows_and_columns(
    kernel: Kernel, shape: tuple[int, int], seed: int, dtype: str
) -> None:
    """Row and column norms agree with numpy's for any shape and type."""
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    stored: NDArray[np.generic] = values
    exact = values.astype(np.float64)
    if dtype == "bf16":
        stored = bf16(values)
        exact = (stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    elif dtype != "f32":
        stored = values.astype({"f64": np.float64, "f16": np.float16}[dtype])
        exact = stored.astype(np.float64)
    found = summary_of(kernel, stored, dtype, [])
    rows = np.sqrt(parts.row_squares(found.parts, shape[0]))
    columns = np.sqrt(parts.column_squares(found.parts))
    np.testing.assert_allclose(rows, np.linalg.norm(exact, axis=1), rtol=1e-12)
    np.testing.assert_allclose(columns, np.linalg.norm(exact, axis=0), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_spans_give_the_same_bits_in_any_order(kernel: Kernel, dtype: str) -> None:
    """Cut on span borders and joined from the end, no bit of any part of the summary changes."""
    values = np.random.default_rng(0).standard_normal((2100, 4100)).astype(np.float32)
    stored: NDArray[np.generic] = values if dtype == "f32" else bf16(values)
    flat = stored.reshape(-1)
    item = flat.dtype.itemsize
    pieces = []
    span = 64 * BLOCK
    for first in range(0, flat.size, span):
        accumulator = kernel.accumulator(dtype, 4100)
        for at in range(first, min(first + span, flat.size), 3 * BLOCK):
            end = min(at + 3 * BLOCK, first + span, flat.size)
            accumulator.add(flat[at:end].view(np.uint8), at)
        pieces.append(accumulator.summary())
    assert len(pieces) == 3
    forward, backward = empty(dtype), empty(dtype)
    for piece in pieces:
        forward = forward.join(piece)
    for piece in reversed(pieces):
        backward = piece.join(backward)
    assert forward == backward
    assert item * flat.size > 0
    compact = pieces[0].join(pieces[1]).compacted().join(pieces[2]).compacted()
    assert len(compact.parts) == 1
    expected = forward.finish(2100)
    for found in (backward.finish(2100), compact.finish(2100)):
        assert found.sketch == expected.sketch
        assert found.channels == expected.channels
        assert found.digest == expected.digest is not None


def test_dead_and_outlying_channels_are_named(kernel: Kernel) -> None:
    """One row of 512 that is 30 times the others, and two that are zero."""
    values = np.random.default_rng(1).standard_normal((512, 256)).astype(np.float32)
    values[17] *= 30
    values[[3, 400]] = 0
    found = finished(kernel, values).channels
    assert found is not None
    assert found.rows.top[0][0] == 17
    assert found.rows.outliers == 1
    assert found.rows.dead == 2
    assert found.columns.outliers == 0
    assert found.columns.count == 256
    assert channels.decode(found.encode()).rows.top[0][0] == 17


@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "f16"])
def test_non_finite_elements_do_not_spoil_sketch_or_channels(kernel: Kernel, dtype: str) -> None:
    """NaN and Inf count as zero there; they are reported where they are counted."""
    values = np.random.default_rng(1).standard_normal((64, 2048)).astype(np.float32)
    clean = values.copy()
    values[5, 7], values[60, 2000], clean[5, 7], clean[60, 2000] = np.nan, np.inf, 0, 0

    def stored(array: Matrix) -> NDArray[np.generic]:
        if dtype == "bf16":
            return bf16(array)
        return array.astype({"f32": np.float32, "f64": np.float64, "f16": np.float16}[dtype])

    bad, good = finished(kernel, stored(values), dtype), finished(kernel, stored(clean), dtype)
    assert bad.sketch == good.sketch
    assert bad.channels == good.channels
    assert (bad.nan, bad.inf) == (1, 1)
    assert bad.digest != good.digest


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16", "i8"])
@given(size=st.sampled_from([1, 7, 255, 256, 513, 70_000]), at=st.integers(0, 69_999))
@settings(max_examples=25)
def test_the_hash_tells_any_change_of_any_byte(
    kernel: Kernel, dtype: str, size: int, at: int
) -> None:
    """Equal bytes have equal hashes; one flipped bit, or a swap of two elements, does not."""
    rng = np.random.default_rng(size)
    width = {"f32": np.uint32, "bf16": np.uint16, "f16": np.uint16, "i8": np.uint8}[dtype]
    data = rng.integers(0, 255, size).astype(width)
    changed = data.copy()
    changed[at % size] ^= width(1)
    swapped = np.roll(data, 1)
    original = finished(kernel, data, dtype).digest
    assert original == finished(kernel, data.copy(), dtype).digest
    assert original != finished(kernel, changed, dtype).digest
    if not np.array_equal(swapped, data):
        assert original != finished(kernel, swapped, dtype).digest


def test_a_hash_is_none_where_a_piece_began_inside_a_kilobyte(kernel: Kernel) -> None:
    """An honest gap: such a piece cannot be hashed like the whole."""
    values = np.ones(1000, np.float32)
    assert summary_of(kernel, values, "f32", [100]).digest is None


def distances(kernel: Kernel, a: Matrix, b: Matrix) -> tuple[float, float]:
    """Return the estimated and the exact distance of two matrices."""
    one, two = finished(kernel, a).sketch, finished(kernel, b).sketch
    assert one is not None
    assert two is not None
    exact = float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64)))
    return sketch.distance(one, two), exact


def updates(kind: str, shape: tuple[int, int], seed: int) -> Matrix:
    """Return a weight update of some structure."""
    rng = np.random.default_rng(seed)
    rows, columns = shape
    out = np.zeros(shape)
    match kind:
        case "dense":
            out = rng.standard_normal(shape)
        case "constant":
            out[:] = 0.1
        case "one column":
            out[:, rng.integers(columns)] = rng.standard_normal(rows)
        case "one row":
            out[rng.integers(rows)] = rng.standard_normal(columns)
        case "rank one":
            out = np.outer(rng.standard_normal(rows), rng.standard_normal(columns))
        case "rank one, positive":
            out = np.outer(rng.random(rows), rng.random(columns))
        case "equal rows":
            out[::16] = rng.standard_normal(columns)
    return out.astype(np.float32)


@pytest.mark.parametrize(
    "kind",
    ["dense", "constant", "one column", "one row", "rank one", "rank one, positive", "equal rows"],
)
def test_distances_from_sketches_err_as_documented(kernel: Kernel, kind: str) -> None:
    """About 4.4 % rms and never above 20 %, whatever the structure of the change."""
    errors = []
    for seed in range(24):
        shape = [(512, 768), (300, 333), (1024, 256), (768, 4096)][seed % 4]
        weights = np.random.default_rng(100 + seed).standard_normal(shape).astype(np.float32)
        estimated, exact = distances(kernel, weights, weights + updates(kind, shape, seed))
        errors.append(estimated / exact - 1)
    assert np.sqrt(np.mean(np.square(errors))) < 2 * sketch.RELATIVE_ERROR
    assert np.abs(errors).max() < 0.2


def test_identical_weights_have_distance_zero(kernel: Kernel) -> None:
    """Also after a round through the stored bytes."""
    values = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    found = finished(kernel, values).sketch
    assert found is not None
    assert sketch.distance(found, found) == 0
    stored = sketch.decode(found.encode())
    assert sketch.distance(stored, sketch.decode(found.encode())) == 0
    assert len(found.encode()) == 1024
    assert sketch.distance(found, stored) < 1e-5 * np.linalg.norm(values)


def test_a_sketch_of_the_broken_plain_modulo_is_told_apart(kernel: Kernel) -> None:
    """The error test sees a wrong sketch: without rotations one column falls into one bucket."""
    errors = []
    for seed in range(24):
        change = updates("one column", (512, 768), seed).astype(np.float64).reshape(-1)
        signs = np.resize(sketch.signs(), change.size).astype(np.float64)
        sums = (change * signs).reshape(-1, sketch.WIDTH).sum(axis=0)
        errors.append(np.linalg.norm(sums) / np.linalg.norm(change) - 1)
    assert np.abs(errors).max() > 0.2


def test_sketch_constants_are_frozen() -> None:
    """Stored sketches are compared with new ones: the hashes must never change unnoticed."""
    assert sketch.SKETCH_VERSION == 1
    assert sketch.signs()[:16].tolist() == [1, -1, -1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, 1, -1]
    assert sketch.runs(0, 4).tolist() == [175, 544, 718, 705]
