"""One line for each of many runs: how far it is, how old, what is wrong; read from its store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.draw.cells import clip_middle, fit, pad
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import short, step
from forkmon.draw.sparkline import sparkline
from forkmon.errors import StoreError
from forkmon.text import safe
from forkmon.tui.alert_groups import grouped
from forkmon.tui.widgets.alerts import ordered
from forkmon.tui.widgets.header import STATES, newest_age
from forkmon.tui.widgets.words import SEVERITY_INK, badge, ends

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from forkmon.draw.glyphs import Glyphs
    from forkmon.stats.alert import Alert, Severity
    from forkmon.tui.source import Source

SPARK = 12
POINTS = 24
STATISTIC = "std"
WIDE = 100
"""From this many columns on, all columns are there."""

NAME, STEP, MANY, AGE, STATE = 30, 10, 6, 15, 11


@dataclass(frozen=True, slots=True)
class RunRow:
    """What the list says of one run."""

    path: Path
    name: str
    step: int | None = None
    checkpoints: int = 0
    mtime: float | None = None
    worst: Severity | None = None
    words: str = ""
    """The worst alert that is newest; or why nothing is known."""
    value: float | None = None
    spark: tuple[float | None, ...] = ()
    state: str = ""
    """The verdict's one word."""


def summary(path: Path, name: str, open_source: Callable[[], Source]) -> RunRow:
    """Return what is stored of a run; never raises for a store that is not there."""
    try:
        source = open_source()
    except StoreError:
        return RunRow(path, name, words="not analysed yet")
    try:
        return _read(path, name, source)
    except StoreError as error:
        return RunRow(path, name, words=safe(error, 120))
    finally:
        source.close()


def _read(path: Path, name: str, source: Source) -> RunRow:
    timeline = source.timeline()
    if not timeline:
        return RunRow(path, name, words="no checkpoint has been analysed")
    newest = timeline[-1]
    verdict = source.verdict()
    alerts = grouped(ordered(source.alerts()))
    last = len(timeline) - 1
    some = sorted({round(i * last / (POINTS - 1)) for i in range(POINTS)})
    whole = next((e.id for e in source.tensors(newest.id) if e.kind == "block" and not e.name), 0)
    spark = source.sparks([whole], STATISTIC, [timeline[i].id for i in some]).get(whole, ())
    return RunRow(
        path,
        name,
        newest.step,
        len(timeline),
        newest.mtime,
        alerts[0].severity if alerts else None,
        _words(alerts[0]) if alerts else "",
        spark[-1] if spark else None,
        spark,
        "" if verdict is None else verdict.state,
    )


def _words(alert: Alert) -> str:
    where = "run" if alert.tensor is None else alert.tensor or "model"
    return f"{alert.kind} {where} at {alert.onset:,}: {alert.message}"


def heading(width: int, glyphs: Glyphs) -> Line:
    """Return the line above the runs."""
    name = _name_width(width)
    words = (
        pad("   run", name + 3)
        + pad("step", STEP, "right", glyphs)
        + (pad("kept", MANY, "right", glyphs) if width >= WIDE else "")
        + "  "
        + pad("newest", AGE)
        + (pad(STATISTIC, SPARK + 8, "right", glyphs) + "  " if width >= WIDE else "")
        + (pad("state", STATE) if width >= WIDE else "")
        + "worst alert"
    )
    return fit((Span(words, Ink.MUTED),), width, glyphs)


def row_line(row: RunRow, now: float, width: int, glyphs: Glyphs) -> Line:
    """Return a run's line."""
    name = _name_width(width)
    old = glyphs.dash if row.mtime is None else newest_age(now - row.mtime, glyphs)
    spans = [
        Span(" "),
        badge(row.worst, glyphs),
        Span(" " + pad(clip_middle(safe(row.name), name - 1, glyphs), name), Ink.TITLE),
        Span(pad(step(row.step, glyphs), STEP, "right", glyphs)),
    ]
    if width >= WIDE:
        spans.append(Span(pad(f"{row.checkpoints:,}", MANY, "right", glyphs), Ink.MUTED))
    spans.append(Span("  " + pad(old, AGE)))
    if width >= WIDE:
        known, _ = STATES.get(row.state, (Ink.MUTED, None))
        spans += [
            Span(sparkline(row.spark, SPARK, glyphs), Ink.ACCENT),
            Span(pad(short(row.value, 7, glyphs), 8, "right", glyphs) + "  "),
            Span(pad(safe(row.state or glyphs.dash, STATE), STATE), known),
        ]
    ink = Ink.MUTED if row.worst is None else SEVERITY_INK[row.worst]
    return ends((*spans, Span(safe(row.words, 200), ink)), (), width, glyphs)


def _name_width(width: int) -> int:
    return max(12, min(NAME, width // 4))


ORDERS = ("worst", "newest", "name")
"""In which order runs can stand."""


def in_order(rows: Sequence[RunRow], order: str) -> list[RunRow]:
    """Return the runs, the most urgent, the youngest or the first by name on top."""
    if order == "name":
        return sorted(rows, key=lambda row: row.name)
    young = sorted(rows, key=lambda row: -(row.mtime or 0.0))
    return young if order == "newest" else sorted(young, key=lambda row: -(row.worst or 0))
