"""The estimator of multifractal spectra on measures whose spectra are known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import shortest_path
from scipy.stats import linregress

from forkmon.probes.multifractal import (
    MIDDLE,
    QS,
    Spectrum,
    partition_sums,
    spectrum,
    spectrum_of_balls,
)

Floats = NDArray[np.float64]
PAPER = np.arange(1, 151, dtype=np.float64)


def cantor(levels: int) -> Floats:
    """Return the points of the multiplicative Cantor measure [1, 0, 2]: twice as many right."""
    at = np.zeros(1)
    for k in range(1, levels + 1):
        right = at + 2 * 3.0**-k
        at = np.concatenate([at, right, right])
    return at


def standard_tau(q: Floats) -> Floats:
    """Return tau of that measure: -log3((1/3)^q + (2/3)^q)."""
    tau: Floats = -np.log((1 / 3) ** q + (2 / 3) ** q) / np.log(3)
    return tau


def paper_counts(distances: Floats) -> NDArray[np.int64]:
    """Return (nodes, 150) counts of rounded distances in (1, 150]; 0 stands for no edge."""
    counts = np.zeros((len(distances), 150), np.int64)
    for node, d in enumerate(distances):
        kept = np.rint(d[(d > 1) & (d <= 150)]).astype(np.int64)
        counts[node] = np.bincount(kept - 1, minlength=150)[:150]
    return counts


def known(found: Spectrum | None) -> Spectrum:
    """Return a spectrum that must be there."""
    assert found is not None
    return found


def test_the_derivative_and_its_transform_on_the_binomial_measure() -> None:
    """tau(q) = -log2(p^q + (1-p)^q): forward differences err by half a step, 1.3e-2 at most."""
    p = 0.3
    tau = -np.log2(p**QS + (1 - p) ** QS)
    weight = p**QS + (1 - p) ** QS
    truth = -(p**QS * np.log2(p) + (1 - p) ** QS * np.log2(1 - p)) / weight
    alpha = np.diff(tau) / np.diff(QS)
    assert np.abs(alpha - truth[:-1]).max() < 1.31e-2
    assert np.abs((alpha[1:] + alpha[:-1]) / 2 - truth[1:-1]).max() < 1.8e-4
    assert (QS * truth - tau).max() == pytest.approx(1.0)


def test_the_cantor_measure_has_its_known_spectrum() -> None:
    """Radii of the construction give tau(q) = tau_standard(q + 1): exactly where balls are closed,
    to the stated errors where they miss the points on their border."""
    at = cantor(7)
    distances = np.abs(at[:, None] - at[None])
    radii = 3.0 ** -np.arange(6, -1, -1.0)
    exact = spectrum_of_balls(balls(distances, radii * 1.001), radii)
    assert np.abs(exact.tau - standard_tau(QS + 1)).max() < 1e-12
    found = spectrum_of_balls(balls(distances, radii * 0.999), radii)
    assert np.abs(found.tau - standard_tau(QS + 1)).max() < 0.0019
    assert found.alpha_0 == pytest.approx(0.5794, abs=1e-4)
    assert found.width == pytest.approx(0.4676, abs=0.007)
    assert found.r_squared > 0.99995


def balls(distances: Floats, radii: Floats) -> NDArray[np.int64]:
    """Return how many points each ball holds, (points, radii)."""
    return np.stack([(distances <= radius).sum(axis=1) for radius in radii], axis=1)


def test_an_end_to_end_regression_has_its_goldens() -> None:
    """The reference implementation's numbers for w = 1/(150 |x_i - x_j|), 243 nodes."""
    at = cantor(5)
    found = known(spectrum(paper_counts(150 * np.abs(at[:, None] - at[None])), PAPER))
    # f is 0 on both sides of q = 0 up to rounding: the published rule took the right one here.
    assert found.alpha[MIDDLE] == pytest.approx(0.647931, abs=1e-6)
    assert found.alpha_0_argmax in (found.alpha[MIDDLE], found.alpha[MIDDLE - 1])
    assert found.width == pytest.approx(0.451085, abs=1e-6)
    assert found.tau[0] == pytest.approx(-2.375056, abs=1e-6)
    assert found.tau[-1] == pytest.approx(1.597406, abs=1e-6)
    assert found.alpha_0 == pytest.approx(0.652884, abs=1e-6)


