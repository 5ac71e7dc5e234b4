"""Small pieces every pane writes alike: badges, gaps, a line with a left and a right end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.draw.cells import fit, line_width
from forkmon.draw.ink import Ink, Line, Span
from forkmon.stats.alert import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.draw.glyphs import Glyphs

SEVERITY_INK: dict[Severity, Ink] = {
    Severity.INFO: Ink.INFO,
    Severity.WARN: Ink.WARN,
    Severity.ERROR: Ink.ERROR,
}


@dataclass(frozen=True, slots=True)
class Box:
    """The room there is, in cells, and the characters to fill it with."""

    width: int
    height: int
    glyphs: Glyphs


def badge(severity: Severity | None, glyphs: Glyphs) -> Span:
    """Return the one-character mark of a severity."""
    if severity is None:
        return Span(glyphs.nothing, Ink.MUTED)
    return Span(glyphs.severity(severity.word), SEVERITY_INK[severity])


def ends(left: Sequence[Span], right: Sequence[Span], width: int, glyphs: Glyphs) -> Line:
    """Return a line with `right` at its end; `left` is cut where both do not fit."""
    room = width - line_width(right)
    if room <= 0:
        return fit(right, width, glyphs)
    return (*fit(left, room, glyphs), *right)


def joined(parts: Sequence[Line], gap: str = "   ") -> Line:
    """Return the parts that hold text, with a gap between them."""
    out: list[Span] = []
    for part in parts:
        if not any(span.text for span in part):
            continue
        if out:
            out.append(Span(gap, Ink.MUTED))
        out.extend(part)
    return tuple(out)
