"""PROVENANCE: a checkpoint holds the weights of another one.

Published runs have served one step's file under another step's name: a step that copies the one
before, final weights under early steps, a shard from elsewhere. Told by content alone, and before
anything else is believed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forkmon.detect.crowd import NO_DIGEST, Crowd, Digests
from forkmon.detect.evidence import Facts, evidence
from forkmon.detect.robust import Truth
from forkmon.detect.settings import Provenance
from forkmon.stats.alert import Alert, Severity

KIND = "PROVENANCE"

_WEIGHT = 0.1
"""Least share of the elements in the tensors that came back: a gain in bf16 may by chance."""

_ALL = 0.8
"""Share of the tensors that counts as all of them."""

_ROUNDING = 1e-6
"""Distances below this share of a tensor's norm are rounding in its sketch."""

Places = NDArray[np.int64]


def provenance(crowd: Crowd, rule: Provenance) -> Iterator[Alert]:
    """Yield copies of the step before, returns to an earlier step, and jumps out and back."""
    if not crowd.names:
        return
    known = (crowd.digests != NO_DIGEST) & (crowd.columns["std"] > 0)
    before = _before(known)
    same = before_equal(crowd.digests, before) & known
    yield from _copies(crowd, known, before, same)
    yield from _returns(crowd, known, before, same, rule)
    yield from _jumps(crowd, rule)


def _before(known: Truth) -> Places:
    """Return the last known place before each place, by row; -1 where there is none."""
    columns = np.broadcast_to(np.arange(known.shape[1], dtype=np.int64), known.shape)
    places: Places = np.where(known, columns, np.int64(-1))
    latest = np.maximum.accumulate(places, axis=1)
    return np.concatenate([np.full((len(known), 1), -1), latest[:, :-1]], axis=1)


def before_equal(digests: Digests, before: Places) -> Truth:
    """Return where a tensor is bit-equal to its last known self."""
    earlier = np.take_along_axis(digests, np.maximum(before, 0), axis=1)
    return np.asarray((before >= 0) & (earlier == digests))


def _copies(crowd: Crowd, known: Truth, before: Places, same: Truth) -> Iterator[Alert]:
    """Yield each step whose tensors all equal the step before, unless that was a copy too."""
    judged = (known & (before >= 0)).sum(axis=0)
    copied = (judged > 0) & (same.sum(axis=0) == judged)
    for place in np.flatnonzero(copied):
        if copied[place - 1]:
            continue
        earlier = int(before[:, place].max())
        message = f"all tensors are those of step {crowd.steps[earlier]:,}"
        facts = evidence(
            "tensors equal to the step before",
            int(judged[place]),
            int(judged[place]),
            window=2,
            n=int(judged[place]),
            expected=0.0,
            equals=crowd.steps[earlier],
        )
        yield _alert(crowd, int(place), int(place), Severity.WARN, message, facts)


def _returns(
    crowd: Crowd, known: Truth, before: Places, same: Truth, rule: Provenance
) -> Iterator[Alert]:
    """Yield each step at which tensors equal an earlier step, and were others in between."""
    earlier = _last_equal(crowd.digests, known)
    back = known & (earlier >= 0) & (before >= 0) & ~same
    count = np.nan_to_num(crowd.columns["n"])
    for place in np.flatnonzero(back.any(axis=0)):
        rows = np.flatnonzero(back[:, place])
        judged = int(known[:, place].sum())
        least = min(rule.tensors, max(1, (judged + 1) // 2))
        weight = count[rows, place].sum() / count[known[:, place], place].sum()
        if len(rows) < least or weight < _WEIGHT:
            continue
        steps, times = np.unique(earlier[rows, place], return_counts=True)
        source = crowd.steps[int(steps[times.argmax()])]
        message = f"{len(rows):,} of {judged:,} tensors are those of step {source:,}"
        facts = evidence(
            "tensors equal to an earlier step", len(rows), least, window=int(place) + 1,
            n=judged, expected=0.0, equals=source,
        )  # fmt: skip
        yield _alert(crowd, int(place), int(place), Severity.ERROR, message, facts)


def _last_equal(digests: Digests, known: Truth) -> Places:
    """Return the last earlier place with the same digest, by row and place; -1 where none."""
    order = np.argsort(digests, axis=1, kind="stable")  # equal ones stay in the order of time
    ordered = np.take_along_axis(digests, order, axis=1)
    equal = ordered[:, 1:] == ordered[:, :-1]
    found = np.full(digests.shape, -1, np.int64)
    rows, at = np.nonzero(equal)
    found[rows, order[rows, at + 1]] = order[rows, at]
    return np.where(known, found, -1)


def _jumps(crowd: Crowd, rule: Provenance) -> Iterator[Alert]:
    """Yield each step that lies far off the way from the step before it to the step after it."""
    if len(crowd.axis) < 3:
        return
    update, across = crowd.columns["update"], crowd.columns["return_jump"][:, 1:-1]
    floor = _ROUNDING * crowd.columns["l2"][:, 1:-1]
    out, home = update[:, 1:-1], update[:, 2:]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.minimum(out, home) / np.maximum(across, floor)
    judged = np.isfinite(ratio) & (out > 0)
    many = judged.sum(axis=0)
    far = (judged & (ratio >= rule.jump)).sum(axis=0)
    off = (judged & (ratio >= rule.jump_of_all)).sum(axis=0)
    least = np.minimum(rule.tensors, np.maximum(1, (many + 1) // 2))
    for i in np.flatnonzero(
        (many > 0) & ((far >= least) | (off >= np.maximum(_ALL * many, least)))
    ):
        middle = float(np.median(ratio[judged[:, i], i]))
        told = max(int(far[i]), int(off[i]))
        message = (
            f"{told:,} of {int(many[i]):,} tensors jump out and back: "
            f"steps {crowd.steps[i]:,} and {crowd.steps[i + 2]:,} are closer to each other"
        )
        facts = evidence(
            "way out and back over the way past", middle, rule.jump_of_all, window=3,
            n=int(many[i]), expected=0.0,
        )  # fmt: skip
        yield _alert(crowd, int(i) + 1, int(i) + 2, Severity.ERROR, message, facts)


def _alert(
    crowd: Crowd, onset: int, at: int, severity: Severity, message: str, facts: Facts
) -> Alert:
    segment, step = crowd.axis[at]
    return Alert(KIND, severity, None, crowd.steps[onset], step, message, facts, segment)
