"""How each probe's results read: a table over steps, one checkpoint's panel, numbers to compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Final, Protocol

from forkmon.draw import cells
from forkmon.draw.glyphs import Glyphs
from forkmon.probes.outcome import Done


class View(Protocol):
    """What a module `probe_view_NAME` offers."""

    def needs_reference(self, parameters: Mapping[str, object]) -> bool:
        """Return whether the reference must be measured before all others."""
        ...

    def following(self, parameters: Mapping[str, object], reference: Done) -> dict[str, object]:
        """Return the parameters of all others, the reference known."""
        ...

    def against(self, outcome: Done, reference: Done) -> dict[str, object]:
        """Return what JSON says of a checkpoint held against the reference."""
        ...

    def table(self, outcomes: Sequence[Done], reference: Done, glyphs: Glyphs) -> Iterator[str]:
        """Yield a line for each step."""
        ...

    def panel(self, outcome: Done, glyphs: Glyphs) -> Iterator[str]:
        """Yield what there is to say of one checkpoint alone."""
        ...


_VIEWS: Final[dict[str, str]] = {
    name: f"forkmon.commands.probe_view_{name}" for name in ("neuromfa", "pruning", "spectrum")
}


def view(name: str) -> View:
    """Return the view of a probe."""
    found: View = import_module(_VIEWS[name]).VIEW
    return found


def columns(
    titles: Sequence[str], rows: Sequence[Sequence[str]], glyphs: Glyphs, *, left: int = 0
) -> Iterator[str]:
    """Yield a table: numbers to the right, the first `left` columns to the left."""
    widths = [
        max(cells.width(row[place]) for row in (titles, *rows)) for place in range(len(titles))
    ]
    for row in (titles, *rows):
        padded = [
            cells.pad(text, width, "left" if place < left else "right", glyphs)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(padded).rstrip()
