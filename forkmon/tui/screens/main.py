"""The main screen: keys become moves of the desk, news becomes a new scene, both are painted."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from forkmon import wire
from forkmon.errors import StoreError
from forkmon.text import safe
from forkmon.tui import actions, messages
from forkmon.tui.desk import Desk
from forkmon.tui.feed import Feed
from forkmon.tui.model import CHOICES, chosen
from forkmon.tui.moves import MOVES
from forkmon.tui.scene import Scene
from forkmon.tui.screens import sheets
from forkmon.tui.screens.help import help_lines
from forkmon.tui.screens.painter import Painter, Picture
from forkmon.tui.screens.sheet import Sheet
from forkmon.tui.watching import Watch, stall
from forkmon.tui.widgets.alerts import AlertsPane, explained
from forkmon.tui.widgets.filter import Editor
from forkmon.tui.widgets.layer_tree import LayerTree
from forkmon.tui.widgets.line_view import LineView

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual import events
    from textual.app import App, ComposeResult
    from textual.timer import Timer

    from forkmon.draw.glyphs import Glyphs
    from forkmon.draw.ink import Line
    from forkmon.stats.alert import Alert
    from forkmon.tui.frame import Frame
    from forkmon.tui.launch import Launch
    from forkmon.tui.supervisor import Supervisor
    from forkmon.tui.theme import Palette

TICK_SECONDS = 1.0
"""How often the store's version, the ages and a stall are looked at."""

FLASH_SECONDS = 6.0
"""How long the answer to a key stands in the bottom line."""


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