@pytest.mark.parametrize("dimension", [0.5, 1.0, 2.0])
def test_a_star_of_one_dimension_has_no_width(dimension: float) -> None:
    """d = 1 + 149 u^(1/D): alpha_0 nears the line through the law itself, the width goes away."""
    below = np.minimum(((PAPER - 0.5) / 149) ** dimension, 1.0)
    truth = linregress(np.log(PAPER), np.log(below)).slope
    widths: list[float] = []
    for edges in (64, 1024, 16384):
        rng = np.random.default_rng(edges)
        counts = paper_counts(1 + 149 * rng.random((60, edges)) ** (1 / dimension))
        found = known(spectrum(counts, PAPER))
        widths.append(found.width)
    assert found.alpha_0 == pytest.approx(truth, rel=0.035)
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < (0.01 if dimension <= 1 else 0.16)


def flower(u: int, v: int, generations: int) -> csr_matrix:
    """Return a (u, v)-flower: each edge becomes two parallel paths of u and v edges."""
    edges, nodes = [(i, (i + 1) % (u + v)) for i in range(u + v)], u + v
    for _ in range(generations - 1):
        grown: list[tuple[int, int]] = []
        for a, b in edges:
            for length in (u, v):
                path = [a, *range(nodes, nodes + length - 1), b]
                nodes += length - 1
                grown += list(pairwise(path))
        edges = grown
    rows, columns = np.array(edges).T
    return csr_matrix((np.ones(len(edges)), (rows, columns)), (nodes, nodes))


@pytest.mark.parametrize(
    ("u", "v", "generations", "nodes", "left", "right"),
    [(2, 2, 6, 2732, 1.81, 1.05), (3, 3, 4, 1038, 1.45, 1.17), (2, 3, 4, 470, 1.77, 1.34)],
)
def test_flowers_are_bifractal(
    u: int, v: int, generations: int, nodes: int, left: float, right: float
) -> None:
    """Furuya and Yakubo (arXiv 1110.0272): balls up to half the diameter, measured ends."""
    graph = flower(u, v, generations)
    assert graph.shape == (nodes, nodes)
    distances = shortest_path(graph, directed=False, unweighted=True).astype(np.int64)
    longest = int(distances.max()) // 2
    counts = np.array([np.bincount(row, minlength=longest + 1)[: longest + 1] for row in distances])
    grown = counts.cumsum(axis=1)[:, 1 : longest + 1]
    found = spectrum_of_balls(grown, np.arange(1, longest + 1, dtype=np.float64))
    assert found.alpha[0] == pytest.approx(left, abs=0.08)
    assert found.alpha[-1] == pytest.approx(right, abs=0.08)


def test_partition_sums_are_sums_of_powers() -> None:
    """Powers made 8 by 8 equal powers made one by one; slopes are linregress's."""
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 5, (700, 150))
    found = known(spectrum(counts, PAPER))
    balls = 1 + counts.cumsum(axis=1)
    log_mu = np.log(balls / balls[:, -1:])
    sums = np.array([np.exp(q * log_mu).sum(axis=0) for q in QS])
    np.testing.assert_allclose(partition_sums(log_mu), sums, rtol=1e-12)
    for q in (0, 7, 60):
        line = linregress(np.log(PAPER / 150), np.log(sums[q]))
        assert found.tau[q] == pytest.approx(line.slope, rel=1e-10)
    line = linregress(np.log(PAPER / 150), log_mu[3])
    assert found.slopes[3] == pytest.approx(line.slope, rel=1e-12)


def test_nothing_to_fit_is_none() -> None:
    """No node with enough edges, or edges of a single length: there is no slope."""
    assert spectrum(np.zeros((5, 150), np.int64), PAPER) is None
    alone = np.zeros((5, 150), np.int64)
    alone[:, 7] = 40
    assert spectrum(alone, PAPER) is None
    assert spectrum(np.zeros((0, 150), np.int64), PAPER) is None


def test_tau_is_zero_at_zero_and_nodes_have_no_order() -> None:
    """tau(0) = 0, f <= 0, and permuting the nodes changes nothing but the last bits."""
    counts = np.random.default_rng(2).integers(0, 9, (300, 150))
    one, other = known(spectrum(counts, PAPER)), known(spectrum(counts[::-1], PAPER))
    assert abs(one.tau[MIDDLE]) < 1e-12
    assert one.f.max() < 1e-12
    np.testing.assert_allclose(one.tau, other.tau, atol=1e-12)
    np.testing.assert_allclose(one.slopes, other.slopes[::-1], atol=1e-13)
