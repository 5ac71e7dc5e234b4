"""Puts a desk on the main screen's panes: sizes, visibility, lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.tui.layout import fits
from forkmon.tui.widgets.filter import Editor, filter_line
from forkmon.tui.widgets.header import header_line
from forkmon.tui.widgets.line_view import LineView
from forkmon.tui.widgets.status import Hint, status_line
from forkmon.tui.widgets.too_small import too_small_lines
from forkmon.tui.widgets.waiting import waiting_lines
from forkmon.tui.widgets.words import Box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.screen import Screen

    from forkmon.draw.glyphs import Glyphs
    from forkmon.tui.desk import Desk
    from forkmon.tui.frame import Frame
    from forkmon.tui.watching import Watch

COMPACT = 100

HINTS: tuple[Hint, ...] = (
    (", .", "step"), ("b", "baseline"), ("/", "filter"), ("?", "help"), ("q", "quit"),
    ("n", "alert"), ("e", "explain"), ("d", "diff"), ("1-6", "panel"), ("s", "sort"),
    ("v", "statistic"), ("y", "scale"), ("z", "zoom"),
)  # fmt: skip
"""The most useful first: what does not fit is left out from the end."""

HINTS_SHORT: tuple[Hint, ...] = (
    (", .", "step"), ("b", "base"), ("/", "filter"), ("?", "help"), ("q", "quit"), ("n", "alert"),
)  # fmt: skip

HINTS_EMPTY: tuple[Hint, ...] = (("r", "look again"), ("?", "help"), ("q", "quit"))


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is painted and does not lie on the desk."""

    watch: Watch
    run: str
    stderr: Sequence[str]
    editor: Editor | None
    flash: str
    now: float


class Painter:
    """Paints the panes of one screen."""

    def __init__(self, screen: Screen[None], glyphs: Glyphs) -> None:
        self._screen = screen
        self._glyphs = glyphs

    def paint(self, desk: Desk, picture: Picture, width: int, height: int) -> Frame | None:
        """Paint everything but the curves; return the division, None where nothing is divided."""
        if not fits(width, height):
            self._only("too-small")
            self._view("too-small").show(too_small_lines(width, height, self._glyphs))
            return None
        header = header_line(
            desk.scene,
            picture.watch,
            desk.open_alerts,
            now=picture.now,
            width=width,
            glyphs=self._glyphs,
        )
        self._view("header").show([header])
        hints = HINTS_SHORT if width < COMPACT else HINTS
        if not desk.scene.timeline:
            hints = HINTS_EMPTY
        status = status_line(desk.scene, picture.watch, hints, picture.flash, width, self._glyphs)
        self._view("status").show([status])
        if not desk.scene.timeline:
            self._paint_waiting(desk, picture, width, height)
            return None
        from forkmon.tui import frame as frames  # the drawings: after first paint

        editing = picture.editor is not None
        frame = frames.frame_of(desk, width, height, self._glyphs, editing=editing)
        self._divide(frame)
        self._paint_panes(desk, frame)
        if picture.editor is not None:
            self._paint_filter(desk, picture.editor, width)
        return frame

    def paint_curves(self, desk: Desk, frame: Frame) -> None:
        """Paint panel 3: it takes long enough to wait until the cursor has moved."""
        from forkmon.tui import frame as frames

        self._view("panel").show(frames.curves_panel(desk, frame))

    def _paint_panes(self, desk: Desk, frame: Frame) -> None:
        from forkmon.tui import frame as frames

        tree, cursor = frames.tree_lines(desk, frame)
        self._view("tree").show(tree, cursor)
        self._view("rule").show(frames.rule_lines(frame))
        self._view("head").show(frames.panel_head(desk, frame))
        if desk.view.panel == "histogram":
            self._view("panel").show(frames.histogram_panel(desk, frame))
        elif desk.view.panel != "curves":
            draw = {
                "fork": frames.fork_panel,
                "channels": frames.channels_panel,
                "overview": frames.overview_panel,
                "path": frames.path_panel,
            }[desk.view.panel]
            self._view("panel").show(draw(desk, frame))
        self._view("details").show(frames.detail_lines(desk, frame))
        lines, chosen = frames.alert_lines(desk, frame)
        self._view("alerts").show(lines, chosen)

    def _paint_filter(self, desk: Desk, editor: Editor, width: int) -> None:
        found = sum(1 for row in desk.rows if row.opened is None)
        problem = desk.pattern.problem if desk.pattern is not None else ""
        total = desk.scene.tree.tensors
        line = filter_line(editor, found, total, problem, width, self._glyphs)
        self._view("filter").show([line])

    def _paint_waiting(self, desk: Desk, picture: Picture, width: int, height: int) -> None:
        self._only("header", "waiting", "status")
        box = Box(width, height - 2, self._glyphs)
        lines = waiting_lines(desk.scene, picture.watch, picture.stderr, picture.run, box)
        self._view("waiting").show(lines)

    def _divide(self, frame: Frame) -> None:
        plan = frame.plan
        shown = ["header", "body", "status"]
        shown += ["alerts"] if plan.alerts else []
        shown += ["filter"] if frame.editing else []
        self._only(*shown)
        for name in ("tree", "rule"):
            self._view(name).display = plan.tree > 0
        self._view("tree").styles.width = max(1, plan.tree)
        self._view("alerts").styles.height = max(1, plan.alerts)
        self._view("details").styles.height = plan.details

    def _only(self, *shown: str) -> None:
        for name in ("header", "body", "waiting", "too-small", "alerts", "filter", "status"):
            self._screen.query_one(f"#{name}").display = name in shown

    def _view(self, name: str) -> LineView:
        return self._screen.query_one(f"#{name}", LineView)
