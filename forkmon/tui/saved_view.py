"""How a person looked at a run the last time: what of a view is kept, and taken up again; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from forkmon.tui import model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkmon.store.values import CheckpointRow, Timeline
    from forkmon.tui.model import View

LONGEST = 200
"""Characters of a kept text."""

_WORDS: Mapping[str, tuple[str, ...]] = {
    "panel": get_args(model.Panel),
    "sort": get_args(model.Sort),
    "count_scale": get_args(model.CountScale),
    "map_scale": get_args(model.MapScale),
    "fork_view": get_args(model.ForkView),
    "statistic": tuple(name for name, _ in model.STATISTICS),
    "estimate": ("", model.BANDS, *model.ESTIMATED),
}
"""What is kept, with the values it may have."""

_TEXTS = ("filter", "metric")
_FLAGS = ("reverse", "log_values", "log_steps", "previous")

Kept = dict[str, "str | bool"]
Place = tuple[int, int, int]
"""Segment, step and version of a checkpoint: ids mean nothing in another store."""


def saved(view: View) -> Kept:
    """Return what is kept of a view."""
    return {name: getattr(view, name) for name in (*_WORDS, *_TEXTS, *_FLAGS)}


def restored(view: View, kept: Mapping[str, object]) -> View:
    """Return the view with what was kept; what is not understood stays as it is."""
    found: dict[str, object] = {}
    for name, allowed in _WORDS.items():
        if kept.get(name) in allowed:
            found[name] = kept[name]
    for name in _TEXTS:
        text = kept.get(name)
        if isinstance(text, str) and len(text) <= LONGEST and text.isprintable():
            found[name] = text
    for name in _FLAGS:
        if isinstance(kept.get(name), bool):
            found[name] = kept[name]
    return replace(view, **found)  # type: ignore[arg-type]


def place_of(timeline: Timeline, checkpoint: int | None) -> Place | None:
    """Return the place of a checkpoint in the run."""
    return next((_place(row) for row in timeline if row.id == checkpoint), None)


def checkpoint_at(timeline: Timeline, place: Place | None) -> int | None:
    """Return the checkpoint at a place, if the timeline has it."""
    return next((row.id for row in timeline if _place(row) == place), None)


def _place(row: CheckpointRow) -> Place:
    return row.segment, row.step, row.version
