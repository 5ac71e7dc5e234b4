"""What the sheets say: explanation, provenance, the statistics to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.draw.cells import fit, pad
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import bytesize, count, duration, short, step
from forkmon.text import safe
from forkmon.tui.model import STATISTICS
from forkmon.tui.widgets.panel import shape_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.draw.glyphs import Glyphs
    from forkmon.stats.row import StatRow
    from forkmon.tui.widgets.panel import Subject

LABEL = 16


def statistic_lines(chosen: str, width: int, glyphs: Glyphs) -> list[Line]:
    """Return the statistics, one a line."""
    return [
        fit(
            (
                Span(f"{glyphs.right if name == chosen else ' '} ", Ink.ACCENT),
                Span(pad(name, 10)),
                Span(words, Ink.MUTED),
            ),
            width,
            glyphs,
        )
        for name, words in STATISTICS
    ]


def provenance_lines(
    subject: Subject, row: StatRow | None, store: str, width: int, glyphs: Glyphs
) -> list[Line]:
    """Return where a row's numbers come from."""
    at = subject.current
    pairs: list[tuple[str, str]] = [
        ("tensor", safe(subject.name, 1000) or "the whole model"),
        ("kind", shape_text(subject.entry, glyphs) if subject.entry is not None else "group"),
        ("role", safe(subject.entry.role) if subject.entry is not None else glyphs.dash),
        ("elements", count(row.n, glyphs) if row is not None else glyphs.dash),
        ("distinct", count(row.distinct, glyphs) if row is not None else glyphs.dash),
        ("", ""),
        ("file", safe(at.path, 2000)),
        ("format", safe(at.format)),
        ("step", step(at.step, glyphs) + (f", epoch {short(at.epoch)}" if at.epoch else "")),
        ("identity", f"segment {at.segment}, generation {at.generation}, version {at.version}"),
        ("status", _status(subject)),
        ("size", bytesize(at.bytes, glyphs)),
        ("analysed in", f"{duration(at.seconds, glyphs)} on {safe(at.device)}"),
        ("not analysed", f"{at.skipped:,} tensors" if at.skipped else "nothing"),
        ("", ""),
        ("store", safe(store, 2000)),
    ]
    lines: list[Line] = [(Span("provenance", Ink.TITLE),), ()]
    for name, text in pairs:
        lines += _pair(name, text, width, glyphs)
    return lines


def _status(subject: Subject) -> str:
    row = subject.current
    said = row.status if row.reason is None else f"{row.status}: {safe(row.reason, 300)}"
    return said + ("" if row.present else "; its files are gone, its history stays")


def _pair(name: str, text: str, width: int, glyphs: Glyphs) -> list[Line]:
    """Return a label and its text, wrapped: a path must be readable to its end."""
    room = max(10, width - LABEL)
    parts: Sequence[str] = [text[i : i + room] for i in range(0, len(text), room)] or [""]
    return [
        fit((Span(pad(name if i == 0 else "", LABEL), Ink.MUTED), Span(part)), width, glyphs)
        for i, part in enumerate(parts)
    ]
