"""Brings the store to the screen: loads scenes in a thread, at most four a second."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from forkmon.errors import StoreError
from forkmon.store.place import state_directory
from forkmon.text import safe
from forkmon.tui import messages, scene

if TYPE_CHECKING:
    from textual.message import Message
    from textual.timer import Timer

    from forkmon.tui.desk import Desk
    from forkmon.tui.fetching import Found, Wanted
    from forkmon.tui.launch import Launch
    from forkmon.tui.scene import Scene
    from forkmon.tui.screens.main import MainScreen

REDRAW_SECONDS = 0.25
"""Data redraws at most this often; keys paint at once."""


class Feed:
    """Decides when the store is looked at, and never twice at the same time."""

    def __init__(self, screen: MainScreen, launch: Launch, desk: Desk) -> None:
        self._screen = screen
        self._launch = launch
        self._desk = desk
        self._loading = False
        self._again = False
        self._loaded_at = -REDRAW_SECONDS
        self._timer: Timer | None = None
        self._redraw: Timer | None = None
        self._version = -1
        self._wanted: list[Wanted] = []
        self._fetching = False

    def want(self) -> None:
        """Load a new scene soon."""
        if self._loading:
            self._again = True
            return
        if self._timer is not None:
            return
        wait = self._loaded_at + REDRAW_SECONDS - time.monotonic()
        if wait > 0:
            self._timer = self._screen.set_timer(wait, self._begin)
        else:
            self._begin()

    def redraw_soon(self) -> None:
        """Paint within the quarter of a second, once for everything said in it."""
        if self._redraw is None:
            self._redraw = self._screen.set_timer(REDRAW_SECONDS, self._paint)

    def _paint(self) -> None:
        self._redraw = None
        self._screen.repaint()

    def _begin(self) -> None:
        self._timer = None
        self._loading = True
        self._screen.run_worker(self._load, thread=True, group="scene", exit_on_error=True)

    def _load(self) -> None:
        """Read a scene; in a thread, with a connection of its own."""
        before = self._desk.scene if self._desk.scene.timeline else None
        progress = self._screen.watching.progress
        said: Message
        try:
            said = messages.SceneLoaded(
                scene.load(self._launch.open_source, self._title(), before, progress)
            )
        except StoreError as error:
            said = messages.SceneUnavailable(safe(error))
        with contextlib.suppress(RuntimeError):  # the person left meanwhile
            self._screen.post_message(said)

    def _title(self) -> str:
        """Return what the run is called; a viewer without a title asks the store."""
        launch = self._launch
        return launch.title if launch.worker is None else launch.name

    def loaded(self, found: Scene) -> None:
        """Hand a scene to the desk, with a connection for the small reads."""
        self._finished()
        try:
            if self._desk.source is None:
                self._desk.source = self._launch.open_source()
                self._version = self._desk.source.version()
        except StoreError as error:
            self.lost(str(error))
            return
        if self._screen.watching.store_problem:
            self._screen.watched(store_problem="")
        self._desk.arrive(found)

    def fetch(self, wanted: list[Wanted]) -> None:
        """Read in a thread what the last painting missed; what an older one missed is forgotten."""
        self._wanted = wanted
        if self._fetching or not wanted:
            return
        self._fetching = True
        # Not one of asyncio's threads: leaving waits for those.
        Thread(target=self._fetch, args=(self._wanted.pop(0),), daemon=True).start()

    def _fetch(self, wanted: Wanted) -> None:
        found: Found | None = None
        with contextlib.suppress(StoreError):
            from forkmon.tui import slow_reads  # after first paint

            source = self._launch.open_source()
            try:
                found = slow_reads.read(source, wanted)
            finally:
                source.close()
        with contextlib.suppress(RuntimeError):  # the person left meanwhile
            self._screen.post_message(messages.Fetched(wanted.key, found))

    def fetched(self) -> None:
        """Go on with what is still wanted."""
        self._fetching = False
        self.fetch(self._wanted)

    def missing(self) -> None:
        """Note that there is no store (yet): the next tick looks again."""
        self._finished()
        self._version = -1

    def _finished(self) -> None:
        self._loading = False
        self._loaded_at = time.monotonic()
        if self._again:
            self._again = False
            self.want()

    def lost(self, reason: str) -> None:
        """Say that the store cannot be read any more, and open it again later."""
        self.close()
        self._screen.watched(store_problem=reason)

    def close(self) -> None:
        """Close the connection of the small reads."""
        if self._desk.source is not None:
            self._desk.source.close()
            self._desk.source = None
        self._version = -1

    def check_version(self) -> None:
        """Look whether somebody stored something; without a connection, try to get one."""
        source = self._desk.source
        if source is None:
            self.want()
            return
        try:
            version = source.version()
        except StoreError as error:
            self.lost(str(error))
            return
        if version != self._version:
            self._version = version
            self.want()

    def screenshot(self) -> str:
        """Save the screen as SVG here, or under the state directory; return where."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name = f"forkmon-{stamp}.svg"
        svg = self._screen.host.export_screenshot(title=f"forkmon {self._desk.scene.title}")
        for directory in (Path.cwd(), state_directory()):
            try:
                if _inside(directory, self._launch.run):
                    continue  # nothing is ever written into a watched directory
                directory.mkdir(parents=True, exist_ok=True)
                (directory / name).write_text(svg, "utf-8")
            except OSError:
                continue
            return f"saved {safe(directory / name, 300)}"
        return "the screenshot could not be saved: neither here nor in the state directory"


def _inside(directory: Path, run: Path) -> bool:
    try:
        return directory.resolve().is_relative_to(run.resolve())
    except OSError:
        return False
