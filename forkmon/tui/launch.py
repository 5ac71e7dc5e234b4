"""What the app is started with; the one thing a command has to know of the UI."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from forkmon.tui.source import Source


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of the UI."""

    run: Path
    """The watched directory, or the store's own path for a viewer."""
    store: Path
    open_source: Callable[[], Source]
    """Opens the store for reading; StoreError while there is none. Called from any thread."""
    worker: tuple[str, ...] | None = None
    """The worker's whole command line; None shows a history and starts nothing."""
    title: str = ""
    """What the run is called; empty is what the store of a viewer says, else the end of `run`."""
    theme: str = "dark"
    ascii: bool = False
    no_color: bool = False
    mouse: bool = False
    now: Callable[[], float] = time.time
    keymap: Mapping[str, str] = field(default_factory=dict[str, str])
    """Action id -> keys; see `forkmon.tui.actions`."""
    bell: bool = False
    """Ring for new alerts."""
    desktop_note: bool = False
    """Tell new alerts to terminals that know OSC 9."""
    warnings: tuple[str, ...] = ()
    """Sentences for the first seconds, for instance about the config file."""

    @property
    def name(self) -> str:
        """Return what the run is called."""
        return self.title or self.run.name or str(self.run)
