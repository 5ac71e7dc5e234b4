"""The verdict on a run: which facts make which word, and the three reasons."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from forkmon.detect.crowd import Gathering
from forkmon.detect.motion import Motion, motion
from forkmon.detect.panel import panels
from forkmon.detect.verdict import SETTLED, judge
from forkmon.stats.alert import Alert, Severity
from forkmon.stats.series import Series

STEPS = tuple(range(0, 2000, 100))
NONE = (None,) * len(STEPS)
MOVING = Motion(STEPS, (0.5,) * len(STEPS), (0.6,) * len(STEPS))


def alert(kind: str, step: int = 1900, tensor: str | None = "w") -> Alert:
    """Return a warning."""
    return Alert(kind, Severity.WARN, tensor, step, step, "")


def test_words() -> None:
    """One word from each kind of fact."""
    assert judge((), 0, ()).state == "unknown"
    assert judge((100,), 0, ()).state == "unknown"
    assert judge((), 0, [alert("UNREADABLE")]).state == "corrupted"
    assert judge(STEPS, 0, (), MOVING, 10) == judge(STEPS, 0, ())
    assert judge(STEPS, 0, ()).reasons == ("no alert",)
    assert judge(STEPS, 0, ()).state == "healthy"
    assert judge(STEPS, 3, (), MOVING, 10).state == "diverging"


def test_an_explosion_of_many_tensors_is_divergence() -> None:
    """A third of the tensors lately; one of many, or long ago, is not."""
    many = [alert("RUNAWAY", 1200, f"h.{i}") for i in range(4)]
    assert judge(STEPS, 0, many, MOVING, 10).state == "diverging"
    assert judge(STEPS, 0, many[:1], MOVING, 10).state == "healthy"
    old = [replace(a, step=100, onset=100) for a in many]
    assert judge(STEPS, 0, old, MOVING, 10).state == "healthy"


def test_foreign_weights_corrupt_a_run() -> None:
    """Other steps' weights are an error; a copy of the first step is a note."""
    foreign = replace(alert("PROVENANCE", tensor=None), severity=Severity.ERROR)
    assert judge(STEPS, 0, [foreign], MOVING, 10).state == "corrupted"
    assert judge(STEPS, 0, [alert("PROVENANCE", tensor=None)], MOVING, 10).state == "healthy"
    lost = [alert("UNREADABLE", tensor=None)] * 21
    assert judge(STEPS, 0, lost, MOVING, 10).state == "corrupted"
    assert judge(STEPS, 0, lost[:3], MOVING, 10).state == "healthy"


def test_courses() -> None:
    """Still is frozen; crawling or wandering without direction is converged."""
    still = Motion(STEPS, (*(0.5,) * 17, 0.0, 0.0, 0.0), NONE)
    assert judge(STEPS, 0, (), still, 10).state == "frozen"
    crawl = Motion(STEPS, (*(0.5,) * 10, *(0.005,) * 10), NONE)
    assert judge(STEPS, 0, (), crawl, 10).state == "converged"
    wander = Motion(STEPS, (0.5,) * 20, (*(0.6,) * 11, *(0.02,) * 8, None))
    found = judge(STEPS, 0, (), wander, 10)
    assert (found.state, found.reasons) == (
        "converged", (f"weights wander without direction since step {STEPS[-SETTLED - 1]:,}",),
    )  # fmt: skip


def test_three_reasons_the_gravest_first() -> None:
    """What makes the word comes first; then the most frequent alerts."""
    alerts = [alert("REGIME")] * 5 + [alert("SPLIT")] * 7 + [alert("SHAPE")] * 2
    found = judge(STEPS, 1, alerts, MOVING, 10)
    assert found.reasons == ("1 tensor with NaN or Inf", "7 SPLIT alerts", "5 REGIME alerts")


@pytest.mark.parametrize(("kind", "heading"), [("straight", 1.0), ("walk", 0.0), ("noise", -0.5)])
def test_motion_tells_ways_apart(kind: str, heading: float) -> None:
    """A straight way, a random walk and noise about a point, from distances alone."""
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(20, 40_000))
    paths = {
        "straight": np.cumsum(np.ones_like(steps), axis=0),
        "walk": np.cumsum(steps, axis=0),
        "noise": steps,
    }
    path = paths[kind]
    update = [float(np.linalg.norm(b - a)) for a, b in pairwise(path)]
    across = [float(np.linalg.norm(b - a)) for a, b in zip(path, path[2:], strict=False)]
    columns = {
        "l2": (100.0,) * 20, "n": (4e4,) * 20,
        "update": (None, *update), "return_jump": (None, *across, None),
    }  # fmt: skip
    gathering = Gathering()
    for panel in panels([Series("w", tuple(range(20)), columns)]):
        gathering.add(panel)
    found = motion(gathering.crowd())
    assert found.heading[0] is None
    assert found.heading[-1] is None
    for cosine in found.heading[1:-1]:
        assert cosine == pytest.approx(heading, abs=0.05)
