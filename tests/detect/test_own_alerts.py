"""What a tensor shows by itself: NaN, explosions, tails, zeros, dead rows, outlying channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from forkmon.detect import every
from forkmon.detect.settings import Settings, Stalled, from_mapping
from forkmon.detect.stalled import stalled
from forkmon.stats.alert import Alert, Severity
from forkmon.stats.channels import Channels
from forkmon.stats.series import Series

Told = Callable[..., Series]
Norms = Callable[..., Channels]
COUNT = 60


def of_kind(one: Series, kind: str, settings: Settings | None = None) -> list[Alert]:
    """Return the alerts of a kind, oldest first."""
    found = every.all_alerts([one], (), settings or Settings())
    return [a for a in found[::-1] if a.kind == kind]


def test_nan_is_told_at_once_and_once_a_time(told: Told) -> None:
    """Two spells of NaN are two alerts; a checkpoint without the tensor ends none."""
    nan = [0.0, 0.0, 5.0, None, 3.0, 0.0, 0.0, 1.0]
    n = [4096.0 if v is not None else None for v in nan]
    found = of_kind(told("w", n=n, nan=nan, inf=[0.0] * 8), "NONFINITE")
    assert [(a.onset, a.step, a.evidence["nan"]) for a in found] == [(200, 200, 5), (700, 700, 1)]
    assert found[0].message == "5 NaN of 4,096 elements"
    assert found[0].severity is Severity.ERROR


def test_an_optimizer_is_only_watched_for_nan(told: Told) -> None:
    """Second moments jump as they like; NaN in them is NaN."""
    l2 = [1.0] * 40 + [1e6] * 20
    nan = [0.0] * 59 + [1.0]
    one = told("exp_avg_sq.w", COUNT, l2=l2, nan=nan, role="optimizer")
    assert {a.kind for a in every.all_alerts([one], ())} == {"NONFINITE"}


def test_an_explosion_is_told_at_its_first_checkpoint(told: Told) -> None:
    """RMS grows by the seventh power of the step; growth from zero is no explosion."""
    exploding = told("w", steps=(0, 100, 200, 300), l2=(1.0, 1.0, 64.0, 2000.0))
    (alert,) = of_kind(exploding, "RUNAWAY")
    assert (alert.onset, alert.step) == (200, 200)
    going_on = told("w", steps=range(1000, 1020), l2=[4.0 ** (2 * t) for t in range(20)])
    assert [a.step for a in of_kind(going_on, "RUNAWAY")] == [1001, 1010, 1019]
    from_zero = told("b", steps=(0, 1, 2, 4, 8), l2=(0.0, 1.0, 3.0, 10.0, 36.0))
    assert not of_kind(from_zero, "RUNAWAY")


def test_a_few_wild_elements_are_no_regime(told: Told) -> None:
    """RMS jumps by a half: with the quantiles it is a regime, without them it is the tails."""
    jump = [64.0] * 45 + [96.0] * 15
    levels = {0.05: -1.64, 0.25: -0.67, 0.5: 0.0, 0.75: 0.67, 0.95: 1.64}
    bulk = {f"q{q}": [z * norm / 64 for norm in jump] for q, z in levels.items()}
    still = {f"q{q}": [z] * COUNT for q, z in levels.items()}
    assert [a.step for a in of_kind(told("w", l2=jump, **bulk), "REGIME")] == [4500]
    assert not of_kind(told("w", l2=jump, **still), "REGIME")


def test_tails_that_grow_are_told(told: Told) -> None:
    """Excess kurtosis from 0 to 3 at one checkpoint; a change of 0.3 is passed over."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.03, COUNT)
    late = np.arange(COUNT) >= 45
    (alert,) = of_kind(told("w", kurtosis=(noise + 3 * late).tolist()), "SHAPE")
    assert (alert.onset, alert.step) == (4500, 4500)
    assert "heavier" in alert.message
    assert not of_kind(told("w", kurtosis=(noise + 0.3 * late).tolist()), "SHAPE")


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_drift_does_not_take_rounding_for_form(dtype: str, told: Told) -> None:
    """Quantiles that step on the grid of bf16 say nothing; in f32 the same would."""
    rng = np.random.default_rng(1)
    columns: dict[str, list[float]] = {}
    for q, z in ((0.05, -1.64), (0.25, -0.67), (0.5, 0.0), (0.75, 0.67), (0.95, 1.64)):
        values = 1 + 0.03 * z + rng.normal(0, 1e-5, COUNT)
        values[45:] += 2.0**-7 * (q == 0.95)
        columns[f"q{q}"] = values.tolist()
    from dataclasses import replace

    one = replace(told("g", COUNT, **columns), dtype=dtype)
    assert bool(of_kind(one, "DRIFT")) == (dtype == "f32")


