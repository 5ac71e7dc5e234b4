"""DEAD_ROWS: rows or columns of a matrix die together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter

from forkmon.detect.evidence import evidence
from forkmon.detect.panel import axis_of
from forkmon.detect.settings import Channel
from forkmon.stats.alert import Alert, Severity
from forkmon.stats.channels import DEAD, Axis
from forkmon.stats.series import Series

KIND = "DEAD_ROWS"

_FLAT = 0.999
"""Share of dead channels from which on a matrix is empty, not ill."""


_IN_ROWS, _IN_COLUMNS = attrgetter("rows.dead"), attrgetter("columns.dead")


def dead_rows(series: Series, rule: Channel) -> Iterator[Alert]:
    """Yield an alert where the share of dead rows or columns has grown and stays so.

    Growth counts from the lowest share so far, after an alert from the share that it told.
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
    least: float | None = None
    since: list[int] = []
    for place, axis in enumerate(column):
        if axis is None or not axis.count or axis.dead >= _FLAT * axis.count:
            continue
        share = axis.dead / axis.count
        if least is None or share < least + rule.dead:
            least = share if least is None else min(least, share)
            since = []
            continue
        since.append(place)
        if len(since) == rule.consecutive:
            at = (places[since[0]][1], *places[place])
            yield _alert(series.tensor, word, axis, (least, share), at, rule)
            least, since = share, []


def _alert(
    tensor: str,
    word: str,
    axis: Axis,
    shares: tuple[float, float],
    at: tuple[int, int, int],
    rule: Channel,
) -> Alert:
    onset, segment, step = at
    before, now = shares
    return Alert(
        kind=KIND,
        severity=Severity.WARN,
        tensor=tensor,
        onset=onset,
        step=step,
        message=f"{axis.dead:,} of {axis.count:,} {word} are dead: "
        f"norm below {DEAD:g} of the median",
        evidence=evidence(
            f"share of dead {word}",
            now,
            before + rule.dead,
            window=rule.consecutive,
            n=axis.count,
            expected=0.0,
            before=before,
        ),
        segment=segment,
    )
