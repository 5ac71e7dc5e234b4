"""What is said of a tensor beside its numbers: of what it is a part, where on disk it lies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import cast

_BETWEEN = "\x1f"
"""Stands between the words and the place: a unit separator, which no words hold."""

OF_CHECKPOINT = "\x1fcheckpoint"
"""The name under which the checkpoint is noted that all places are about."""


@dataclass(frozen=True, slots=True)
class Note:
    """Words on a tensor and its place in the checkpoint analysed last."""

    words: str = ""
    """Of what on disk it is a part, why a fused tensor was left whole, what it is tied to."""
    file: str = ""
    """Relative to the checkpoint; empty where that is the file itself."""
    offset: int | None = None
    """Of its first byte; None where it lies in pieces, or is not known."""
    pieces: int = 1
    files: int = 1
    """How many files the pieces lie in."""
    stored_as: str = ""
    """The name on disk where it is another."""

    def encode(self) -> str:
        """Return the text that a store keeps; only what differs from the usual takes room."""
        body: dict[str, str | int | None] = {}
        if self.file:
            body["f"] = self.file
        if self.offset is not None:
            body["o"] = self.offset
        if self.pieces > 1:
            body |= {"p": self.pieces, "n": self.files}
        if self.stored_as:
            body["s"] = self.stored_as
        place = json.dumps(body, separators=(",", ":")) if body else ""
        return f"{self.words}{_BETWEEN}{place}" if place else self.words


def decode(text: str) -> Note:
    """Return what `encode` wrote; a text of before there were places is all words."""
    words, _, place = text.partition(_BETWEEN)
    try:
        body: object = json.loads(place) if place else {}
    except ValueError:
        return Note(words)
    if not isinstance(body, dict):
        return Note(words)
    found = cast("dict[str, object]", body)
    offset = found.get("o")
    return Note(
        words,
        file=str(found.get("f", "")),
        offset=offset if isinstance(offset, int) else None,
        pieces=_count(found.get("p")),
        files=_count(found.get("n")),
        stored_as=str(found.get("s", "")),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) else 1


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Which checkpoint the places of all notes are about, and how it was found complete."""

    checkpoint: int
    """Its id in the store."""
    complete: str
    """`marker` or `heuristic`."""

    def encode(self) -> str:
        """Return the text that a store keeps."""
        return f"{self.checkpoint} {self.complete}"


def whereabouts(text: str) -> Whereabouts | None:
    """Return what `Whereabouts.encode` wrote, None where nothing was noted yet."""
    number, _, complete = text.partition(" ")
    return Whereabouts(int(number), complete) if number.isdecimal() else None
