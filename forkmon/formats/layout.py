"""What a directory of many files is to a format: which files are read, and which comes last."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """A directory recognised by the names in it, all relative to it and with `/` between parts."""

    format: str
    """A name of `reading.READERS`."""
    files: tuple[str, ...]
    """Every file whose bytes are read (headers and metadata too), in name order."""
    marker: str | None = None
    """The file that the writer leaves last."""
    required: bool = False
    """Without its marker it is not finished, whatever else is there."""
