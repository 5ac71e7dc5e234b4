"""The keys while the filter is typed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forkmon.tui.actions import keys_of
from forkmon.tui.widgets.filter import Editor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual import events

    from forkmon.tui.desk import Desk


class FilterKeys:
    """A filter being edited, or none."""

    def __init__(self, desk: Desk, keymap: Mapping[str, str]) -> None:
        self._desk = desk
        self._opens = keys_of("filter", keymap)
        self.editor: Editor | None = None

    def open(self) -> None:
        """Edit the filter."""
        text = self._desk.view.filter
        self.editor = Editor(text, len(text))
        self._desk.look(replace(self._desk.view, pane="layers", zoom=False))

    def pressed(self, event: events.Key) -> bool:
        """Take a key if it is the filter's; tell whether it was.

        The filter opens here and not by its binding, which runs only when the key has bubbled up:
        keys that arrive together (a paste, a slow line) would overtake it.
        """
        if self.editor is None:
            if event.key not in self._opens:
                return False
            self.open()
        elif event.key in ("enter", "tab", "down", "up"):
            self.editor = None
        elif event.key in ("escape", "ctrl+c"):
            self.editor = None
            self._desk.look(replace(self._desk.view, filter=""))
        else:
            edited = self.editor.pressed(event.key)
            if edited is None and event.character and event.is_printable:
                edited = self.editor.typed(event.character)
            self._edited(edited)
        event.stop()
        event.prevent_default()
        return True

    def pasted(self, event: events.Paste) -> bool:
        """Take pasted text while the filter is edited; tell whether it was."""
        if self.editor is None:
            return False
        event.stop()
        self._edited(self.editor.typed(event.text))
        return True

    def _edited(self, editor: Editor | None) -> None:
        if editor is not None:
            self.editor = editor
            self._desk.look(replace(self._desk.view, filter=editor.text))
