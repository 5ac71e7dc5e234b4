"""Widths in terminal cells: measure, clip and pad text and lines to columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Literal

from forkmon.draw.glyphs import UNICODE, Glyphs
from forkmon.draw.ink import Ink, Line, Span

Side = Literal["left", "right", "center"]


def char_width(char: str) -> int:
    """Return how many terminal cells one (sanitised) character takes: 0, 1 or 2."""
    if char.isascii():
        return 1
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def width(text: str) -> int:
    """Return how many terminal cells `text` takes."""
    return len(text) if text.isascii() else sum(map(char_width, text))


def line_width(line: Iterable[Span]) -> int:
    """Return how many terminal cells a line takes."""
    return sum(width(span.text) for span in line)


def clip(text: str, cells: int, glyphs: Glyphs = UNICODE) -> str:
    """Return `text` cut to at most `cells` cells; an ellipsis stands for a cut end."""
    if width(text) <= cells:
        return text
    mark = glyphs.ellipsis
    return "" if cells < 1 else _head(text, cells - len(mark)) + mark


def clip_middle(text: str, cells: int, glyphs: Glyphs = UNICODE) -> str:
    """Return `text` cut in the middle to at most `cells` cells, so that both ends stay."""
    if width(text) <= cells:
        return text
    if cells < 1:
        return ""
    room = cells - len(glyphs.ellipsis)
    return _head(text, room // 2) + glyphs.ellipsis + _tail(text, room - room // 2)


def pad(text: str, cells: int, side: Side = "left", glyphs: Glyphs = UNICODE) -> str:
    """Return `text` in exactly `cells` cells, set to one side or the centre; clipped if longer."""
    text = clip(text, cells, glyphs)
    room = max(0, cells - width(text))
    if side == "left":
        return text + " " * room
    before = room if side == "right" else room // 2
    return " " * before + text + " " * (room - before)


def fit(line: Iterable[Span], cells: int, glyphs: Glyphs = UNICODE) -> Line:
    """Return a line in exactly `cells` cells: padded at its end, or clipped with an ellipsis."""
    spans = tuple(line)
    room = cells - line_width(spans)
    if room >= 0:
        return (*spans, Span(" " * room)) if room else spans
    out: list[Span] = []
    left = cells
    for span in spans:
        taken = width(span.text)
        if taken >= left:  # something follows, or it is too long itself: the mark goes here
            cut = pad(_marked(span.text, left, glyphs), left)
            out.append(Span(cut, span.ink, span.over))
            break
        out.append(span)
        left -= taken
    return tuple(span for span in out if span.text)


def blank(cells: int) -> Line:
    """Return a line of `cells` spaces."""
    return (Span(" " * cells),) if cells > 0 else ()


def words(text: str, cells: int, ink: Ink = Ink.MUTED, glyphs: Glyphs = UNICODE) -> Line:
    """Return one line of exactly `cells` cells that says `text`."""
    return fit((Span(text, ink),), cells, glyphs)


def _marked(text: str, cells: int, glyphs: Glyphs) -> str:
    return _head(text, cells - len(glyphs.ellipsis)) + glyphs.ellipsis if cells > 0 else ""


def _head(text: str, cells: int) -> str:
    if cells <= 0:
        return ""
    used = 0
    for index, char in enumerate(text):
        used += char_width(char)
        if used > cells:
            return text[:index]
    return text


def _tail(text: str, cells: int) -> str:
    used = 0
    for index in range(len(text) - 1, -1, -1):
        used += char_width(text[index])
        if used > cells:
            start = index + 1
            while start < len(text) and char_width(text[start]) == 0:
                start += 1  # a mark without its letter would sit on the ellipsis
            return text[start:]
    return text
