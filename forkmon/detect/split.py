"""SPLIT, MERGE, INIT_SPLIT: one heap of weights becomes several, and the other way round.

What counts as a peak is the measurement's affair (`stats`); here its answers become a state that
one odd checkpoint cannot turn: 3 of the newest 4 must agree, leaving asks for more than staying
(`Modality.held` against `modes`), and the elements must stay on their sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Literal

from forkmon.detect.evidence import Facts, counted, evidence
from forkmon.detect.fidelity import weakest
from forkmon.detect.order import exponent
from forkmon.detect.panel import axis_of
from forkmon.detect.settings import Fork
from forkmon.stats.alert import Alert, Severity
from forkmon.stats.modality import Modality, Peak
from forkmon.stats.series import Series

SPLIT, MERGE, INIT_SPLIT = "SPLIT", "MERGE", "INIT_SPLIT"

VIEWS = ("elements", "rows", "columns")
"""In the order in which they speak for a tensor."""

FALSE_ALARMS = 0.05
"""At most, in a healthy run of 300 tensors and 150 checkpoints (`tests/bench/evaluate.py`)."""

_OF = {"elements": "", "rows": " of the row norms", "columns": " of the column norms"}

_HELD = attrgetter("held")

Seen = tuple[int, Modality]
"""A place on the axis and what was measured there."""


@dataclass(slots=True)
class _Track:
    """One view of one tensor on its way through the checkpoints."""

    tensor: str
    view: str
    axis: Sequence[tuple[int, int]]
    rule: Fork
    state: Literal["unknown", "young", "one", "many"] = "unknown"
    born: bool = False
    """Whether the present fork is the one of the first steps."""
    seen: list[Seen] = field(default_factory=list[Seen])
    entered: int = 0
    """How much had been seen when the present fork was told."""


def forks(series: Series, rule: Fork) -> Iterator[Alert]:
    """Yield the forks and merges of a tensor, one alert a kind and onset whatever the view."""
    found = [
        alert
        for view in VIEWS
        for alert in _view(series, view, series.modality.get(view, ()), rule)
    ]
    told: set[tuple[str, int, int]] = set()
    for alert in sorted(found, key=lambda a: (a.segment, a.step)):  # stable: views in order
        key = (alert.kind, alert.segment, alert.onset)
        if key not in told:
            told.add(key)
            yield alert


def is_split(found: Modality, rule: Fork) -> bool:
    """Return whether one measurement shows several peaks."""
    if found.modes < 2:
        return False
    return found.depth >= rule.depth and (found.z >= rule.z or found.p <= rule.p)


def _view(
    series: Series, view: str, column: Sequence[Modality | None], rule: Fork
) -> Iterator[Alert]:
    if max(map(_HELD, filter(None, column)), default=0) < 2:
        return
    track = _Track(series.tensor, view, axis_of(series), rule)
    for place, found in enumerate(column):
        if found is None:
            continue
        track.seen.append((place, found))
        event = _advance(track)
        if event is not None:
            yield _alert(track, *event)


def _advance(track: _Track) -> tuple[str, list[Seen]] | None:
    """Take the newest measurement into account; return what it makes happen, and its witnesses."""
    newest, rule = track.seen[-1][1], track.rule
    recent = track.seen[-rule.window :]
    if track.state == "unknown" and len(track.seen) == 1 and newest.state != "peaks":
        track.state = "young"
    if track.state == "young" and is_split(newest, rule):
        _enter(track, born=True)
        return INIT_SPLIT, [track.seen[-1]]
    several = [one for one in recent if is_split(one[1], rule)]
    if track.state == "many":
        since = track.seen[max(track.entered, len(track.seen) - rule.window) :]
        closed = [one for one in since if _left(track, one[1])]
        if len(closed) < rule.enough:
            return None
        track.state = "one"
        return MERGE, closed
    if len(several) >= rule.enough:
        return _maybe_split(track, several)
    settled = [one for one in recent if one[1].held < 2 and one[1].state == "peaks"]
    if len(settled) >= rule.enough:
        track.state = "one"
    return None


def _maybe_split(track: _Track, several: list[Seen]) -> tuple[str, list[Seen]] | None:
    """Return a SPLIT of what was one before and remembers its sides; what began so is no event."""
    if track.state != "one":
        _enter(track, born=False)
        return None
    kept = weakest([found for _, found in several])
    if kept is not None and not kept.enough(track.rule):
        return None
    _enter(track, born=False)
    return SPLIT, several


def _enter(track: _Track, *, born: bool) -> None:
    track.state, track.born, track.entered = "many", born, len(track.seen)


def _left(track: _Track, found: Modality) -> bool:
    """Return whether a measurement shows one peak, by the looser gates for what has forked.

    The fork of the first steps is expected to close, and is given no benefit of the doubt.
    """
    return (found.modes if track.born else found.held) < 2


def _alert(track: _Track, kind: str, window: list[Seen]) -> Alert:
    segment, step = track.axis[track.seen[-1][0]]
    return Alert(
        kind=kind,
        severity=_severity(kind, track),
        tensor=track.tensor,
        onset=track.axis[window[0][0]][1],
        step=step,
        message=_message(kind, window[-1][1], track),
        evidence=_facts(track, kind, window),
        segment=segment,
    )


def _severity(kind: str, track: _Track) -> Severity:
    return Severity.INFO if kind == INIT_SPLIT or track.born else Severity.WARN


def _message(kind: str, now: Modality, track: _Track) -> str:
    of = _OF[track.view]
    if kind == MERGE:
        what = "the fork of the first steps" if track.born else "the fork"
        return f"one peak again{of}: {what} has closed"
    where = " and ".join(f"{p.position:.3g} ({p.mass:.0%})" for p in _largest(now))
    start = " as training starts" if kind == INIT_SPLIT else ""
    return f"{counted(max(now.modes, 2), 'peak')}{of}{start}: {where}".replace("%)", " %)")


def _largest(now: Modality) -> list[Peak]:
    two = sorted(now.peaks, key=lambda peak: -peak.mass)[:2]
    return sorted(two, key=lambda peak: peak.position)


def _facts(track: _Track, kind: str, window: list[Seen]) -> Facts:
    """Return the evidence: the clearest valley of the newest witness, and who stayed where."""
    now = window[-1][1]
    kept = weakest([found for _, found in window])
    before = [place for place, _ in track.seen if place < window[0][0]]
    grown = exponent(
        track.axis[before[-1]][1] if before else None,
        [(track.axis[place][1], found.separation) for place, found in window],
    )
    return evidence(
        "peaks",
        now.held if kind == MERGE else now.modes,
        1 if kind == MERGE else 2,
        window=1 if kind == INIT_SPLIT else track.rule.window,
        n=now.n,
        expected=0.0 if kind == INIT_SPLIT else FALSE_ALARMS,
        view=track.view,
        witnesses=len(window),
        depth=now.depth,
        z=now.z,
        dip=now.dip,
        p=now.p,
        separation=now.separation,
        agreement=None if kept is None else kept.agreement,
        balanced_agreement=None if kept is None else kept.balanced,
        beta=grown,
    )