class MainScreen(Screen[None], inherit_bindings=False):
    """Everything but the sheets."""

    BINDINGS = list(actions.bindings())

    def __init__(self, launch: Launch, glyphs: Glyphs, palette: Palette, host: App[int]) -> None:
        super().__init__()
        self.host = host
        self._launch = launch
        self._glyphs = glyphs
        self._palette = palette
        self._painter = Painter(self, glyphs)
        self._frame: Frame | None = None
        self._editor: Editor | None = None
        self._filter_keys = actions.keys_of("filter", launch.keymap)
        self._flash = ""
        self._flash_timer: Timer | None = None
        self._curves_due = False
        self._minute = -1
        self._focused_tensor = ""
        self.desk = Desk(Scene(title=safe(launch.name)))
        self.watching = Watch(viewer=launch.worker is None, started=launch.now())
        self.supervisor: Supervisor | None = None
        self.feed = Feed(self, launch, self.desk)

    def compose(self) -> ComposeResult:
        """Lay the panes out; what is in them comes from `repaint`."""
        yield LineView(id="header")
        with Horizontal(id="body"):
            yield LayerTree(id="tree")
            yield LineView(id="rule")
            with Vertical(id="right"):
                yield LineView(id="head")
                yield LineView(id="panel")
                yield LineView(id="details")
        yield LineView(id="waiting")
        yield LineView(id="too-small")
        yield AlertsPane(id="alerts")
        yield LineView(id="filter")
        yield LineView(id="status")

    def on_mount(self) -> None:
        """Paint an empty frame first, look at the store second."""
        self.dye(self._palette)
        self.set_interval(TICK_SECONDS, self._tick)
        for text in self._launch.warnings[:1]:
            self.flash(text)
        self.call_after_refresh(self.feed.want)

    def dye(self, palette: Palette) -> None:
        """Paint with other colours from now on."""
        self._palette = palette
        for view in self.query(LineView):
            view.dye(palette)

    def on_resize(self, _event: events.Resize) -> None:
        """Divide the screen again."""
        self.repaint()

    # -- painting --------------------------------------------------------------------------

    def repaint(self) -> None:
        """Paint what lies on the desk; only what differs from the screen is sent."""
        if not self.is_mounted:
            return
        picture = Picture(
            watch=self.watching,
            run=str(self._launch.run),
            stderr=tuple(self.supervisor.stderr) if self.supervisor is not None else (),
            editor=self._editor,
            flash=self._flash,
            now=self._launch.now(),
        )
        width, height = self.host.size
        try:
            self._frame = self._painter.paint(self.desk, picture, width, height)
        except StoreError as error:
            self.feed.lost(str(error))
            return
        self.feed.fetch(self.desk.shelf.missed())
        if self._frame is not None and self.desk.view.panel == "curves" and not self._curves_due:
            self._curves_due = True
            self.call_after_refresh(self._paint_curves)

    def _paint_curves(self) -> None:
        self._curves_due = False
        if self._frame is None or self.desk.view.panel != "curves":
            return
        try:
            self._painter.paint_curves(self.desk, self._frame)
        except StoreError as error:
            self.feed.lost(str(error))
            return
        missed = self.desk.shelf.missed()
        if missed:
            self.feed.fetch(missed)

    def flash(self, text: str) -> None:
        """Answer a key in the bottom line for a while."""
        self._flash = text
        if self._flash_timer is not None:
            self._flash_timer.stop()
        self._flash_timer = self.set_timer(FLASH_SECONDS, self._unflash) if text else None

    def _unflash(self) -> None:
        self._flash = ""
        self.repaint()

    # -- news ------------------------------------------------------------------------------

    def watched(self, **changes: object) -> None:
        """Note what the worker said, and paint it soon."""
        self.watching = replace(self.watching, **changes)  # type: ignore[arg-type]
        self.feed.redraw_soon()

    def on_worker_changed(self, message: messages.WorkerChanged) -> None:
        """Show the worker's state; one that is gone has no progress."""
        if message.state.phase in ("live", "waiting"):
            self.watched(worker=message.state)
        else:
            self.watched(worker=message.state, progress=None)

    def on_worker_greeted(self, message: messages.WorkerGreeted) -> None:
        """Show the device."""
        self.watched(hello=message.hello)
        self._focused_tensor = ""
        self._tell_focus()

    def on_run_polled(self, message: messages.RunPolled) -> None:
        """Show the queue; what is ignored is in the store."""
        self.watched(polled=message.polled)
        self.feed.want()

    def on_analysis_progressed(self, message: messages.AnalysisProgressed) -> None:
        """Show how far the analysis is."""
        self.watched(progress=message.progress)

    def on_store_changed(self, _message: messages.StoreChanged) -> None:
        """Look at the store again."""
        self.watched(progress=None)
        self.feed.want()

    def on_checkpoint_failed(self, message: messages.CheckpointFailed) -> None:
        """Say which checkpoint could not be read."""
        name = message.failed.path.rstrip("/").rpartition("/")[2]
        self.watched(progress=None)
        self.flash(f"{safe(name, 60)}: {safe(message.failed.reason)}")
        self.feed.want()

    def on_worker_logged(self, message: messages.WorkerLogged) -> None:
        """Show a sentence of the worker's."""
        self.flash(message.text)
        self.feed.redraw_soon()

    def on_scene_loaded(self, message: messages.SceneLoaded) -> None:
        """Take the new scene and paint it."""
        self.feed.loaded(message.scene)
        self.desk.notice(self._stall())
        self.repaint()
        self._tell_focus()

    def on_fetched(self, message: messages.Fetched) -> None:
        """Show what was read in a thread."""
        self.desk.shelf.put(message.key, message.found)
        self.feed.fetched()
        self.repaint()

    def on_scene_unavailable(self, message: messages.SceneUnavailable) -> None:
        """Say why there is nothing to see; a missing store is just not there yet."""
        self.feed.missing()
        if self.watching.viewer or self.desk.scene.timeline:
            self.watched(store_problem=message.reason)

    def _tick(self) -> None:
        self.feed.check_version()
        now = self._launch.now()
        changed = self.desk.notice(self._stall())
        newest = self.desk.scene.timeline[-1].mtime if self.desk.scene.timeline else now
        minute = int((now - newest) // 60)
        if changed or minute != self._minute:
            self._minute = minute
            self.repaint()

    def _stall(self) -> tuple[Alert, ...]:
        found = stall(self.desk.scene.timeline, self.watching, self._launch.now())
        return () if found is None else (found,)

    # -- keys ------------------------------------------------------------------------------

    def action_do(self, name: str) -> None:
        """Do what a key asks for; the table of actions says which."""
        move = MOVES.get(name)
        if move is None:
            self._own()[name]()
            return
        page = max(1, (self._frame.body if self._frame is not None else 10) - 3)
        try:
            self.flash(move(self.desk, page))
        except StoreError as error:
            self.feed.lost(str(error))
        self.repaint()
        self._tell_focus()

    def _own(self) -> dict[str, Callable[[], object]]:
        return {
            "filter": self._edit_filter,
            "explain": self._explain,
            "provenance": self._provenance,
            "statistic": self._choose_statistic,
            "help": self._help,
            "rescan": self._rescan,
            "palette": self.host.action_command_palette,
            "screenshot": self._screenshot,
            "suspend": self.host.action_suspend_process,
            "leave": partial(self.host.exit, 0),
            "interrupt": partial(self.host.exit, 130),
        }

    def on_key(self, event: events.Key) -> None:
        """While the filter is edited, keys are text.

        The filter opens here and not by its binding, which runs only when the key has bubbled up:
        keys that arrive together (a paste, a slow line) would overtake it.
        """
        if self._editor is None:
            if event.key in self._filter_keys:
                event.stop()
                event.prevent_default()
                self._edit_filter()
            return
        event.stop()
        event.prevent_default()
        if event.key in ("enter", "tab", "down", "up"):
            self._editor = None
        elif event.key in ("escape", "ctrl+c"):
            self._editor = None
            self.desk.look(replace(self.desk.view, filter=""))
        else:
            edited = self._editor.pressed(event.key)
            if edited is None and event.character and event.is_printable:
                edited = self._editor.typed(event.character)
            self._edited(edited)
        self.repaint()

    def on_paste(self, event: events.Paste) -> None:
        """Paste into the filter."""
        if self._editor is not None:
            event.stop()
            self._edited(self._editor.typed(event.text))
            self.repaint()

    def _edited(self, editor: Editor | None) -> None:
        if editor is not None:
            self._editor = editor
            self.desk.look(replace(self.desk.view, filter=editor.text))

    def _edit_filter(self) -> None:
        text = self.desk.view.filter
        self._editor = Editor(text, len(text))
        self.desk.look(replace(self.desk.view, pane="layers", zoom=False))
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
                MOVES["open"](self.desk, 1)
        self.repaint()
        self._tell_focus()

    def on_layer_tree_wheeled(self, message: LayerTree.Wheeled) -> None:
        """Move the cursor with the wheel."""
        self.desk.look(replace(self.desk.view, pane="layers"))
        MOVES["page-down" if message.by > 0 else "page-up"](self.desk, abs(message.by))
        self.repaint()

    def on_alerts_pane_clicked(self, message: AlertsPane.Clicked) -> None:
        """Choose the clicked alert."""
        self.desk.look(replace(self.desk.view, pane="alerts", alert=max(0, message.line - 1)))
        MOVES["open"](self.desk, 1)
        self.repaint()

    # -- sheets and the rest ---------------------------------------------------------------

    def _sheet(self, lines: Callable[[int], Sequence[Line]]) -> None:
        self.host.push_screen(Sheet(lines, self._palette, self._glyphs))

    def _help(self) -> None:
        overrides = self._launch.keymap
        self._sheet(lambda width: help_lines(overrides, width, self._glyphs))

    def _explain(self) -> None:
        alerts = self.desk.alerts
        if not alerts:
            self.flash("no alerts")
            self.repaint()
            return
        alert = alerts[max(0, min(self.desk.view.alert, len(alerts) - 1))]
        self._sheet(lambda width: explained(alert, width, self._glyphs))

    def _provenance(self) -> None:
        subject = self.desk.subject
        if subject is None:
            return
        known = sheets.Known()
        if subject.entry is not None:
            place = subject.entry.id, subject.current.id
            with contextlib.suppress(StoreError):
                known = sheets.Known(
                    self.desk.stat(*place),
                    self.desk.digest(*place),
                    self.desk.note(subject.entry.name),
                )
        store = str(self._launch.store)
        self._sheet(
            lambda width: sheets.provenance_lines(subject, known, store, width, self._glyphs)
        )

    def _choose_statistic(self) -> None:
        names = [name for name, _ in CHOICES]
        now = self.desk.view.charted

        def picked(index: int | None) -> None:
            if index is not None:
                self.desk.look(chosen(self.desk.view, names[index]))
                self.repaint()

        sheet = Sheet(
            lambda width: sheets.statistic_lines(now, width, self._glyphs),
            self._palette,
            self._glyphs,
            choices=True,
            chosen=names.index(now),
        )
        self.host.push_screen(sheet, picked)

    def _rescan(self) -> None:
        if self.supervisor is None:
            self.feed.want()
            self.flash("looked at the store again")
        else:
            self.supervisor.nudge()
            self.supervisor.send(wire.Rescan())
            self.flash("looking again")
        self.repaint()

    def _screenshot(self) -> None:
        self.flash(self.feed.screenshot())
        self.repaint()

    def _tell_focus(self) -> None:
        """Tell the worker which tensor to analyse first."""
        subject = self.desk.subject if self.supervisor is not None else None
        if subject is None or subject.entry is None or subject.entry.kind != "tensor":
            return
        if subject.entry.name != self._focused_tensor and self.supervisor is not None:
            self._focused_tensor = subject.entry.name
            self.supervisor.send(wire.Focus(self._focused_tensor))
