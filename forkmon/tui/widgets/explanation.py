"""The explanation of an alert: what was measured, on what it rests, what it does not mean."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from forkmon.draw.cells import clip_middle, fit, pad
from forkmon.draw.glyphs import to_ascii
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import short, step
from forkmon.text import safe
from forkmon.tui.caveats import caveat
from forkmon.tui.widgets.words import SEVERITY_INK, badge, ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.draw.glyphs import Glyphs
    from forkmon.stats.alert import Alert, Evidence

LABEL = 15
MOST_MEMBERS = 40
"""Tensors of one event that are listed."""

LARGEST_COUNT = 1e9
"""Whole numbers up to this are written as counts."""

_COMMON = ("statistic", "value", "threshold", "window", "n", "expected_false_alarms")
_WORDS = {
    "p": "p of the dip",
    "z": "valley, standard errors",
    "depth": "valley depth",
    "dip": "dip statistic",
    "separation": "separation, pooled sd",
    "agreement": "elements on their side",
    "balanced_agreement": "the same, both sides alike",
    "beta": "grows as (t - t*) to the",
    "witnesses": "checkpoints that agree",
    "view": "looked at",
}
"""Facts whose stored name says too little."""

_VIEWS = {"elements": "the values", "rows": "norms of rows", "columns": "norms of columns"}


@dataclass(frozen=True, slots=True)
class Explained:
    """An alert, the alerts that it stands for, and whether the person has seen it."""

    alert: Alert
    members: tuple[Alert, ...] = ()
    """More than one where the alert stands for many tensors."""
    acknowledged: bool = False


def explained(about: Explained, width: int, glyphs: Glyphs) -> list[Line]:
    """Return everything known about an alert."""
    alert = about.alert
    lines = [_head(about, width, glyphs), _when(alert, glyphs), ()]
    lines += _text(alert.message, width, Ink.TEXT)
    lines.append(())
    if len(about.members) > 1:
        lines += _members(about.members, width, glyphs)
    else:
        lines += _grounds(alert.evidence, width, glyphs)
        lines += _facts(alert.evidence, width, glyphs)
    lines.append(())
    said = caveat(alert.kind)
    lines.append((Span("what it does not mean", Ink.TITLE),))
    lines += _text(to_ascii(said) if glyphs.minus == "-" else said, width, Ink.MUTED)
    return lines


def _head(about: Explained, width: int, glyphs: Glyphs) -> Line:
    alert = about.alert
    where = "the run" if alert.tensor is None else safe(alert.tensor) or "the whole model"
    ink = SEVERITY_INK[alert.severity]
    right: Line = (badge(alert.severity, glyphs), Span(f" {alert.severity.word}", ink))
    if about.acknowledged:
        right = (*right, Span("  acknowledged", Ink.MUTED))
    kind = safe(alert.kind, 16)
    room = max(8, width - len(kind) - 26)
    name = clip_middle(where, room, glyphs)
    return ends((Span(kind, ink), Span(f"  {name}", Ink.TITLE)), right, width, glyphs)


def _when(alert: Alert, glyphs: Glyphs) -> Line:
    said = f"onset {step(alert.onset, glyphs)}, detected {step(alert.step, glyphs)}"
    return (Span(said, Ink.MUTED),)


def _text(text: str, width: int, ink: Ink) -> list[Line]:
    return [(Span(part, ink),) for part in wrap(safe(text, 2000), max(10, width)) or [""]]


def _grounds(evidence: Evidence, width: int, glyphs: Glyphs) -> list[Line]:
    """Return the facts that every alert carries, as sentences."""
    pairs: list[tuple[str, str]] = []
    if evidence.get("statistic") is not None:
        said = f"{_shown(evidence['statistic'], glyphs)} {_shown(evidence.get('value'), glyphs)}"
        if evidence.get("threshold") is not None:
            said += f"   threshold {_shown(evidence['threshold'], glyphs)}"
        pairs.append(("measured", said))
    rests: list[str] = []
    if evidence.get("window") is not None:
        rests.append(f"{_shown(evidence['window'], glyphs)} checkpoints")
    if evidence.get("n") is not None:
        rests.append(f"{_shown(evidence['n'], glyphs)} measured at each")
    if rests:
        pairs.append(("rests on", ", ".join(rests)))
    expected = evidence.get("expected_false_alarms")
    if isinstance(expected, int | float):
        pairs.append(("false alarms", _expected(expected)))
    return [_pair(name, said, width, glyphs) for name, said in pairs]


def _expected(expected: float) -> str:
    if expected == 0:
        return "none: told by exact equality"
    return f"{expected:g} expected in a healthy run of 300 tensors and 150 checkpoints"


def _pair(name: str, said: str, width: int, glyphs: Glyphs) -> Line:
    return fit((Span(pad(name, LABEL), Ink.MUTED), Span(said)), width, glyphs)


def _facts(evidence: Evidence, width: int, glyphs: Glyphs) -> list[Line]:
    """Return the facts of this kind alone, in as many columns as fit."""
    facts = [
        (_WORDS.get(name, safe(name.replace("_", " "), 28)), _fact(name, value, glyphs))
        for name, value in evidence.items()
        if name not in _COMMON and value is not None
    ]
    if not facts:
        return []
    label = min(30, max(len(name) for name, _ in facts) + 2)
    across = max(1, width // (label + 14))
    down = -(-len(facts) // across)
    lines: list[Line] = [()]
    for row in range(down):
        spans: list[Span] = []
        for name, value in facts[row::down]:
            spans += [Span(pad(name, label), Ink.MUTED), Span(pad(value, width // across - label))]
        lines.append(fit(spans, width, glyphs))
    return lines


def _fact(name: str, value: object, glyphs: Glyphs) -> str:
    if name == "view" and isinstance(value, str):
        return _VIEWS.get(value, safe(value, 20))
    return _shown(value, glyphs)


def _shown(value: object, glyphs: Glyphs) -> str:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return safe(glyphs.dash if value is None else value, 60)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_COUNT:
        return f"{int(value):,}".replace("-", glyphs.minus)
    return short(value, 9, glyphs) if isinstance(value, float) else safe(value, 60)


def _members(members: Sequence[Alert], width: int, glyphs: Glyphs) -> list[Line]:
    """Return the tensors of one event, each with what was measured."""
    first = members[0].evidence
    what = _shown(first.get("statistic"), glyphs) if first.get("statistic") else ""
    head = f"{len(members):,} tensors, one event" + (f": {what} of each" if what else "")
    lines: list[Line] = [(Span(head, Ink.TITLE),)]
    room = max(16, min(44, width // 2))
    for alert in members[:MOST_MEMBERS]:
        name = clip_middle(safe(alert.tensor or ""), room - 2, glyphs)
        value = alert.evidence.get("value")
        said = f"{pad(_shown(value, glyphs), 10)}" if value is not None else ""
        spans = (Span(pad(name, room)), Span(said), Span(safe(alert.message, 200), Ink.MUTED))
        lines.append(fit(spans, width, glyphs))
    if len(members) > MOST_MEMBERS:
        more = f"{glyphs.ellipsis} {len(members) - MOST_MEMBERS:,} more"
        lines.append((Span(more, Ink.MUTED),))
    common = ("threshold", "window", "expected_false_alarms")
    shared = {name: first[name] for name in common if name in first}
    if len({alert.evidence.get("threshold") for alert in members}) > 1:
        shared.pop("threshold", None)
    lines.append(())
    if shared.get("threshold") is not None:
        lines.append(_pair("threshold", _shown(shared["threshold"], glyphs), width, glyphs))
    return [*lines, *_grounds({**shared, "threshold": None}, width, glyphs)]
