"""Spectra against numpy's decomposition, and against matrices whose spectra are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad

from forkmon.commands.probe_found import checkpoints
from forkmon.errors import UsageError
from forkmon.formats.refs import TensorRef
from forkmon.probes.protocol import Declined
from forkmon.probes.spectrum import Parameters, Result, Row, measure, row_of
from forkmon.probes.spectrum_fits import (
    _marchenko_pastur,
    effective_rank,
    power_law,
    random_matrix,
)
from forkmon.probes.spectrum_lanczos import converged, quadrature, singular_values

from .conftest import Land, Measure

Floats = NDArray[np.float64]


def gaussian(rows: int, columns: int, seed: int = 0) -> Floats:
    """Return a matrix of unit normal elements."""
    return np.random.default_rng(seed).standard_normal((rows, columns))


def planted(seed: int = 0) -> Floats:
    """Return noise with three directions far beyond its edge."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((640, 900))
    for strength in (0.3, 0.4, 0.5):
        noise += strength * np.outer(rng.standard_normal(640), rng.standard_normal(900))
    return noise


def heavy(alpha: float = 3.0, size: int = 700) -> Floats:
    """Return a matrix whose eigenvalues have density x^-alpha from 1 on."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((size, size)))[0] for _ in range(2))
    law = (1 - (np.arange(size) + 0.5) / size) ** (-1 / (alpha - 1))
    found: Floats = left * np.sqrt(law) @ right
    return found


def low_rank() -> Floats:
    """Return a matrix of rank 5."""
    return gaussian(600, 5) @ gaussian(5, 700, 1)


MATRICES = {
    "gaussian": gaussian(600, 900), "square": gaussian(640, 640), "tall": gaussian(1500, 560),
    "planted": planted(), "heavy": heavy(),
    "student": np.random.default_rng(3).standard_t(3, (600, 1200)),
}  # fmt: skip


def row(matrix: Floats, parameters: Parameters, dtype: str = "f32") -> Row:
    """Return a matrix's row as the probe makes it."""
    stored = matrix.astype({"f32": np.float32, "f64": np.float64, "f16": np.float16}[dtype])
    tensor = TensorRef("w", dtype, matrix.shape, Path("x"), 0)

    def read(_: TensorRef, first: int, out: memoryview) -> None:
        width = stored.dtype.itemsize
        out[:] = stored.ravel()[first : first + out.nbytes // width].tobytes()

    return row_of(tensor, parameters, read, lambda _: None)


EXACT, ESTIMATED = Parameters(exact=4096), Parameters(exact=8)


@pytest.mark.parametrize("name", MATRICES)
def test_estimates_are_near_the_decomposition(name: str) -> None:
    """Norm to 1e-4, ranks and sums to 3 %, the law of all singular values to 2 % of the norm."""
    matrix = MATRICES[name]
    exact, found = row(matrix, EXACT), row(matrix, ESTIMATED)
    assert (exact.method, found.method) == ("exact", "lanczos")
    assert found.norm == pytest.approx(exact.norm, rel=1e-4)
    assert found.frobenius == pytest.approx(exact.frobenius, rel=1e-5)
    assert found.stable_rank == pytest.approx(exact.stable_rank, rel=1e-3)
    assert found.effective_rank == pytest.approx(exact.effective_rank, rel=0.03)
    assert found.nuclear == pytest.approx(exact.nuclear, rel=0.03)
    values = np.linalg.svd(matrix, compute_uv=False)
    q = quadrature(matrix.astype(np.float32), vectors=8, steps=64, tick=lambda _: None)
    assert np.abs(singular_values(q, len(values)) - values).max() < 0.02 * values[0]
    top = converged(q)
    assert len(top) >= 1
    np.testing.assert_allclose(top, values[: len(top)], rtol=1e-4)


def test_exact_is_numpys() -> None:
    """All numbers follow from the singular values."""
    matrix = MATRICES["gaussian"]
    values = np.linalg.svd(matrix, compute_uv=False)
    found = row(matrix, EXACT, "f64")
    share = values / values.sum()
    assert found.norm == pytest.approx(values[0], rel=1e-6)
    assert found.nuclear == pytest.approx(values.sum(), rel=1e-6)
    assert found.stable_rank == pytest.approx((values**2).sum() / values[0] ** 2, rel=1e-6)
    assert found.effective_rank == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)
    assert sum(found.density) == pytest.approx(1.0)


