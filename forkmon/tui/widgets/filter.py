"""The filter being typed: a one-line editor as a value, and the line that shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkmon.draw.ink import Ink, Line, Span
from forkmon.text import safe
from forkmon.tui.widgets.words import ends

if TYPE_CHECKING:
    from forkmon.draw.glyphs import Glyphs

LONGEST = 200
"""Characters; a pasted book is no filter."""


@dataclass(frozen=True, slots=True)
class Editor:
    """A line of text and a cursor in it."""

    text: str = ""
    at: int = 0

    def typed(self, text: str) -> Editor:
        """Return the editor after typing or pasting; control characters are dropped."""
        clean = "".join(char for char in text if char.isprintable())
        clean = clean[: max(0, LONGEST - len(self.text))]
        return Editor(self.text[: self.at] + clean + self.text[self.at :], self.at + len(clean))

    def pressed(self, key: str) -> Editor | None:
        """Return the editor after an editing key; None if the key does not edit."""
        at, text = self.at, self.text
        match key:
            case "backspace" | "ctrl+h":
                return Editor(text[: max(0, at - 1)] + text[at:], max(0, at - 1))
            case "delete" | "ctrl+d":
                return Editor(text[:at] + text[at + 1 :], at)
            case "left":
                return replace(self, at=max(0, at - 1))
            case "right":
                return replace(self, at=min(len(text), at + 1))
            case "home" | "ctrl+a":
                return replace(self, at=0)
            case "end" | "ctrl+e":
                return replace(self, at=len(text))
            case "ctrl+u":
                return Editor(text[at:], 0)
            case "ctrl+w":
                kept = text[:at].rstrip(" .")
                cut = max(kept.rfind(" "), kept.rfind(".")) + 1
                return Editor(text[:cut] + text[at:], cut)
            case _:
                return None


def filter_line(
    editor: Editor, matches: int, total: int, problem: str, width: int, glyphs: Glyphs
) -> Line:
    """Return the line of the filter while it is edited, its cursor shown as a full block."""
    head, tail = safe(editor.text[: editor.at]), safe(editor.text[editor.at :])
    cursor = "_" if glyphs.minus == "-" else "▏"
    left = (
        Span(" /", Ink.ACCENT),
        Span(head),
        Span(cursor, Ink.ACCENT),
        Span(tail),
        Span(f"   {safe(problem, 70)}" if problem else "", Ink.WARN),
    )
    said = f"{matches:,} of {total:,}   enter keeps   esc clears   !inverse  ~fuzzy "
    short = f"{matches:,} of {total:,} "
    return ends(left, (Span(said if width >= 100 else short, Ink.MUTED),), width, glyphs)
