"""The main screen: keys become moves of the desk, news becomes a new scene, both are painted."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from forkmon.draw.ink import plain
from forkmon.errors import StoreError
from forkmon.tui import actions
from forkmon.tui.screens.news import News
from forkmon.tui.widgets.line_view import LineView

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual import events

    from forkmon.tui.screens.works import Works
    from forkmon.tui.widgets.clickable import AlertsPane, LayerTree

TICK_SECONDS = 1.0
"""How often the store's version, the ages and a stall are looked at."""

STYLE = """
MainScreen { layout: vertical; overflow: hidden; background: $background; }
#body { height: 1fr; }
#rule { width: 1; height: 1fr; }
#tree, #panel { height: 1fr; }
#head { height: 2; }
#waiting, #too-small { height: 1fr; display: none; }
#filter { display: none; }
"""
"""The app's style sheet: Textual does not read that of a default screen."""


class MainScreen(News, inherit_bindings=False):
    """Everything but the sheets."""

    BINDINGS = list(actions.bindings())

    def _equipped(self) -> Works:
        from forkmon.tui.screens.works import Works

        return Works(self, self._launch, self._glyphs)

    def on_mount(self) -> None:
        """Paint an empty frame first, look at the store second."""
        self.dye(self.palette)
        self.set_interval(TICK_SECONDS, self.tick)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """Take up what was kept, and look at the store."""
        self.keeper.load()
        for text in self._launch.warnings[:1]:
            self.flash(text)
        self.repaint()
        self.feed.want()

    # -- keys ------------------------------------------------------------------------------

    def action_do(self, name: str) -> None:
        """Do what a key asks for; the table of actions says which."""
        own = self._own().get(name)
        if own is not None:
            own()
            return
        self._move(name, max(1, (self._frame.body if self._frame is not None else 10) - 3))

    def _move(self, name: str, page: int) -> None:
        from forkmon.tui.moves import MOVES  # after first paint

        marks = self.desk.marks
        try:
            self.flash(MOVES[name](self.desk, page))
            if self.desk.marks is not marks:
                self.keep()
        except StoreError as error:
            self.feed.lost(str(error))
        self.repaint()
        self.tell_focus()

    def _own(self) -> dict[str, Callable[[], object]]:
        opener = self.works.opener
        return {
            "filter": self._edit_filter,
            "explain": opener.explain,
            "provenance": opener.provenance,
            "statistic": opener.statistic,
            "diff": opener.difference,
            "copy": self._copy,
            "help": opener.help,
            "rescan": self._rescan,
            "palette": self.host.action_command_palette,
            "screenshot": self._screenshot,
            "suspend": self.host.action_suspend_process,
            "leave": partial(self.host.exit, 0),
            "interrupt": partial(self.host.exit, 130),
        }

    def on_key(self, event: events.Key) -> None:
        """While the filter is edited, keys are text."""
        if self.works.typing.pressed(event):
            self.repaint()

    def on_paste(self, event: events.Paste) -> None:
        """Paste into the filter."""
        if self.works.typing.pasted(event):
            self.repaint()

    def _edit_filter(self) -> None:
        self.works.typing.open()
        self.repaint()

    def on_layer_tree_clicked(self, message: LayerTree.Clicked) -> None:
        """Move the cursor to the clicked row; a second click opens it."""
        at = self.desk.top + message.line - 1
        again = at == self.desk.cursor
        self.desk.look(replace(self.desk.view, pane="layers"))
        if message.line > 0 and at < len(self.desk.rows):
            path = self.desk.scene.tree.nodes[self.desk.rows[at].node].path
            self.desk.look(replace(self.desk.view, path=path))
            if again:
                self._move("open", 1)
        self.repaint()
        self.tell_focus()

    def on_layer_tree_wheeled(self, message: LayerTree.Wheeled) -> None:
        """Move the cursor with the wheel."""
        self.desk.look(replace(self.desk.view, pane="layers"))
        self._move("page-down" if message.by > 0 else "page-up", abs(message.by))

    def on_alerts_pane_clicked(self, message: AlertsPane.Clicked) -> None:
        """Choose the clicked alert."""
        self.desk.look(replace(self.desk.view, pane="alerts", alert=max(0, message.line - 1)))
        self._move("open", 1)

    # -- sheets and the rest ---------------------------------------------------------------

    def _rescan(self) -> None:
        from forkmon import wire

        if self.supervisor is None:
            self.feed.want()
            self.flash("looked at the store again")
        else:
            self.supervisor.nudge()
            self.supervisor.send(wire.Rescan())
            self.flash("looking again")
        self.repaint()

    def _copy(self) -> None:
        """Copy the panel as text, through the terminal's clipboard (OSC 52)."""
        views = [self.query_one(f"#{name}", LineView) for name in ("head", "panel", "details")]
        lines = plain(line for view in views for line in view.lines)
        self.host.copy_to_clipboard("\n".join(line.rstrip() for line in lines) + "\n")
        self.say(f"{len(lines)} lines copied, if the terminal takes OSC 52; ctrl+s saves an SVG")

    def _screenshot(self) -> None:
        self.flash(self.feed.screenshot())
        self.repaint()
