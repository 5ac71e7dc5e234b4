"""Wakes the poller early when the kernel says that the run directory changed.

A hint only: events are lost on network file systems, on overflow and when the directory is made
anew, so every wait ends by its time anyway.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from forkmon.runs.filesystem import kind

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

# Opening and closing without writing is what forkmon itself does all the time.
_CHANGES = frozenset({"created", "modified", "moved", "deleted", "closed"})
_CONTAINERS = ("checkpoints", "ckpts", "ckpt", "weights")
_JOIN_SECONDS = 2.0


class Wake:
    """Waits for a while, or until something in the watched directory changes."""

    def __init__(self, root: Path) -> None:
        self._changed = threading.Event()
        self._observer = _observe(root, self._changed)

    @property
    def watching(self) -> bool:
        """Return whether events can end a wait early."""
        return self._observer is not None

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, earlier when something changed since the last call."""
        self._changed.wait(seconds)
        self._changed.clear()

    def interrupt(self) -> None:
        """End the wait now."""
        self._changed.set()

    def close(self) -> None:
        """Stop watching."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(_JOIN_SECONDS)
            self._observer = None


def _observe(root: Path, changed: threading.Event) -> BaseObserver | None:
    if not root.is_dir() or kind(root).network:
        return None
    try:
        from watchdog.events import FileSystemEventHandler
        from watchdog.observers import Observer
    except ImportError:
        return None

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type in _CHANGES:
                changed.set()

    observer: BaseObserver = Observer()
    observer.daemon = True
    try:
        for place in (root, *(root / name for name in _CONTAINERS)):
            if place.is_dir():
                observer.schedule(Handler(), str(place), recursive=False)
        observer.start()
    except (OSError, RuntimeError):  # out of inotify instances or watches
        observer.unschedule_all()
        return None
    return observer
