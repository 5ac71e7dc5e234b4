"""What the sheets say: explanation, provenance, the statistics to choose from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forkmon.draw.cells import fit, pad
from forkmon.draw.glyphs import to_ascii
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import bytesize, count, duration, short, step
from forkmon.stats.notes import Note
from forkmon.text import safe
from forkmon.tui.model import CHOICES, TRAINER
from forkmon.tui.widgets.panel import shape_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.draw.glyphs import Glyphs
    from forkmon.stats.notes import Whereabouts
    from forkmon.stats.row import StatRow
    from forkmon.store.values import CheckpointRow
    from forkmon.tui.trainer import Logged
    from forkmon.tui.widgets.panel import Subject

LABEL = 16

ROLES = {
    "model": "model: the weights",
    "ema": "ema: a running average of the weights",
    "optimizer": "optimizer: what it remembers of a weight",
}


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of a row beside its name."""

    row: StatRow | None = None
    digest: int | None = None
    note: Note = field(default_factory=Note)
    """Of what on disk it is a part, why it was left whole, where it lies."""
    whereabouts: Whereabouts | None = None
    """Which checkpoint the note's place is in."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that the curves can put first."""

    key: str
    label: str
    words: str


def choices(trainer: Sequence[Logged]) -> list[Choice]:
    """Return the statistics and the trainer's curves to choose from."""
    found = [Choice(name, name, words) for name, words in CHOICES]
    return found + [
        Choice(TRAINER + curve.name, curve.label, f"logged as {safe(curve.name, 200)}; panel 3")
        for curve in trainer
    ]


def statistic_lines(
    offered: Sequence[Choice], chosen: str, width: int, glyphs: Glyphs
) -> list[Line]:
    """Return the statistics and the trainer's curves, one a line."""
    room = max(10, min(24, 2 + max(len(choice.label) for choice in offered)))
    return [
        fit(
            (
                Span(f"{glyphs.right if choice.key == chosen else ' '} ", Ink.ACCENT),
                Span(pad(choice.label, room)),
                Span(to_ascii(choice.words) if glyphs.minus == "-" else choice.words, Ink.MUTED),
            ),
            width,
            glyphs,
        )
        for choice in offered
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
        ("role", ROLES.get(_role(subject), safe(_role(subject))) or glyphs.dash),
        *_on_disk(subject, known),
        ("elements", count(row.n, glyphs) if row is not None else glyphs.dash),
        ("distinct", count(row.distinct, glyphs) if row is not None else glyphs.dash),
        ("content hash", _hash(subject, known, glyphs)),
        ("", ""),
        ("analysed file", safe(at.path, 2000)),
        ("format", safe(at.format)),
        ("step", step(at.step, glyphs) + (f", epoch {short(at.epoch)}" if at.epoch else "")),
        ("identity", f"segment {at.segment}, generation {at.generation}, version {at.version}"),
        ("status", _status(subject)),
        *_completeness(at, known),
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


def _role(subject: Subject) -> str:
    return "" if subject.entry is None else subject.entry.role


def _on_disk(subject: Subject, known: Known) -> list[tuple[str, str]]:
    """Return what a tensor is called on disk, of what it is a part, and where it lies."""
    note = known.note
    pairs: list[tuple[str, str]] = []
    if note.stored_as:
        pairs.append(("name on disk", safe(note.stored_as, 1000)))
    if note.words:
        pairs.append(("layout", safe(note.words, 1000)))
    place = f"{note.pieces:,} pieces in {note.files:,} files" if note.pieces > 1 else ""
    if note.offset is not None:
        place = f"byte {note.offset:,}"
    if place:
        of = known.whereabouts
        where = safe(note.file, 1000) or "the checkpoint's file"
        other = of is not None and of.checkpoint != subject.current.id
        last = "; in the checkpoint analysed last" if other else ""
        joint = ", the first in " if note.pieces > 1 else " of "
        pairs.append(("lies at", f"{place}{joint}{where}{last}"))
    return pairs


def _completeness(at: CheckpointRow, known: Known) -> list[tuple[str, str]]:
    """Return why the checkpoint was taken for finished; known of the one analysed last."""
    of = known.whereabouts
    if of is None or of.checkpoint != at.id:
        return []
    if of.complete == "marker":
        return [("finished", "told by its marker, the last file written")]
    return [("finished", "told by structure and quiet; no marker is known")]


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
    later = [c for c in subject.timeline if c.id > row.id and c.path == row.path]
    if later:
        return f"{said}; overwritten by step {later[-1].step:,}, its history stays"
    return said + ("" if row.present else "; its files are gone, its history stays")


def _pair(name: str, text: str, width: int, glyphs: Glyphs) -> list[Line]:
    """Return a label and its text, wrapped: a path must be readable to its end."""
    room = max(10, width - LABEL)
    parts: Sequence[str] = [text[i : i + room] for i in range(0, len(text), room)] or [""]
    return [
        fit((Span(pad(name if i == 0 else "", LABEL), Ink.MUTED), Span(part)), width, glyphs)
        for i, part in enumerate(parts)
    ]
