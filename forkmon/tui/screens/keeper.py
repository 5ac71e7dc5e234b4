"""Keeps what a person marked and how they looked at the run, in their file, between starts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forkmon.tui import marks, saved_view

if TYPE_CHECKING:
    from pathlib import Path

    from forkmon.tui.desk import Desk
    from forkmon.tui.marks import Marks


class Keeper:
    """Reads the file once, and writes it where something in it changed."""

    def __init__(self, desk: Desk, store: Path) -> None:
        self._desk = desk
        self._path = marks.marks_path(store)
        self._written = marks.Marks()
        self._pending: saved_view.Place | None = None
        """The baseline, until the timeline that holds it is there."""

    def load(self) -> None:
        """Take up the marks and the view of the last time."""
        found = marks.load(self._path)
        self._written = found
        self._pending = found.baseline
        self._desk.mark(found)
        self._desk.look(saved_view.restored(self._desk.view, found.view))

    def arrived(self) -> None:
        """Mark the baseline of the last time, once its checkpoint is there."""
        if self._pending is None or not self._desk.scene.timeline:
            return
        there = saved_view.checkpoint_at(self._desk.scene.timeline, self._pending)
        self._pending = None
        if there is not None and self._desk.view.baseline is None:
            self._desk.look(replace(self._desk.view, baseline=there))

    def save(self) -> str:
        """Write what changed; return why that failed, or nothing."""
        if self._pending is not None or not self._desk.scene.timeline:
            return ""
        now = self._now()
        if now == self._written:
            return ""
        self._written = now
        return marks.save(now, self._path)

    def _now(self) -> Marks:
        view = self._desk.view
        place = saved_view.place_of(self._desk.scene.timeline, view.baseline)
        return replace(self._desk.marks, baseline=place, view=saved_view.saved(view))
