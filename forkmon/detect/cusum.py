"""Two-sided CUSUM of what a curve does beyond its own trend: when it left its path.

Levels of weight statistics drift smoothly, so what is summed are innovations: the increment since
the checkpoint before, minus what the recent rate of change foretold for this span of the clock,
in robust standard deviations (Page 1954 for the sums). The past that foretells is renewed every
few checkpoints and ends some before the present, so that a slow jump does not explain itself away.
Everything at place t depends on places up to t alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from forkmon.detect.robust import Array, deviation, median, trend
from forkmon.detect.rule import Rule

UNSURE = 0.25
"""Variance of the foretold increment over that of an increment, at the usual spacing.

About (pi / 2)(1 + 12 (bend * reach / window)^2) / window for medians: the error of the rate, which
counts for as many times more as the next checkpoint is further away than usual.
"""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A curve that left its path."""

    row: int
    before: int
    """Place of the last level on the old path."""
    onset: int
    """Place of the first innovation of the sum."""
    at: int
    """Place where the sum crossed the limit."""
    sum: float
    """In standard deviations, signed."""
    shift: float
    """Change beyond the trend since the onset, in the curve's own unit."""
    scale: float
    """Standard deviation of an innovation."""


def crossings(levels: Array, times: Array, rule: Rule) -> Iterator[Crossing]:
    """Yield the crossings of each curve; `levels` (curves, places), NaN where missing.

    Curves that miss the same places are taken together; a missing place is no checkpoint of theirs.
    """
    valid = np.isfinite(levels)
    groups: dict[bytes, list[int]] = {}
    for row, mask in enumerate(valid):
        groups.setdefault(mask.tobytes(), []).append(row)
    for rows in groups.values():
        places = np.flatnonzero(valid[rows[0]])
        if len(places) <= rule.warmup + 1:
            continue
        off, scale = innovations(levels[np.ix_(np.array(rows), places)], times[places], rule)
        for c in _sums(off, scale, rule):
            before, onset, at = (int(places[i]) for i in (c.before, c.onset, c.at))
            yield Crossing(rows[c.row], before, onset, at, c.sum, c.shift, c.scale)


def innovations(levels: Array, times: Array, rule: Rule) -> tuple[Array, Array]:
    """Return innovations and their standard deviations, both (curves, places); 0 in the warm-up.

    Place 0 has none. Time that stands still or runs back (a branch) makes no innovation.
    """
    spans = np.diff(times)
    forward = spans > 0
    spans = np.where(forward, spans, 1.0)
    rates = np.where(forward, np.diff(levels, axis=1), 0.0) / spans
    off, scale = np.zeros_like(levels), np.full_like(levels, rule.floor)
    for first in range(rule.warmup, rates.shape[1], rule.renewal):
        end = first - rule.lag
        past = slice(max(0, end - rule.window), end)
        now = slice(first, min(first + rule.renewal, rates.shape[1]))
        _foretell(rates, spans, past, now, (off, scale), rule)
    off[:, 1:][:, ~forward] = 0.0
    return off, scale


def _foretell(
    rates: Array, spans: Array, past: slice, now: slice, out: tuple[Array, Array], rule: Rule
) -> None:
    """Fill the innovations of `now` (increments) from the rates of `past`.

    Foretold is the median rate and most of the trend through it: the median alone lags behind a
    bend, the whole trend overshoots one. Noise is taken to stay as it is where checkpoints get
    closer; where they get rarer it grows as in a random walk, and so does what is not known of the
    rate itself.
    """
    seen, slope = rates[:, past], trend(rates[:, past])
    middle = median(seen)
    centre = (past.start + past.stop - 1) / 2
    bend = (np.arange(past.start, past.stop, dtype=np.float64) - centre) * rule.bend
    noise = np.abs(seen - middle[:, None] - slope[:, None] * bend) * spans[past]
    wide = np.maximum(deviation(noise), rule.floor)
    usual = float(np.median(spans[past]))
    ahead = (np.arange(now.start, now.stop, dtype=np.float64) - centre) * rule.bend
    foretold = middle[:, None] + slope[:, None] * ahead
    times = np.maximum(spans[now] / usual, 1.0)
    rarer = np.sqrt(times + UNSURE * (times * times - 1.0))
    places = slice(now.start + 1, now.stop + 1)
    out[0][:, places] = (rates[:, now] - foretold) * spans[now]
    out[1][:, places] = wide[:, None] * rarer


def _sums(off: Array, scale: Array, rule: Rule) -> Iterator[Crossing]:
    """Yield the crossings of both one-sided sums, by place."""
    count = off.shape[0]
    sums, shifts = np.zeros((2, count)), np.zeros((2, count))
    onsets, quiet = np.zeros((2, count), np.int64), np.zeros(count, np.int64)
    signs = np.array([[1.0], [-1.0]])
    for place in range(rule.warmup + 1, off.shape[1]):
        step = off[:, place]
        fresh = sums <= 0
        onsets[fresh] = place
        shifts = np.where(fresh, 0.0, shifts) + step
        sums = np.maximum(sums + signs * step / scale[:, place] - rule.slack, 0.0)
        sums[:, quiet > place] = 0.0
        for side, row in np.argwhere((sums > rule.limit) & (signs * shifts >= rule.effect)):
            if quiet[row] > place:
                continue
            total, moved = float(signs[side, 0] * sums[side, row]), float(shifts[side, row])
            onset, noise = int(onsets[side, row]), float(scale[row, place])
            yield Crossing(int(row), onset - 1, onset, place, total, moved, noise)
            quiet[row] = place + 1 + rule.refractory
            sums[:, row] = 0.0
