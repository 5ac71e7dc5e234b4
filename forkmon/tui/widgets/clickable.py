"""The panes that a mouse can be used on: they only tell where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

from forkmon.tui.widgets.line_view import LineView

if TYPE_CHECKING:
    from textual import events


class LayerTree(LineView):
    """Paints the tree, and tells where it was clicked."""

    class Clicked(Message):
        """A line of the tree was clicked, the heading being line 0."""

        def __init__(self, line: int) -> None:
            super().__init__()
            self.line = line

    class Wheeled(Message):
        """The wheel was turned over the tree."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def on_click(self, event: events.Click) -> None:
        """Pass the clicked line on."""
        self.post_message(self.Clicked(event.y))

    def on_mouse_scroll_down(self) -> None:
        """Pass the wheel on."""
        self.post_message(self.Wheeled(3))

    def on_mouse_scroll_up(self) -> None:
        """Pass the wheel on."""
        self.post_message(self.Wheeled(-3))


class AlertsPane(LineView):
    """Paints the alerts, and tells which line was clicked."""

    class Clicked(Message):
        """A line of the pane was clicked."""

        def __init__(self, line: int) -> None:
            super().__init__()
            self.line = line

    def on_click(self, event: events.Click) -> None:
        """Pass the clicked line on."""
        self.post_message(self.Clicked(event.y))