@pytest.mark.parametrize("parameters", [EXACT, ESTIMATED])
def test_scale_scales(parameters: Parameters) -> None:
    """c W has c times the norms, c^2 times the eigenvalues, and the same ranks and alpha."""
    matrix = MATRICES["planted"]
    one, other = row(matrix, parameters, "f64"), row(matrix * 2.0**-60, parameters, "f64")
    assert one.norm is not None
    assert one.alpha_begin is not None
    assert other.norm == pytest.approx(one.norm * 2.0**-60)
    assert other.alpha_begin == pytest.approx(one.alpha_begin * 2.0**-120)
    for name in ("stable_rank", "effective_rank", "alpha", "outliers", "noise_distance"):
        assert getattr(other, name) == pytest.approx(getattr(one, name))


@pytest.mark.parametrize("parameters", [EXACT, ESTIMATED])
def test_noise_has_its_edge_and_nothing_beyond(parameters: Parameters) -> None:
    """A Gaussian matrix is noise of its own scale; planted directions are counted."""
    for name in ("gaussian", "square", "tall"):
        matrix = MATRICES[name]
        found = row(matrix, parameters)
        rows, columns = matrix.shape
        assert found.noise == pytest.approx(1.0, rel=0.03)
        assert found.edge == pytest.approx(np.sqrt(rows) + np.sqrt(columns), rel=0.03)
        assert found.outliers == 0
        assert found.noise_distance is not None
        assert found.noise_distance < 0.03
    assert row(MATRICES["planted"], parameters).outliers == 3
    assert row(MATRICES["heavy"], parameters).noise_distance == pytest.approx(0.43, abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_outliers_of_noise_are_rare(seed: int) -> None:
    """Chance beyond the edge is allowed for."""
    values: Floats = np.linalg.svd(gaussian(200, 300, seed), compute_uv=False).astype(np.float64)
    found = random_matrix(values, (200, 300))
    assert found is not None
    assert found.outliers == 0


def test_the_noise_law_is_marchenko_and_pasturs() -> None:
    """Its distribution function against the integral of the published density."""
    for aspect in (0.1, 0.5, 1.0):
        low, high = (1 - np.sqrt(aspect)) ** 2, (1 + np.sqrt(aspect)) ** 2

        def density(x: float, low: float = low, high: float = high, beta: float = aspect) -> float:
            return float(np.sqrt((high - x) * (x - low)) / (2 * np.pi * beta * x))

        grid, law = _marchenko_pastur(aspect)
        for at in (0.3, 0.8, 1.5):
            if low < at < high:
                expected = quad(density, low, at, limit=200)[0]
                assert float(np.interp(at, grid, law)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("alpha", [1.8, 2.5, 4.0])
def test_power_laws_are_found(alpha: float) -> None:
    """From their whole range, or above a bulk that is none; with a small distance."""
    rng = np.random.default_rng(0)
    tail = (1 - rng.random(3000)) ** (-1 / (alpha - 1))
    found = power_law(tail)
    assert found is not None
    assert found.alpha == pytest.approx(alpha, rel=0.07)
    assert found.distance < 0.03
    mixed = power_law(np.concatenate([tail, rng.random(3000)]))
    assert mixed is not None
    assert mixed.alpha == pytest.approx(alpha, rel=0.1)
    assert mixed.begin == pytest.approx(1.0, abs=0.6)
    assert power_law(np.ones(50)) is None
    assert power_law(np.arange(1.0, 5.0)) is None


WEIGHTWATCHER = {
    "blocks.0.attn.k.weight": (2.028331, 0.593820, 0.095744, 12.767857, 4.898647),
    "blocks.0.mlp.up.weight": (5.452142, 2.823200, 0.089679, 6.542589, 15.371625),
    "blocks.1.attn.k.weight": (3.294943, 1.415375, 0.086039, 10.743052, 5.879574),
    "blocks.1.mlp.down.weight": (1.434889, 0.047887, 0.122439, 9.208591, 12.425980),
    "blocks.1.mlp.up.weight": (4.768694, 2.767366, 0.080541, 9.302247, 13.153011),
    "embed.weight": (2.982210, 2.836319, 0.111382, 12.718700, 13.273494),
    "head.weight": (2.584693, 1.662180, 0.066378, 78.802754, 2.564469),
    "pos.weight": (1.473591, 0.017845, 0.066199, 12.121707, 3.268483),
}
"""alpha, beginning, distance, squared norm and stable rank, from weightwatcher 0.7.7."""


def test_a_sample_run_has_weightwatchers_numbers(opened: Measure) -> None:
    """The same tails, fits and norms, to the digits it prints."""
    samples = Path(__file__).resolve().parents[2] / "sample_runs"
    ref = checkpoints(samples / "tiny-lm" / "checkpoint-2048").ready[0]
    found: Result = opened(ref, lambda it: measure(it, Parameters(), lambda *_: None))
    rows = {item.name: item for item in found.rows}
    for name, (alpha, begin, distance, square, rank) in WEIGHTWATCHER.items():
        item = rows[name]
        assert item.norm is not None
        assert (item.alpha, item.alpha_begin) == pytest.approx((alpha, begin), rel=1e-4)
        assert item.alpha_distance == pytest.approx(distance, rel=1e-4)
        assert item.norm**2 == pytest.approx(square, rel=1e-5)
        assert item.stable_rank == pytest.approx(rank, rel=1e-5)


@pytest.mark.parametrize("parameters", [EXACT, ESTIMATED])
def test_low_rank_is_seen(parameters: Parameters) -> None:
    """Rank 5 among 600: effective rank at most 5, however it is found."""
    found = row(low_rank(), parameters)
    assert found.effective_rank is not None
    assert found.effective_rank < 5.2
    assert found.stable_rank is not None
    assert found.stable_rank < 5


def test_effective_rank_of_equal_values_is_their_number() -> None:
    """And of one value, one; of none, nothing."""
    assert effective_rank(np.ones(7)) == pytest.approx(7)
    assert effective_rank(np.array([3.0, 0.0])) == pytest.approx(1)
    assert effective_rank(np.zeros(3)) is None


@pytest.mark.parametrize("parameters", [EXACT, ESTIMATED])
def test_what_has_no_spectrum_says_so(parameters: Parameters) -> None:
    """NaN and zeros: no numbers, a note; an identity has no power law and no error."""
    wrong = np.ones((20, 30))
    wrong[3, 3] = np.nan
    assert "NaN" in row(wrong, parameters).note
    assert "zero" in row(np.zeros((20, 30)), parameters).note
    found = row(np.eye(40), parameters)
    assert found.norm == pytest.approx(1.0)
    assert found.stable_rank == pytest.approx(40, rel=1e-5)
    assert found.alpha is None


def test_a_checkpoint_has_a_row_for_each_matrix(land: Land, opened: Measure) -> None:
    """Convolutions flattened, vectors left out, names filtered; halves and floats alike."""
    rng = np.random.default_rng(0)
    content: dict[str, NDArray[Any]] = {
        "a.weight": rng.standard_normal((20, 30)).astype(np.float16),
        "b.weight": rng.standard_normal((8, 3, 5, 5)).astype(np.float32),
        "c.bias": np.ones(9, np.float32),
    }
    ref = land(1, content)

    def ask(parameters: Parameters) -> Result | Declined:
        answer: Result | Declined = opened(ref, lambda it: measure(it, parameters, lambda *_: None))
        return answer

    found = ask(Parameters())
    assert isinstance(found, Result)
    assert [(r.name, r.rows, r.columns) for r in found.rows] == [
        ("a.weight", 20, 30), ("b.weight", 8, 75)
    ]  # fmt: skip
    for item, matrix in zip(found.rows, (content["a.weight"], content["b.weight"]), strict=True):
        values = np.linalg.svd(matrix.reshape(item.rows, -1).astype(np.float64), compute_uv=False)
        assert item.norm == pytest.approx(values[0], rel=1e-6)
    only = ask(Parameters(filter="^b"))
    assert isinstance(only, Result)
    assert [r.name for r in only.rows] == ["b.weight"]
    assert isinstance(ask(Parameters(filter="nothing")), Declined)
    with pytest.raises(UsageError, match="filter"):
        ask(Parameters(filter="("))
    with pytest.raises(UsageError, match="steps"):
        ask(Parameters(steps=1))
