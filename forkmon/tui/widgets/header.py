"""The top line: is it alive, is it healthy, how far, how old, on what device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.draw.cells import clip_middle, line_width
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import age, step
from forkmon.stats.alert import Severity
from forkmon.text import safe
from forkmon.tui.widgets.words import SEVERITY_INK, ends, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.draw.glyphs import Glyphs
    from forkmon.stats.alert import Alert
    from forkmon.tui.scene import Scene
    from forkmon.tui.watching import Watch

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Health:
    """One word for the run, and how bad it is."""

    words: str
    worst: Severity | None


def health(alerts: Sequence[Alert]) -> Health:
    """Return `healthy`, or how many errors, warnings and notices there are."""
    counts = {s: sum(alert.severity == s for alert in alerts) for s in Severity}
    worst = max((s for s, many in counts.items() if many), default=None)
    words = {Severity.ERROR: ("error", "errors"), Severity.WARN: ("warning", "warnings")}
    bad = [
        f"{counts[s]} {one if counts[s] == 1 else more}"
        for s, (one, more) in words.items()
        if counts[s]
    ]
    if bad:
        return Health(", ".join(bad), worst)
    infos = counts[Severity.INFO]
    return Health("healthy" + (f": {infos} info" if infos else ""), worst)


STATES: dict[str, tuple[Ink, Severity | None]] = {
    "healthy": (Ink.TEXT, None),
    "converged": (Ink.TEXT, None),
    "frozen": (Ink.WARN, Severity.WARN),
    "diverging": (Ink.ERROR, Severity.ERROR),
    "corrupted": (Ink.ERROR, Severity.ERROR),
}
"""How each state of a run is written: its ink, and the badge before it."""

REASON = 60
"""Characters of the strongest reason, at most."""


def verdict_words(verdict: Sequence[str], glyphs: Glyphs) -> tuple[Line, Line]:
    """Return the verdict with its strongest reason, and alone."""
    ink, bad = STATES.get(verdict[0], (Ink.MUTED, None))
    sign = "" if bad is None else f"{glyphs.severity(bad.word)} "
    word = Span(f"{sign}{safe(verdict[0], 16)}", ink)
    if len(verdict) < 2 or verdict[1] == "no alert":
        return (word,), (word,)
    return (word, Span(f": {safe(verdict[1], REASON)}", ink)), (word,)


def state(watch: Watch, glyphs: Glyphs) -> Line:
    """Return the worker's state with its glyph."""
    if watch.viewer:
        return (Span(f"{glyphs.idle} viewer", Ink.MUTED),)
    worker = watch.worker
    match worker.phase:
        case "live":
            return (Span(glyphs.live, Ink.INFO), Span(" live"))
        case "starting":
            return (Span(f"{glyphs.idle} starting", Ink.MUTED),)
        case "waiting":
            return (Span(f"{glyphs.idle} viewer", Ink.MUTED),)
        case "restarting":
            return (Span(f"{glyphs.warn} restarting ({worker.why[:24]})", Ink.WARN),)
        case "stopped":
            return (Span(f"{glyphs.idle} stopped", Ink.WARN),)


def newest_age(seconds: float, glyphs: Glyphs) -> str:
    """Return the age of the newest checkpoint, in whole minutes: it moves once a minute."""
    if seconds < MINUTE:
        return "under 1 m ago" if seconds > -MINUTE else "in the future: clocks differ"
    return age(MINUTE * (seconds // MINUTE), glyphs)


def header_line(
    scene: Scene, watch: Watch, alerts: Sequence[Alert], *, now: float, width: int, glyphs: Glyphs
) -> Line:
    """Return the header; what matters least is left out first where it does not fit."""
    right = (*state(watch, glyphs), Span(" "))
    room = width - line_width(right) - 1
    line: Line = ()
    for parts in _variants(scene, watch, alerts, now, glyphs):
        line = (Span(" forkmon", Ink.TITLE), Span("  "), *joined(parts))
        if line_width(line) <= room:
            break
    return ends(line, right, width, glyphs)


def _variants(
    scene: Scene, watch: Watch, alerts: Sequence[Alert], now: float, glyphs: Glyphs
) -> Sequence[Sequence[Line]]:
    name = (Span(scene.title, Ink.TITLE),)
    short_name = (Span(clip_middle(scene.title, 16, glyphs), Ink.TITLE),)
    well = health(alerts)
    ink = Ink.TEXT if well.worst in (None, Severity.INFO) else SEVERITY_INK[well.worst]
    word: Line = (Span(well.words, ink),)
    brief = word
    if scene.verdict:
        word, brief = verdict_words(scene.verdict, glyphs)
    if not scene.timeline:
        return (
            [name, _device(scene, watch, why=True)],
            [short_name, _device(scene, watch, why=False)],
        )
    newest = scene.timeline[-1]
    old = newest_age(now - newest.mtime, glyphs)
    many = sum(row.status != "attempt" for row in scene.timeline)
    dot = " · " if glyphs.minus != "-" else " - "
    counted = f"{many:,} checkpoint{'s' if many != 1 else ''}"
    far: Line = (Span(f"step {step(newest.step, glyphs)}{dot}{counted}{dot}newest {old}"),)
    near: Line = (Span(f"{step(newest.step, glyphs)}{dot}{old}"),)
    bare: Line = (Span(step(newest.step, glyphs)),)
    return (
        [name, word, far, _device(scene, watch, why=True)],
        [name, word, far, _device(scene, watch, why=False)],
        [name, word, near, _device(scene, watch, why=False)],
        [short_name, word, near, _device(scene, watch, why=False)],
        [short_name, word, near],
        [short_name, brief, near],
        [brief, near],
        [brief, bare],
    )


def _device(scene: Scene, watch: Watch, *, why: bool) -> Line:
    if watch.hello is None:
        return (Span(safe(scene.timeline[-1].device), Ink.MUTED),) if scene.timeline else ()
    text = safe(watch.hello.device)
    if why and watch.hello.why:
        text = safe(f"{text}: {watch.hello.why}", 60)
    return (Span(text, Ink.MUTED),)
