"""A curve stays small and keeps its extremes; several logs make one curve."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.runs.metrics_curves import MOST, Curve, joined
from forkmon.stats.metric_names import canonical, usual

VALUES = st.floats(-1e9, 1e9)


@given(st.dictionaries(st.integers(0, 10**6), VALUES, max_size=300))
def test_a_short_log_is_kept_whole(points: dict[int, float]) -> None:
    """Up to the limit nothing is lost, whatever the order in which points came."""
    curve = Curve()
    for step, value in points.items():
        curve.add(step, value)
    assert curve.points() == sorted(points.items())


@pytest.mark.parametrize("many", [MOST, MOST + 1, 5_000, 100_003])
def test_a_long_log_keeps_its_extremes_its_end_and_an_even_density(many: int) -> None:
    """A single spike anywhere survives; no stretch is more than twice as dense as another."""
    curve = Curve()
    for step in range(many):
        curve.add(step, 1000.0 if step == many // 3 else -5.0 if step == 7 else (step * 37) % 11)
    points = curve.points()
    assert len(points) <= 2 * MOST
    assert (many // 3, 1000.0) in points
    assert (7, -5.0) in points
    assert points[-1][0] == many - 1
    quarters = [sum(q * many // 4 <= s < (q + 1) * many // 4 for s, _ in points) for q in range(4)]
    assert max(quarters) <= 2 * min(quarters) + 8


def test_what_is_no_point_is_left_out() -> None:
    """Not finite, before the start, beyond any store."""
    curve = Curve()
    for step, value in ((1, float("nan")), (2, float("inf")), (-1, 1.0), (10**18, 1.0)):
        curve.add(step, value)
    assert curve.points() == []


@given(st.lists(st.lists(st.integers(0, 200), unique=True, max_size=40).map(sorted), max_size=5))
def test_later_logs_win_from_their_first_step(parts: list[list[int]]) -> None:
    """Each step's value is of the last log that had begun by then; steps only rise."""
    curves = [[(step, float(at)) for step in part] for at, part in enumerate(parts)]
    whole = joined(curves)
    steps = [step for step, _ in whole]
    assert steps == sorted(set(steps))
    for step, value in whole:
        later = [at for at, part in enumerate(parts) if part and part[0] <= step]
        assert value == later[-1]


def test_joined_logs_stay_small_and_end_where_the_last_one_does() -> None:
    """Ten long logs after each other."""
    parts = [[(1000 * n + step, float(step)) for step in range(1000)] for n in range(10)]
    whole = joined(parts)
    assert len(whole) <= MOST + 1
    assert whole[-1] == (9999, 999.0)
    assert whole[0] == (0, 0.0)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("loss", "loss"), ("train/loss", "loss"), ("Loss/train", "loss"), ("train_loss", "loss"),
        ("train-loss", "loss"), ("lm loss", "loss"), ("train/CrossEntropyLoss", "loss"),
        ("loss_metrics/global_avg_loss", "loss"), ("total_loss", "loss"),
        ("lr", "learning_rate"), ("lr-AdamW", "learning_rate"), ("lr-AdamW/pg1", "learning_rate"),
        ("train/learning_rate", "learning_rate"), ("optim/learning_rate_group0", "learning_rate"),
        ("train/grad_norm", "grad_norm"), ("gradient_norm", "grad_norm"),
        ("grad_2.0_norm_total", "grad_norm"), ("l2_norm/grad/global", "grad_norm"),
        ("val_loss", "eval_loss"), ("eval/loss", "eval_loss"),
        ("lr-AdamW-momentum", "lr-AdamW-momentum"), ("accuracy", "accuracy"),
        ("train/box_loss", "train/box_loss"), ("", ""),
    ],
)  # fmt: skip
def test_the_usual_names_mean_the_same(tag: str, name: str) -> None:
    """Frameworks write loss, rate and gradient norm in their own ways; other names stay."""
    assert canonical(tag) == name


def test_of_several_losses_the_densest_counts() -> None:
    """A mean over the whole training is one point, and no curve."""
    found = usual({"train_loss": 1, "loss": 100, "eval_loss": 3, "train_loss_epoch": 9, "x": 500})
    assert found == {"loss": "loss", "eval_loss": "eval_loss"}
    assert usual({"train/loss": 5, "loss": 5})["loss"] == "loss"
