"""Moves that change how things are shown: panels, scales, zoom."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forkmon.draw.numbers import step
from forkmon.text import safe
from forkmon.tui import model

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkmon.tui.desk import Desk

PROBES = 100
"""Places along an axis at which a histogram can be read off."""


def open_panel(panel: model.Panel) -> Callable[[Desk, int], str]:
    """Return the move that shows a panel."""

    def move(desk: Desk, _page: int) -> str:
        desk.look(replace(desk.view, panel=panel))
        return ""

    return move


def overview(desk: Desk, _page: int) -> str:
    """Show panel 5, and let the arrows move in it."""
    desk.look(replace(desk.view, panel="overview", pane="panel"))
    return "arrows move in the map; enter goes to the tensor"


def value_scale(desk: Desk, _page: int) -> str:
    """Change the scale of values (or counts) of the open panel."""
    view = desk.view
    if view.panel == "curves":
        desk.look(replace(view, log_values=not view.log_values))
        what = safe(view.metric, 60) or view.charted
        return f"{what} on a log axis" if desk.view.log_values else "linear values"
    if view.panel == "channels":
        return "norms are always on a log axis"
    if view.panel == "path":
        return "both axes are in units of distance"
    if view.panel == "overview":
        relative = model.cycled(model.MAP_SCALES, view.map_scale)
        desk.look(replace(view, map_scale=relative))
        return f"shades relative to {relative}"
    if view.panel == "fork":
        symlog = view.count_scale != "symlog"
        desk.look(replace(view, count_scale="symlog" if symlog else "linear"))
        return f"values on a {desk.view.count_scale} axis"
    scale = model.cycled(model.COUNT_SCALES, view.count_scale)
    desk.look(replace(view, count_scale=scale))
    return {
        "linear": "density",
        "symlog": "values on a symlog axis",
        "log count": "log density",
        "cumulative": "share of the values below",
    }[scale]


def step_scale(desk: Desk, _page: int) -> str:
    """Change the scale of steps of the curves."""
    desk.look(replace(desk.view, log_steps=not desk.view.log_steps))
    said = "log steps" if desk.view.log_steps else "linear steps"
    return said if desk.view.panel in ("fork", "curves") else f"{said} (panels 2 and 3)"


def zoom(desk: Desk, _page: int) -> str:
    """Give the panel the whole screen, or take it back."""
    zoomed = not desk.view.zoom
    desk.look(replace(desk.view, zoom=zoomed, pane="panel" if zoomed else "layers"))
    return ""


def zoom_steps(desk: Desk, by: int) -> str:
    """Show fewer or more steps, around the current one."""
    view, timeline = desk.view, desk.scene.timeline
    if view.panel not in ("fork", "curves"):
        return "panels 2 and 3 have an axis of steps to zoom"
    most = max(0, len(timeline).bit_length() - 2)
    desk.look(replace(view, closer=max(0, min(most, view.closer + by))))
    shown = model.steps_shown(desk.view, timeline)
    if shown is None:
        return "all steps"
    return f"steps {step(shown[0])} to {step(shown[1])}; left and right move, - shows more"


def previous(desk: Desk, _page: int) -> str:
    """Lay the checkpoint before over the histogram, or take it away."""
    desk.look(replace(desk.view, previous=not desk.view.previous))
    said = "with the checkpoint before" if desk.view.previous else "without the checkpoint before"
    return said if desk.view.panel == "histogram" else f"{said} (panel 1)"


def fork_view(desk: Desk, _page: int) -> str:
    """Show the fork diagram of the values, or of the norms of rows or columns."""
    shown = model.cycled(model.FORK_VIEWS, desk.view.fork_view)
    desk.look(replace(desk.view, fork_view=shown, panel="fork"))
    return {
        "elements": "the values of the tensor",
        "rows": "the norms of its rows",
        "columns": "the norms of its columns",
    }[shown]


def probe(desk: Desk, by: int) -> str:
    """Move the place where the histogram is read off."""
    at = desk.view.probe
    at = 0.5 if at is None else max(0.0, min(1.0, at + by / PROBES))
    desk.look(replace(desk.view, probe=at))
    return ""
