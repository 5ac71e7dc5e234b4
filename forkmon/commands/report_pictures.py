"""The pictures of a report: overview, forks, histograms and curves of a stored run, as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forkmon.draw.curves import Curve, curves
from forkmon.draw.fork import Event, Slice, fork
from forkmon.draw.glyphs import UNICODE
from forkmon.draw.heat import Heat, HeatRow, heat
from forkmon.draw.histogram import Legend, histogram
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import step as step_words
from forkmon.stats.alert import Alert, Severity
from forkmon.stats.metric_names import usual
from forkmon.stats.names import split_role, tree_key
from forkmon.store.reader import Reader
from forkmon.store.values import TensorEntry, Timeline
from forkmon.text import safe

WIDTH = 110
FORK_HEIGHT = 20
HISTOGRAM_HEIGHT = 14
CURVE_HEIGHT = 12
MOST_FORKS = 8
MOST_ROWS = 400
"""Tensors of an overview: beyond that a page is no overview."""

MOST_STEPS = 200

_INKS = {Severity.INFO: Ink.INFO, Severity.WARN: Ink.WARN, Severity.ERROR: Ink.ERROR}


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing and what it shows."""

    title: str
    lines: list[Line]


def heading(title: str) -> Line:
    """Return a title as a line of a drawing."""
    return (Span(title, Ink.TITLE),)


def overview(reader: Reader, statistic: str = "std") -> Picture | None:
    """Return the whole model over steps; None without a checkpoint."""
    timeline = _thinned(reader.timeline())
    if not timeline:
        return None
    found = [e for e in reader.tensors(timeline[-1].id) if e.kind == "tensor"]
    entries = sorted(found, key=lambda e: (e.role, *map(tree_key, split_role(e.name))))[:MOST_ROWS]
    values = reader.sparks([e.id for e in entries], statistic, [row.id for row in timeline])
    rows = [
        HeatRow(safe(split_role(e.name)[1], 20), values[e.id], safe(_role(e), 80)) for e in entries
    ]
    left_out = len(found) - len(entries)
    more = f"; {left_out:,} more are left out" if left_out else ""
    shown = Heat(rows, [row.step for row in timeline], -1, len(timeline) - 1)
    lines = heat(shown, width=WIDTH, height=len(rows) + 2, glyphs=UNICODE, by_group=True)
    return Picture(
        f"{statistic} of {len(rows):,} tensors over {len(timeline):,} steps{more}", lines
    )


def forks(reader: Reader, alerts: Sequence[Alert]) -> list[Picture]:
    """Return the fork diagrams of the tensors that alerts name, then of those that changed most."""
    timeline = _thinned(reader.timeline())
    if not timeline:
        return []
    return [_fork(reader, entry, timeline, alerts) for entry in _worth_it(reader, timeline, alerts)]


def histograms(reader: Reader, alerts: Sequence[Alert]) -> list[Picture]:
    """Return newest against first of the same tensors."""
    timeline = list(reader.timeline())
    if not timeline:
        return []
    oldest, newest = timeline[0], timeline[-1]
    pictures: list[Picture] = []
    for entry in _worth_it(reader, tuple(timeline), alerts):
        now, first = (reader.reduced(entry.id, row.id) for row in (newest, oldest))
        if now is None:
            continue
        drawn = histogram(
            now,
            baseline=first if newest is not oldest else None,
            width=WIDTH,
            height=HISTOGRAM_HEIGHT,
            legend=Legend(f"step {step_words(newest.step)}", f"step {step_words(oldest.step)}"),
        )
        pictures.append(Picture(safe(entry.name), drawn))
    return pictures


def logged(reader: Reader) -> list[Picture]:
    """Return loss, learning rate and gradient norm, where the trainer logged them."""
    metrics = {name: points for name, points in reader.metrics().items() if len(points) > 1}
    named = usual({name: len(points) for name, points in metrics.items()})
    pictures: list[Picture] = []
    for label, name in named.items():
        xs, ys = zip(*metrics[name], strict=True)
        drawn = curves(
            [Curve(safe(name, 40), xs, ys, Ink.ACCENT)],
            width=WIDTH,
            height=CURVE_HEIGHT,
            log_x=True,
        )
        pictures.append(Picture(label, drawn))
    return pictures


def _worth_it(reader: Reader, timeline: Timeline, alerts: Sequence[Alert]) -> list[TensorEntry]:
    entries = {e.name: e for e in reader.tensors(timeline[-1].id) if e.kind == "tensor"}
    named = [alert.tensor for alert in sorted(alerts, key=lambda a: (-a.severity, -a.onset))]
    first, last = (
        reader.column(row.id, "std", kind="tensor") for row in (timeline[0], timeline[-1])
    )
    moved = sorted(entries.values(), key=lambda e: -_change(first.get(e.id), last.get(e.id)))
    chosen = dict.fromkeys(name for name in named if name is not None and name in entries)
    chosen |= dict.fromkeys(entry.name for entry in moved)
    return [entries[name] for name in list(chosen)[:MOST_FORKS]]


def _change(before: float | None, after: float | None) -> float:
    if before is None or after is None or before <= 0:
        return 0.0
    return abs(after / before - 1)


def _fork(
    reader: Reader, entry: TensorEntry, timeline: Timeline, alerts: Sequence[Alert]
) -> Picture:
    reduced = [(row.step, reader.reduced(entry.id, row.id)) for row in timeline]
    slices = [Slice(at, item) for at, item in reduced if item is not None]
    own = {(a.onset, a.kind): a for a in alerts if a.tensor == entry.name}
    events = [
        Event(
            a.onset, f"{a.kind} {a.onset:,}", UNICODE.severity(a.severity.word), _INKS[a.severity]
        )
        for a in sorted(own.values(), key=lambda a: a.onset)
    ]
    return Picture(safe(entry.name), fork(slices, width=WIDTH, height=FORK_HEIGHT, events=events))


def _role(entry: TensorEntry) -> str:
    role = split_role(entry.name)[0]
    return role if entry.role == "model" else f"{entry.role}: {role}"


def _thinned(timeline: Timeline) -> Timeline:
    if len(timeline) <= MOST_STEPS:
        return timeline
    last = len(timeline) - 1
    picked = sorted({round(i * last / (MOST_STEPS - 1)) for i in range(MOST_STEPS)})
    return tuple(timeline[i] for i in picked)
