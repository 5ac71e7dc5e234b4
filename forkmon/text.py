"""The only door from data to screen: whatever came from a file passes `safe()` first.

Textual lets escape sequences through every one of its text routes, and markup in a tensor name
runs app actions; so nothing that came from a file may reach a widget, a log or an error message
but as `SafeText`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import NewType

SafeText = NewType("SafeText", str)
"""Text without control, format, surrogate, private-use or invisible characters; still not
markup-safe."""

LIMIT = 200
"""Longest text that reaches the screen unless a caller asks for more, in characters."""

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_INVISIBLE = (
    range(0x034F, 0x0350),  # combining grapheme joiner
    range(0x115F, 0x1161),  # Hangul fillers: letters that show nothing
    range(0x17B4, 0x17B6),  # Khmer inherent vowels
    range(0x180B, 0x1810),  # Mongolian variation selectors
    range(0x2800, 0x2801),  # the empty braille pattern
    range(0x3164, 0x3165),
    range(0xFE00, 0xFE10),  # variation selectors: they change a character's width
    range(0xFFA0, 0xFFA1),
    range(0xE0100, 0xE01F0),
)
_MAX_COMBINING_RUN = 4
_MARGIN = 4
"""How many characters are looked at for each one shown, as runs of marks are cut."""


def safe(text: object, limit: int = LIMIT) -> SafeText:
    r"""Return `text` with everything a terminal could obey, or an eye miss, as a visible escape.

    Control characters (C0 and C1), bidirectional overrides, invisible and private-use characters,
    spaces other than the plain one and lone surrogates become `\u{..}`, as does a combining mark
    without a letter; runs of combining marks are cut after four. What is longer than `limit`
    characters is cut in the middle: both ends stay, names that differ only there look the same.
    """
    raw = str(text)
    if raw.isascii() and raw.isprintable():
        return SafeText(_shortened(raw, limit))
    if len(raw) <= 2 * _MARGIN * limit:
        pieces = list(_pieces(raw))
        if sum(map(len, pieces)) <= limit:
            return SafeText("".join(pieces))
        return SafeText(_ends(pieces, pieces, limit))
    head, tail = raw[: _MARGIN * limit], raw[len(raw) - _MARGIN * limit :]
    return SafeText(_ends(list(_pieces(head)), list(_pieces(tail)), limit))


def _pieces(raw: str) -> Iterator[str]:
    """Yield what stands for each character of `raw`: itself, its escape, or nothing."""
    marks: int | None = None  # None: there is no letter a mark could sit on
    for char in raw:
        category = unicodedata.category(char)
        if _hidden(char, category) or (category[0] == "M" and marks is None):
            marks = None
            yield f"\\u{{{ord(char):x}}}"
        elif category[0] != "M":
            marks = 0
            yield char
        elif marks is not None and marks < _MAX_COMBINING_RUN:
            marks += 1
            yield char


def _hidden(char: str, category: str) -> bool:
    if char == " ":
        return False
    return category in _HIDDEN_CATEGORIES or any(ord(char) in block for block in _INVISIBLE)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else _ends(text[: max(0, limit)], text[-limit:], limit)


def _ends(first: Iterable[str], last: Iterable[str], limit: int) -> str:
    """Return the start of `first` and the end of `last` around an ellipsis, no piece cut."""
    if limit < 1:
        return ""
    room = (limit - 1) // 2
    head = _taken(first, room)
    tail = _taken(reversed(list(last)), limit - 1 - room)[::-1]
    while tail and unicodedata.category(tail[0][0])[0] == "M":
        tail = tail[1:]  # its letter is cut off: it would sit on the ellipsis
    return f"{''.join(head)}…{''.join(tail)}"


def _taken(pieces: Iterable[str], room: int) -> list[str]:
    taken: list[str] = []
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            break
        taken.append(piece)
    return taken
