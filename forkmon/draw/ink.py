"""Lines of styled text: what a stretch of text means, and how plain and ANSI output write it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum, auto


class Ink(StrEnum):
    """What a stretch of text means; themes give each meaning a colour."""

    TEXT = auto()
    MUTED = auto()
    ACCENT = auto()
    """The current step."""
    BASELINE = auto()
    PREVIOUS = auto()
    INFO = auto()
    WARN = auto()
    ERROR = auto()
    AXIS = auto()
    TITLE = auto()


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text of one meaning; the text holds no control characters."""

    text: str
    ink: Ink = Ink.TEXT
    over: Ink | None = None
    """The ink it is cut out of, as a line from a bar; None is the ground. Lost without colours."""


Line = tuple[Span, ...]
"""One line of the screen."""

_SGR: dict[Ink, str] = {
    Ink.TEXT: "",
    Ink.MUTED: "90",
    Ink.ACCENT: "36",
    Ink.BASELINE: "",
    Ink.PREVIOUS: "35",
    Ink.INFO: "32",
    Ink.WARN: "33",
    Ink.ERROR: "31",
    Ink.AXIS: "90",
    Ink.TITLE: "1",
}
_RESET = "\x1b[0m"


def plain(lines: Iterable[Line]) -> list[str]:
    """Return the text of lines without their inks."""
    return ["".join(span.text for span in line) for line in lines]


def ansi(lines: Iterable[Line], color: bool) -> list[str]:  # noqa: FBT001 - reads well at the call
    """Return lines for standard output: SGR colours of the 16-colour palette, or none."""
    if not color:
        return [text.rstrip() for text in plain(lines)]
    return ["".join(map(_coloured, line)).rstrip() for line in lines]


def _coloured(span: Span) -> str:
    if span.over is not None and _SGR[span.over]:
        return f"\x1b[{_SGR[span.over]};7m{span.text}{_RESET}"  # reversed: cut out of the bar
    code = _SGR[span.ink]
    return f"\x1b[{code}m{span.text}{_RESET}" if code and span.text.strip() else span.text
