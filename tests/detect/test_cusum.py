"""CUSUM of innovations: planted jumps are found, smooth growth is not one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from forkmon.detect.cadence import clock
from forkmon.detect.cusum import Crossing, crossings
from forkmon.detect.rule import Rule

RULE = Rule()
COUNT = 120


def growth(rng: np.random.Generator, rows: int, noise: float = 0.002) -> NDArray[np.float64]:
    """Return curves that grow by a power of the step, with noise."""
    t = np.arange(COUNT)
    power = rng.uniform(0, 1, (rows, 1)) * np.log1p(t * rng.uniform(0.05, 2, (rows, 1)))
    return np.asarray(power + rng.normal(0, noise, (rows, COUNT)))


def found(levels: NDArray[np.float64], rule: Rule = RULE) -> list[Crossing]:
    """Return the crossings of curves with a checkpoint every hundred steps."""
    return list(crossings(levels, clock(range(0, 100 * COUNT, 100)), rule))


def test_growth_alone_crosses_nothing() -> None:
    """500 power laws with noise: no alarm."""
    assert not found(growth(np.random.default_rng(0), 500))


@pytest.mark.parametrize("size", [0.15, -0.15])
def test_a_jump_is_found_where_it_happens(size: float) -> None:
    """Onset and detection at the checkpoint of the jump, its size told to a few percent."""
    levels = growth(np.random.default_rng(1), 200)
    levels[:, 80:] += size
    crossed = found(levels)
    assert {c.row for c in crossed} == set(range(200))
    assert {(c.before, c.onset, c.at) for c in crossed} == {(79, 80, 80)}
    assert np.allclose([c.shift for c in crossed], size, atol=0.03)
    assert all(np.sign(c.sum) == np.sign(size) for c in crossed)


@given(st.integers(0, 2**31), st.integers(35, COUNT))
def test_the_past_alone_decides(seed: int, count: int) -> None:
    """Crossings of a prefix are those of the whole that happened in it."""
    rng = np.random.default_rng(seed)
    levels = growth(rng, 5, 0.01) + np.cumsum(rng.standard_t(2, (5, COUNT)) * 0.02, axis=1)
    levels[rng.random((5, COUNT)) < 0.05] = np.nan
    whole, prefix = found(levels), found(levels[:, :count])
    assert sorted(map(repr, prefix)) == sorted(repr(c) for c in whole if c.at < count)


def found_of(times: NDArray[np.float64], levels: NDArray[np.float64]) -> list[Crossing]:
    """Return the crossings on another clock."""
    return list(crossings(levels, times, RULE))


def test_a_curve_may_miss_checkpoints() -> None:
    """A hole is no checkpoint: the jump behind it is found, with its true size."""
    levels = growth(np.random.default_rng(2), 3)
    levels[:, 80:] += 0.3
    levels[1, 78:83] = np.nan
    levels[2, ::2] = np.nan
    at = {c.row: (c.before, c.at) for c in found(levels)}
    assert at[0] == (79, 80)
    assert at[1] == (77, 83)
    assert at[2] == (79, 81)


def test_rows_do_not_see_each_other() -> None:
    """A curve alone gives what it gives among others."""
    levels = growth(np.random.default_rng(3), 20, 0.01)
    levels[::2, 70:] += 0.4
    levels[::3, 5] = np.nan
    together = found(levels)
    alone = [replace(c, row=i) for i in range(20) for c in found(levels[i : i + 1])]
    assert sorted(map(repr, together)) == sorted(map(repr, alone))


def test_silence_follows_a_crossing() -> None:
    """A second jump within the refractory time is not told, one after it is."""
    levels = growth(np.random.default_rng(4), 1)
    levels[:, 60:] += 0.5
    levels[:, 64:] += 0.5
    levels[:, 90:] += 0.5
    assert [c.at for c in found(levels)] == [60, 90]


def test_a_change_of_spacing_is_no_event() -> None:
    """Ten times more, then ten times fewer steps between checkpoints: a power law stays one."""
    steps = np.cumsum(np.repeat([0, 100, 1000, 100], [1, 50, 35, 34]))
    rng = np.random.default_rng(5)
    levels = 0.5 * np.log1p(steps / rng.uniform(100, 5000, (300, 1)))
    levels += rng.normal(0, 0.002, levels.shape)
    assert not found_of(clock(steps.tolist()), levels)


def test_a_clock_that_stands_or_runs_back_makes_no_event() -> None:
    """A branch that begins at an earlier step is not compared across the seam."""
    steps = [*range(0, 8000, 100), *range(5000, 9000, 100)]
    levels = np.zeros((1, len(steps)))
    levels[0, 80:] = 5.0
    assert not found_of(clock(steps), levels)


def test_small_changes_are_not_worth_telling() -> None:
    """However clear, a change below the effect is passed over."""
    levels = np.zeros((1, COUNT))
    levels[0, 80:] = 0.045
    assert not found(levels)
    levels[0, 80:] = 0.055
    assert [c.at for c in found(levels)] == [80]