def test_rank_is_looked_for_on_demand(told: Told) -> None:
    """Off by default; with the column and the wish, a fall of the stable rank is told."""
    rng = np.random.default_rng(2)
    ranks = 40 * np.exp(rng.normal(0, 0.003, COUNT)) * np.where(np.arange(COUNT) < 45, 1, 0.5)
    one = told("w", COUNT, stable_rank=ranks.tolist())
    assert not of_kind(one, "RANK")
    wanted = Settings(off=frozenset())
    assert [a.onset for a in of_kind(one, "RANK", wanted)] == [4500]
    assert not of_kind(told("w", COUNT), "RANK", wanted)


def test_zeros_that_come_or_go_are_told(told: Told) -> None:
    """A step of 2 % in the share of zeros is an event, a start from all zeros is none."""
    zeros = [10.0] * 30 + [100.0] * 30
    (alert,) = of_kind(told("w", zeros=zeros), "SPARSITY")
    assert (alert.onset, alert.step) == (3000, 3100)
    assert not of_kind(told("b", zeros=[4096.0] * 5 + [0.0] * 55), "SPARSITY")
    assert not of_kind(told("w", zeros=[0.0, 4096.0] * 3 + [40.0] * 54), "SPARSITY")


def test_rows_that_die_are_told_each_time_more_do(told: Told, row_norms: Norms) -> None:
    """1 % more dead rows for two checkpoints; counted from the last that was told."""
    dead = [0] * 10 + [1] + [0] * 4 + [2] * 10 + [5] * 10
    one = told("w", len(dead), channels=[row_norms(dead=d) for d in dead])
    found = of_kind(one, "DEAD_ROWS")
    assert [(a.onset, a.step) for a in found] == [(1500, 1600), (2500, 2600)]


def test_a_dead_start_is_how_the_model_begins(told: Told, row_norms: Norms) -> None:
    """Rows of padding are dead from the first checkpoint."""
    one = told("w", 20, channels=[row_norms(dead=30)] * 20)
    assert not of_kind(one, "DEAD_ROWS")


def test_each_outlying_channel_is_told_once(told: Told, row_norms: Norms) -> None:
    """A new index that stays; not one of the start, one odd checkpoint, or a small one."""
    top = [{7: 9.0}] * 10 + [{7: 9.0, 3: 5.0}] + [{7: 9.0}] * 5
    top += [{7: 9.0, 3: 5.0}] * 5 + [{7: 9.0, 3: 5.0, 4: 2.0}] * 5 + [{3: 5.0, 12: 4.0}] * 5
    one = told("w", len(top), channels=[row_norms(top=t) for t in top])
    found = of_kind(one, "OUTLIER_CH")
    assert [(a.onset, a.step, a.evidence["channel"]) for a in found] == [
        (1600, 1700, 3), (2600, 2700, 12),
    ]  # fmt: skip


def test_a_run_that_goes_quiet_has_stalled() -> None:
    """Four usual intervals without a checkpoint; three, or a directory copied at once, are not."""
    landed = [(100 * i, 600.0 * i) for i in range(10)]
    assert stalled(landed, 5400 + 2300.0, Stalled()) is None
    alert = stalled(landed, 5400 + 2500.0, Stalled())
    assert alert is not None
    assert (alert.kind, alert.onset, alert.evidence["usual_seconds"]) == ("STALLED", 900, 600.0)
    assert stalled(landed[::-1], 5400 + 2500.0, Stalled()) == alert
    assert stalled([(i, 5.0) for i in range(10)], 9999.0, Stalled()) is None
    assert stalled(landed[:3], 1e6, Stalled()) is None


def test_settings_reach_the_detectors(told: Told) -> None:
    """A limit from a table of the configuration decides."""
    one = told("w", zeros=[10.0] * 30 + [100.0] * 30)
    assert not of_kind(one, "SPARSITY", from_mapping({"sparse": {"change": 0.1}}))
