"""Laws of all alerts: they hang on the past alone, not on arrival, nor on units."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from forkmon.detect import every
from forkmon.detect.settings import PRESETS, from_mapping
from forkmon.detect.unreadable import Failure
from forkmon.stats.alert import Alert
from forkmon.stats.series import Series

Cut = Callable[[Series, int], Series]
History = Callable[[int], list[Series]]

SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
def test_more_checkpoints_change_no_past_decision(
    seed: int, troubled: History, shorten: Cut
) -> None:
    """The alerts of every prefix are those of the whole run that were detected in it."""
    run = troubled(seed)
    whole = every.all_alerts(run, ())
    assert len({alert.kind for alert in whole}) >= 8, "the run shows little"
    for count in range(1, 61):
        newest = run[0].steps[count - 1]
        known = every.all_alerts([shorten(one, count) for one in run], ())
        assert set(map(repr, known)) == {repr(a) for a in whole if a.step <= newest}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_arrival_never_matters(seed: int, troubled: History) -> None:
    """Columns in any order, tensors in any order: the same alerts."""
    rng = np.random.default_rng(seed)
    run = troubled(seed)
    order = rng.permutation(60).tolist()
    shuffled = [_reordered(one, order) for one in run]
    rng.shuffle(shuffled)
    assert every.all_alerts(shuffled, ()) == every.all_alerts(run, ())


def _reordered(one: Series, order: list[int]) -> Series:
    return replace(
        one,
        steps=tuple(one.steps[i] for i in order),
        digests=tuple(one.digests[i] for i in order),
        channels=tuple(one.channels[i] for i in order),
        values={name: tuple(column[i] for i in order) for name, column in one.values.items()},
        modality={v: tuple(column[i] for i in order) for v, column in one.modality.items()},
    )


@pytest.mark.parametrize("factor", [1e-6, 1024.0])
def test_units_do_not_matter(factor: float, troubled: History) -> None:
    """Weights measured in other units raise the same alerts at the same steps."""
    run = troubled(0)
    scaled = {"l2", "std", "update", "return_jump", "q0.05", "q0.25", "q0.5", "q0.75", "q0.95"}
    other = [
        replace(one, values={
            name: tuple(None if v is None else v * factor for v in column)
            if name in scaled else column
            for name, column in one.values.items()
        })
        for one in run
    ]  # fmt: skip
    assert [_core(a) for a in every.all_alerts(other, ())] == [
        _core(a) for a in every.all_alerts(run, ())
    ]


def _core(alert: Alert) -> tuple[str, str | None, int, int]:
    return (alert.kind, alert.tensor, alert.onset, alert.step)


def test_batches_make_no_difference(troubled: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Series are streamed in batches; their size shows nowhere."""
    run = troubled(1)
    whole = every.all_alerts(run, ())
    monkeypatch.setattr("forkmon.detect.panel.BATCH", 5)
    assert every.all_alerts(iter(run), ()) == whole


def test_alerts_after_a_pending_step_are_provisional(troubled: History) -> None:
    """Older alerts stand, newer ones may change; failures are facts."""
    failure = Failure(0, 5900, "step5900", "torn")
    found = every.all_alerts(troubled(0), [failure], pending=[(0, 4450), (0, 4000)])
    assert {a.step >= 4000 for a in found} == {True, False}
    for alert in found:
        open_to_change = alert.kind != "UNREADABLE" and alert.step >= 4000
        assert bool(alert.evidence.get(every.PROVISIONAL)) == open_to_change


def test_every_alert_carries_its_evidence(troubled: History) -> None:
    """Statistic, value, threshold, window, sample size, expected false alarms; all printable."""
    found = every.all_alerts(troubled(2), ())
    for alert in found:
        assert alert.kind in every.KINDS
        assert alert.onset <= alert.step
        assert {"statistic", "value", "threshold", "window", "n", "expected_false_alarms"} <= set(
            alert.evidence
        )
        assert alert.message.isprintable()
        for value in alert.evidence.values():
            assert not isinstance(value, np.generic)
            assert not isinstance(value, float) or np.isfinite(value)


def test_kinds_and_names_can_be_muted(troubled: History) -> None:
    """Off by kind, muted by a pattern of kind and name; the others stay as they are."""
    run = troubled(0)
    everything = every.all_alerts(run, ())
    settings = from_mapping({"off": ["SPLIT"], "mute": [r"^REGIME h\.3\."]})
    left = every.all_alerts(run, (), settings)
    gone = re.compile(r"SPLIT |REGIME h\.3\.").match
    assert {alert.kind for alert in everything} > {alert.kind for alert in left}
    assert [a for a in everything if not gone(f"{a.kind} {a.tensor}")] == list(left)


@pytest.mark.parametrize("seed", SEEDS)
def test_presets_tell_more_and_more(seed: int, troubled: History) -> None:
    """Quiet tells fewest kinds of tensors, paranoid most."""
    run = troubled(seed)
    told = {
        name: len({(a.kind, a.tensor) for a in every.all_alerts(run, (), settings)})
        for name, settings in PRESETS.items()
    }
    assert told["quiet"] < told["default"] <= told["paranoid"]
