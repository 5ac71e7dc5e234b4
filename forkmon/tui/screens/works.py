"""Everything of the main screen that its first paint can do without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.text import safe
from forkmon.tui.desk import Desk
from forkmon.tui.feed import Feed
from forkmon.tui.scene import Scene
from forkmon.tui.screens.filter_keys import FilterKeys
from forkmon.tui.screens.keeper import Keeper
from forkmon.tui.screens.opener import Opener
from forkmon.tui.screens.painter import Painter
from forkmon.tui.watching import Watch

if TYPE_CHECKING:
    from forkmon.draw.glyphs import Glyphs
    from forkmon.tui.launch import Launch
    from forkmon.tui.screens.main import MainScreen


class Works:
    """The desk of a screen, and what serves it."""

    def __init__(self, screen: MainScreen, launch: Launch, glyphs: Glyphs) -> None:
        self.desk = Desk(Scene(title=safe(launch.name)))
        self.watching = Watch(viewer=launch.worker is None, started=launch.now())
        self.feed = Feed(screen, launch, self.desk)
        self.typing = FilterKeys(self.desk, launch.keymap)
        self.keeper = Keeper(self.desk, launch.store)
        self.opener = Opener(screen, launch, glyphs)
        self.painter = Painter(screen, glyphs)
