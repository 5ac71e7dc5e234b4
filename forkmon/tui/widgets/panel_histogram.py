"""Panel 1: the distribution of the selected row now, over the baseline's outline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.draw.cells import blank, words
from forkmon.draw.histogram import Legend, histogram
from forkmon.draw.numbers import step

if TYPE_CHECKING:
    from forkmon.draw.ink import Line
    from forkmon.stats.reduced import Reduced
    from forkmon.tui.model import View
    from forkmon.tui.widgets.panel import Subject
    from forkmon.tui.widgets.words import Box


@dataclass(frozen=True, slots=True)
class Layers:
    """What is drawn over each other."""

    current: Reduced | None
    baseline: Reduced | None = None
    previous: Reduced | None = None
    before: str = ""
    """What the previous one is called."""


def histogram_lines(
    subject: Subject,
    now: Layers,
    view: View,
    box: Box,
) -> list[Line]:
    """Return the panel's drawing; without stored codes it says why there is nothing."""
    current, baseline, scale = now.current, now.baseline, view.count_scale
    if current is None:
        return nothing("no histogram is kept for this row at this step", box)
    same = subject.baseline is None or subject.baseline.id == subject.current.id
    before = (
        "baseline"
        if subject.baseline is None
        else f"step {step(subject.baseline.step, box.glyphs)}"
    )
    return histogram(
        current,
        baseline=None if same else baseline,
        previous=now.previous,
        width=box.width,
        height=box.height,
        glyphs=box.glyphs,
        log_count=scale == "log count",
        cumulative=scale == "cumulative",
        scale="symlog" if scale == "symlog" else "linear",
        legend=Legend(f"step {step(subject.current.step, box.glyphs)}", before, now.before),
        probe=view.probe,
    )


def nothing(text: str, box: Box) -> list[Line]:
    """Return an empty panel that says `text` in its middle."""
    lines = [blank(box.width) for _ in range(box.height)]
    if lines:
        lines[box.height // 2] = words(f"   {text}", box.width, glyphs=box.glyphs)
    return lines
