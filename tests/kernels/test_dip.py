"""The dip agrees with the reference program, and has its own invariances."""

from __future__ import annotations

import importlib.util
import sys

import diptest
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forkmon.kernels.dip import dip, p_value

Floats = NDArray[np.float64]

LAWS = ("normal", "uniform", "two", "heavy", "skewed")


def drawn(law: str, n: int, seed: int) -> Floats:
    """Return a sample of a law."""
    rng = np.random.default_rng(seed)
    match law:
        case "normal":
            return rng.normal(size=n)
        case "uniform":
            return rng.uniform(size=n)
        case "two":
            return rng.normal(size=n) + 4 * (rng.uniform(size=n) < 0.3)
        case "heavy":
            return rng.standard_t(2, n)
        case _:
            return rng.exponential(size=n)


def of_sample(values: Floats) -> float:
    """Return the dip of a sample's distribution function."""
    found, count = np.unique(values, return_counts=True)
    up_to = np.cumsum(count) / len(values)
    return dip(found, up_to - count / len(values), up_to)


@pytest.mark.parametrize("law", LAWS)
@given(n=st.integers(4, 400), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_the_dip_is_that_of_the_reference(law: str, n: int, seed: int) -> None:
    """Equal to the last digits for samples of any shape and size."""
    values = drawn(law, n, seed)
    assert of_sample(values) == pytest.approx(diptest.dipstat(np.sort(values)), abs=1e-12)


@given(n=st.integers(4, 200), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_mirror_images_and_scales_have_one_dip(n: int, seed: int) -> None:
    """Neither turning the axis around nor stretching it matters."""
    values = drawn("two", n, seed)
    assert of_sample(-values) == pytest.approx(of_sample(values), abs=1e-12)
    assert of_sample(1000 * values + 7) == pytest.approx(of_sample(values), abs=1e-12)


def test_a_line_has_no_dip_and_two_points_the_largest() -> None:
    """The uniform law is unimodal; half the mass at either end is as far from it as can be."""
    line = np.linspace(0, 1, 50)
    assert dip(line, line, line) == pytest.approx(0, abs=1e-12)
    ends = np.array([0.0, 1e-9, 1.0, 1 + 1e-9])
    share = np.array([0.0, 0.5, 0.5, 1.0])
    assert dip(ends, share, share) == pytest.approx(0.25, abs=1e-6)
    assert dip(ends[:1], share[:1], share[:1]) == 0.0


@pytest.mark.parametrize(("root", "p"), [(0.739, 1e-3), (0.830, 1e-4), (0.911, 1e-5)])
def test_p_is_that_of_the_published_table(root: float, p: float) -> None:
    """The tail of the table for n = 72,000: sqrt(n) D at three levels."""
    n = 72_000
    assert p_value(root / n**0.5, n) == pytest.approx(p, rel=0.12)
    assert p_value(0.0, n) == 1.0
    assert 0 <= p_value(0.25, 65_536) < 1e-300


def test_without_numba_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The torch kernel stands in where numba is broken: slower, and not a bit different."""
    monkeypatch.setitem(sys.modules, "numba", None)
    spec = importlib.util.find_spec("forkmon.kernels.dip")
    assert spec is not None
    assert spec.loader is not None
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    for law in LAWS:
        values = np.sort(drawn(law, 300, 0))
        share = np.arange(301) / 300
        assert plain.dip(values, share[:-1], share[1:]) == dip(values, share[:-1], share[1:])
