"""The bottom line: the next keys at the left, what the worker does at the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.draw.cells import line_width
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import eta, step
from forkmon.text import safe
from forkmon.tui.widgets.words import ends, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.draw.glyphs import Glyphs
    from forkmon.tui.scene import Scene
    from forkmon.tui.watching import Watch

WORTH_SAYING = 2.0
"""Seconds left above which they are shown: less is over before it is read."""

Hint = tuple[str, str]
"""A key and what it does, as the hints write them."""


def status_line(
    scene: Scene, watch: Watch, hints: Sequence[Hint], flash: str, width: int, glyphs: Glyphs
) -> Line:
    """Return the status; `flash` (the answer to a key) stands in for the hints for a while."""
    right = doing(scene, watch, glyphs)
    if right:
        right = (*right, Span(" "))
    room = width - line_width(right) - 2
    if flash:
        return ends((Span(f" {safe(flash, 300)}", Ink.ACCENT),), right, width, glyphs)
    return ends(_hints(hints, room), right, width, glyphs)


def doing(scene: Scene, watch: Watch, glyphs: Glyphs) -> Line:
    """Return what the worker does and what is left out, empty when there is nothing to say."""
    parts = _troubles(scene, watch)
    if watch.live:
        parts += _work(watch, glyphs)
    ignored = watch.polled.ignored if watch.polled is not None else len(scene.ignored)
    if ignored:
        parts.append((Span(f"{ignored:,} ignored", Ink.MUTED),))
    if scene.failed:
        parts.append((Span(f"{len(scene.failed):,} unreadable", Ink.WARN),))
    return joined(parts, " · " if glyphs.minus != "-" else " - ")


def _troubles(scene: Scene, watch: Watch) -> list[Line]:
    parts: list[Line] = []
    if watch.store_problem and scene.timeline:
        parts.append((Span(safe(watch.store_problem, 60), Ink.WARN),))
    if not watch.viewer and watch.worker.phase == "stopped" and watch.worker.why:
        parts.append((Span(f"worker stopped: {watch.worker.why[:60]}", Ink.WARN),))
    if watch.worker.phase == "waiting" and watch.worker.why:
        parts.append((Span(f"viewing: {watch.worker.why[:50]}", Ink.MUTED),))
    return parts


def _work(watch: Watch, glyphs: Glyphs) -> list[Line]:
    parts = [_progress(watch, glyphs)]
    if watch.polled is not None:
        polled = watch.polled
        if polled.note:
            parts.append((Span(safe(polled.note, 60), Ink.MUTED),))
        queued = polled.queued - (1 if watch.progress is not None else 0)
        for many, word in ((queued, "queued"), (polled.waiting, "waiting")):
            if many > 0:
                parts.append((Span(f"{many:,} {word}", Ink.MUTED),))
    return parts


def _progress(watch: Watch, glyphs: Glyphs) -> Line:
    progress = watch.progress
    if progress is None:
        return ()
    said = f"step {step(progress.step, glyphs)}"
    if progress.total > 0:
        said += f"  {min(progress.done, progress.total):,}/{progress.total:,} tensors"
    if progress.seconds_left is not None and progress.seconds_left > WORTH_SAYING:
        said += f"  {eta(progress.seconds_left, glyphs)}"
    if progress.note:
        said += f"  {safe(progress.note, 40)}"
    return (Span(said, Ink.ACCENT),)


def _hints(hints: Sequence[Hint], room: int) -> Line:
    spans: list[Span] = []
    used = 0
    for key, does in hints:
        cells = 1 + len(key) + 1 + len(does) + 1
        if used + cells > room:
            break
        used += cells
        spans += [Span(f" {key}"), Span(f" {does} ", Ink.MUTED)]
    return tuple(spans)
