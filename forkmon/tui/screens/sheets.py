"""What the sheets say: explanation, provenance, the statistics to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.draw.cells import fit, pad
from forkmon.draw.glyphs import to_ascii
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import bytesize, count, duration, short, step
from forkmon.text import safe
from forkmon.tui.model import CHOICES
from forkmon.tui.widgets.panel import shape_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.draw.glyphs import Glyphs
    from forkmon.stats.row import StatRow
    from forkmon.store.values import CheckpointRow
    from forkmon.tui.widgets.panel import Subject

LABEL = 16


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of a row beside its name."""

    row: StatRow | None = None
    digest: int | None = None
    note: str = ""
    """Of what on disk it is a part, or why a fused tensor was left whole."""


def statistic_lines(chosen: str, width: int, glyphs: Glyphs) -> list[Line]:
    """Return the statistics, one a line."""
    return [
        fit(
            (
                Span(f"{glyphs.right if name == chosen else ' '} ", Ink.ACCENT),
                Span(pad(name, 10)),
                Span(to_ascii(words) if glyphs.minus == "-" else words, Ink.MUTED),
            ),
            width,
            glyphs,
        )
        for name, words in CHOICES
    ]


def provenance_lines(
    subject: Subject,
    known: Known,
    store: str,
    width: int,
    glyphs: Glyphs,
) -> list[Line]:
    """Return where a row's numbers come from."""
    at, row = subject.current, known.row
    pairs: list[tuple[str, str]] = [
        ("tensor", safe(subject.name, 1000) or "the whole model"),
        ("kind", shape_text(subject.entry, glyphs) if subject.entry is not None else "group"),
        *([("layout", safe(known.note, 1000))] if known.note else []),
        ("role", safe(subject.entry.role) if subject.entry is not None else glyphs.dash),
        ("elements", count(row.n, glyphs) if row is not None else glyphs.dash),
        ("distinct", count(row.distinct, glyphs) if row is not None else glyphs.dash),
        ("content hash", _hash(subject, known, glyphs)),
        ("", ""),
        ("analysed file", safe(at.path, 2000)),
        ("format", safe(at.format)),
        ("step", step(at.step, glyphs) + (f", epoch {short(at.epoch)}" if at.epoch else "")),
        ("identity", f"segment {at.segment}, generation {at.generation}, version {at.version}"),
        ("status", _status(subject)),
        ("size", bytesize(at.bytes, glyphs)),
        ("analysed in", _effort(at, glyphs)),
        ("not analysed", f"{at.skipped:,} tensors" if at.skipped else "nothing"),
        ("", ""),
        ("store", safe(store, 2000)),
    ]
    lines: list[Line] = [(Span("provenance", Ink.TITLE),), ()]
    for name, text in pairs:
        lines += _pair(name, text, width, glyphs)
    return lines


def _hash(subject: Subject, known: Known, glyphs: Glyphs) -> str:
    """Return the hash of the tensor's bits; equal ones mean equal values at any two steps."""
    if known.digest is not None:
        return f"{known.digest:016x}"
    block = subject.entry is None or subject.entry.kind == "block"
    return "each tensor has its own" if block else f"{glyphs.dash} (not stored)"


def _effort(at: CheckpointRow, glyphs: Glyphs) -> str:
    if at.status == "attempt":
        return f"not yet: it is being read on {safe(at.device)}"
    return f"{duration(at.seconds, glyphs)} on {safe(at.device)}"


def _status(subject: Subject) -> str:
    row = subject.current
    if row.status == "attempt":
        return "being analysed; not kept until it is whole"
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
