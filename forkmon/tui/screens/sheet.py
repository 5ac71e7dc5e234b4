"""A sheet over the screen: lines to read (help, an explanation) or to choose from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.screen import ModalScreen

from forkmon.draw.cells import fit
from forkmon.draw.ink import Ink, Line, Span
from forkmon.tui.widgets.line_view import NO_CURSOR, LineView
from forkmon.tui.widgets.words import ends

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from textual import events
    from textual.app import ComposeResult

    from forkmon.draw.glyphs import Glyphs
    from forkmon.tui.theme import Palette

MARGIN = 4
"""Columns and rows of the screen that stay visible around a sheet, both sides together."""

WIDEST = 100


def _no_head(_width: int) -> Sequence[Line]:
    return ()


@dataclass(frozen=True, slots=True)
class Contents:
    """What a sheet shows and what can be done with it."""

    lines: Callable[[int], Sequence[Line]]
    """Makes the lines for a width; they scroll."""
    choices: bool = False
    """Whether one of the lines is chosen."""
    chosen: int = 0
    keys: Mapping[str, Callable[[int], bool]] = field(
        default_factory=dict[str, "Callable[[int], bool]"]
    )
    """Key -> what it does with the index of the chosen line; True closes the sheet."""
    head: Callable[[int], Sequence[Line]] = _no_head
    """Makes the lines that stay above the others."""
    foot: str = ""
    """Names the keys."""


class Sheet(ModalScreen[int | None], inherit_bindings=False):
    """Shows lines made for its width; scrolls; with `choices`, enter dismisses with an index."""

    DEFAULT_CSS = """
    Sheet { align: center middle; background: $background 60%; }
    Sheet LineView { background: $surface; padding: 1 2; }
    """
    BINDINGS = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
        Binding("home", "move(-100000)", show=False),
        Binding("end", "move(100000)", show=False),
        Binding("enter", "choose", show=False),
        Binding("escape,q,question_mark,e,o,v,ctrl+c", "close", show=False),
    ]

    def __init__(self, contents: Contents, palette: Palette, glyphs: Glyphs) -> None:
        super().__init__()
        self._contents = contents
        self._palette = palette
        self._glyphs = glyphs
        self._at = contents.chosen
        self._top = 0

    def on_key(self, event: events.Key) -> None:
        """Do what a key of this sheet is for; the other keys are bindings."""
        do = self._contents.keys.get(event.key)
        if do is None:
            return
        event.stop()
        event.prevent_default()
        if do(self._at):
            self.dismiss(None)
        else:
            self._paint()

    def repaint(self) -> None:
        """Ask for the lines again: they may have changed."""
        self._paint()

    def compose(self) -> ComposeResult:
        """Hold one view of lines."""
        yield LineView(id="sheet")

    def on_mount(self) -> None:
        """Paint once the size is known."""
        for view in self.query(LineView):
            view.dye(self._palette)
        self._paint()

    def on_resize(self, _event: events.Resize) -> None:
        """Wrap again."""
        self._paint()

    def _paint(self) -> None:
        width = max(20, min(WIDEST, self.size.width - MARGIN) - 4)
        lines = list(self._contents.lines(width))
        head = [fit(line, width, self._glyphs) for line in self._contents.head(width)]
        room = max(1, self.size.height - MARGIN - 3 - len(head))
        self._at = max(0, min(self._at, len(lines) - 1))
        if self._contents.choices:
            self._top = max(min(self._top, self._at), self._at - room + 1)
        self._top = max(0, min(self._top, len(lines) - room))
        shown = [fit(line, width, self._glyphs) for line in lines[self._top : self._top + room]]
        cursor = len(head) + self._at - self._top if self._contents.choices else NO_CURSOR
        foot = self._foot(len(lines), room, width)
        # None yet, or none any more: keys that come in one packet outrun the sheet's own life.
        for view in self.query(LineView):
            view.styles.width = width + 4
            view.styles.height = len(head) + len(shown) + 4
            view.show([*head, *shown, (), foot], cursor)

    def _foot(self, total: int, room: int, width: int) -> Line:
        more = f"{self._top + 1}-{min(total, self._top + room)} of {total}" if total > room else ""
        keys = "enter chooses   esc closes" if self._contents.choices else "esc closes"
        if self._contents.foot:
            keys = f"{self._contents.foot}   esc closes"
        return ends((Span(keys, Ink.MUTED),), (Span(f"  {more}", Ink.MUTED),), width, self._glyphs)

    def action_move(self, by: int) -> None:
        """Scroll, or move the choice."""
        if self._contents.choices:
            self._at += by
        else:
            self._top += by
        self._paint()

    def action_page(self, by: int) -> None:
        """Scroll by a page."""
        self.action_move(by * max(1, self.size.height - MARGIN - 4))

    def action_choose(self) -> None:
        """Answer with the choice; a sheet to read just closes."""
        self.dismiss(self._at if self._contents.choices else None)

    def action_close(self) -> None:
        """Close without an answer."""
        self.dismiss(None)
