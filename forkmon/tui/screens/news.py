"""What the main screen hears from worker, store and clock, and what it makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forkmon.text import safe
from forkmon.tui import messages
from forkmon.tui.screens.stage import Stage

if TYPE_CHECKING:
    from forkmon.stats.alert import Alert


class News(Stage, inherit_bindings=False):
    """Takes news to the desk and has it painted."""

    _minute = -1
    _focused_tensor = ""

    def watched(self, **changes: object) -> None:
        """Note what the worker said, and paint it soon."""
        works = self.works
        works.watching = replace(works.watching, **changes)  # type: ignore[arg-type]
        works.feed.redraw_soon()

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
        self.tell_focus()

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
        new = self.desk.new_alerts
        self.feed.loaded(message.scene)
        self.keeper.arrived()
        if self.desk.new_alerts > new and self.desk.open_alerts:
            worst = self.desk.open_alerts[0]
            said = f"{self.desk.new_alerts - new:,} new: {worst.kind}, {worst.message}"
            self.post_message(messages.AlertsArrived(safe(said, 200)))
        self.desk.notice(self._stall())
        self.repaint()
        self.tell_focus()

    def on_fetched(self, message: messages.Fetched) -> None:
        """Show what was read in a thread."""
        self.desk.shelf.put(message.key, message.found)
        self.feed.fetched()
        self.repaint()
        self.works.opener.refreshed()

    def on_scene_unavailable(self, message: messages.SceneUnavailable) -> None:
        """Say why there is nothing to see; a missing store is just not there yet."""
        self.feed.missing()
        if self.watching.viewer or self.desk.scene.timeline:
            self.watched(store_problem=message.reason)

    def tick(self) -> None:
        """Look at the store's version, the ages and a stall."""
        if self._works is None:
            return
        self.feed.check_version()
        self.keep()
        now = self._launch.now()
        changed = self.desk.notice(self._stall())
        newest = self.desk.scene.timeline[-1].mtime if self.desk.scene.timeline else now
        minute = int((now - newest) // 60)
        if changed or minute != self._minute:
            self._minute = minute
            self.repaint()

    def keep(self) -> None:
        """Write the person's marks and view down where they changed."""
        problem = self.keeper.save()
        if problem:
            self.flash(f"marks {problem}")

    def _stall(self) -> tuple[Alert, ...]:
        from forkmon.tui.watching import stall

        found = stall(self.desk.scene.timeline, self.watching, self._launch.now())
        return () if found is None else (found,)

    def tell_focus(self) -> None:
        """Tell the worker which tensor to analyse first."""
        from forkmon import wire
        from forkmon.stats.roles import qualified

        subject = self.desk.subject if self.supervisor is not None else None
        if subject is None or subject.entry is None or subject.entry.kind != "tensor":
            return
        name = qualified(subject.entry.name, subject.entry.role)
        if name != self._focused_tensor and self.supervisor is not None:
            self._focused_tensor = name
            self.supervisor.send(wire.Focus(self._focused_tensor))
