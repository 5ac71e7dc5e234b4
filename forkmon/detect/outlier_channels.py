"""OUTLIER_CH: a row or column of a matrix outgrows all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter

from forkmon.detect.evidence import evidence
from forkmon.detect.panel import axis_of
from forkmon.detect.settings import Channel
from forkmon.stats.alert import Alert, Severity
from forkmon.stats.channels import Axis
from forkmon.stats.row import QUANTILES
from forkmon.stats.series import Series

KIND = "OUTLIER_CH"

FALSE_ALARMS = 0.01
"""Expected in a healthy run of 300 tensors and 150 checkpoints."""

_MEDIAN = QUANTILES.index(0.5)

_NAMED = 4
"""Channels that a message names, at most."""


_IN_ROWS, _IN_COLUMNS = attrgetter("rows.outliers"), attrgetter("columns.outliers")


def outlier_channels(series: Series, rule: Channel) -> Iterator[Alert]:
    """Yield an alert where channels become outliers and stay so; each channel is told once.

    Those that were outliers at the first checkpoint are how the model begins.
    """
    if any(map(_IN_ROWS, filter(None, series.channels))):
        rows = [None if c is None else c.rows for c in series.channels]
        yield from _axis(series, "rows", rows, rule)
    if any(map(_IN_COLUMNS, filter(None, series.channels))):
        columns = [None if c is None else c.columns for c in series.channels]
        yield from _axis(series, "columns", columns, rule)


def _axis(
    series: Series, word: str, column: Sequence[Axis | None], rule: Channel
) -> Iterator[Alert]:
    places = axis_of(series)
    told: set[int] | None = None
    since: dict[int, list[int]] = {}
    for place, axis in enumerate(column):
        if axis is None:
            continue
        now = outliers(axis, rule)
        if told is None:
            told = set(now)
        since = {i: [*since.get(i, ()), place] for i in now if i not in told}
        lasting = [i for i, seen in since.items() if len(seen) >= rule.consecutive]
        if lasting:
            told.update(lasting)
            onset = places[min(since[i][0] for i in lasting)][1]
            yield _alert(series.tensor, word, axis, lasting, (onset, *places[place]), rule)


def outliers(axis: Axis, rule: Channel) -> dict[int, float]:
    """Return the norms, in medians, of the channels that stand out, by index; largest first."""
    median = axis.quantiles[_MEDIAN]
    if not axis.outliers or not median > 0:
        return {}
    times = {index: norm / median for index, norm in axis.top[: axis.outliers]}
    return {index: size for index, size in times.items() if size >= rule.times_median}


def _alert(
    tensor: str,
    word: str,
    axis: Axis,
    lasting: list[int],
    at: tuple[int, int, int],
    rule: Channel,
) -> Alert:
    onset, segment, step = at
    sizes = outliers(axis, rule)
    named = ", ".join(str(index) for index in lasting[:_NAMED])
    more = f" and {len(lasting) - _NAMED} more" if len(lasting) > _NAMED else ""
    largest = max(sizes[index] for index in lasting)
    noun = word if len(lasting) > 1 else word[:-1]
    return Alert(
        kind=KIND,
        severity=Severity.WARN,
        tensor=tensor,
        onset=onset,
        step=step,
        message=f"{noun} {named}{more}: norm up to {largest:.3g} times the median",
        evidence=evidence(
            f"norm of {noun} over the median",
            largest,
            rule.times_median,
            window=rule.consecutive,
            n=axis.count,
            expected=FALSE_ALARMS,
            channel=lasting[0],
            channels=len(lasting),
        ),
        segment=segment,
    )
