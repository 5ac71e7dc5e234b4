"""Laws of Moments, and the cases that broke crick."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.stats.moments import EMPTY, Moments

values = st.lists(
    st.floats(min_value=-1e6, max_value=1e6, allow_nan=False, allow_subnormal=False), max_size=40
)


def measured(xs: list[float]) -> Moments:
    """Return the moments of values by exact arithmetic."""
    if not xs:
        return EMPTY
    exact = [Fraction(x) for x in xs]
    n = len(exact)
    mean = sum(exact) / n

    def central(k: int) -> float:
        return float(sum((x - mean) ** k for x in exact) / n)

    return Moments(
        n, float(mean), central(2), central(3), central(4), min(xs), max(xs),
        float(sum(abs(x) for x in exact) / n),
    )  # fmt: skip


def same(a: Moments, b: Moments, *, rel: float = 1e-9) -> bool:
    """Return whether two moments agree up to rounding, scaled by their spread."""
    if (a.n, a.lo, a.hi) != (b.n, b.lo, b.hi):
        return False
    scale = max(abs(a.lo), abs(a.hi), 1e-300) if a.n else 1.0
    pairs = [(a.mean, b.mean, 1), (a.mu2, b.mu2, 2), (a.mu3, b.mu3, 3), (a.mu4, b.mu4, 4)]
    return all(abs(x - y) <= rel * scale**k for x, y, k in pairs)


@given(values)
def test_the_empty_moments_are_the_identity_to_the_bit(xs: list[float]) -> None:
    """Merging with nothing changes no bit, on either side."""
    m = measured(xs)
    assert EMPTY.merge(m) == m == m.merge(EMPTY)


@given(values, values)
def test_merge_commutes_to_the_bit(xs: list[float], ys: list[float]) -> None:
    """The order of two sides does not matter."""
    assert measured(xs).merge(measured(ys)) == measured(ys).merge(measured(xs))


@given(values, values, values)
def test_merge_is_associative_up_to_rounding(
    xs: list[float], ys: list[float], zs: list[float]
) -> None:
    """The grouping of three sides does not matter."""
    a, b, c = measured(xs), measured(ys), measured(zs)
    assert same(a.merge(b).merge(c), a.merge(b.merge(c)))


@given(values, st.data())
def test_any_split_equals_the_whole(xs: list[float], data: st.DataObject) -> None:
    """Two parts merged are the whole measured by exact arithmetic."""
    cut = data.draw(st.integers(0, len(xs)))
    assert same(measured(xs[:cut]).merge(measured(xs[cut:])), measured(xs))


def test_maximum_of_negative_values_is_negative() -> None:
    """crick starts its maximum at the smallest positive double."""
    assert measured([-5.0]).merge(measured([-3.0, -2.0])).hi == -2.0


def test_constant_data_has_no_skewness_whatever_it_is_merged_with() -> None:
    """crick's identity turns an undefined skewness into zero."""
    merged = EMPTY.merge(measured([2.5, 2.5])).merge(EMPTY)
    assert merged.skew is None
    assert merged.kurtosis is None
    assert merged.std == 0.0


@pytest.mark.parametrize("n", [60_000, 2_025_000, 800_000_000])
def test_large_counts_do_not_overflow(n: int) -> None:
    """crick's kurtosis falls below -2 from 55,000 values on; two far atoms have exactly -2."""
    low = Moments(n, -1.0, 0.0, 0.0, 0.0, -1.0, -1.0, 1.0)
    high = Moments(n, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
    both = low.merge(high)
    assert both.kurtosis == -2.0
    assert both.skew == 0.0
    assert both.l1 == 2.0 * n


def test_unequal_means_enter_the_fourth_moment() -> None:
    """A merge of shards with different means equals the closed form of a two-point law."""
    low = Moments(3_000_000, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    high = Moments(1_000_000, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
    p = 0.25
    merged = low.merge(high)
    assert merged.std == pytest.approx(math.sqrt(p * (1 - p)), rel=1e-14)
    assert merged.skew == pytest.approx((1 - 2 * p) / math.sqrt(p * (1 - p)), rel=1e-13)
    assert merged.kurtosis == pytest.approx((1 - 6 * p * (1 - p)) / (p * (1 - p)), rel=1e-12)


def test_numbers_beyond_a_double_are_undefined_not_infinite() -> None:
    """Values near the limit overflow their fourth moment: null, not inf."""
    merged = measured([1e200]).merge(measured([-1e200]))
    assert merged.kurtosis is None
    assert merged.hi == 1e200
