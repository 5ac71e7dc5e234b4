"""Opens the sheets of the main screen: what is in them, and what their keys do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from forkmon.errors import StoreError
from forkmon.stats.notes import OF_CHECKPOINT, decode, whereabouts
from forkmon.stats.roles import qualified
from forkmon.tui import alert_moves
from forkmon.tui.actions import keys_of
from forkmon.tui.model import TRAINER, chosen
from forkmon.tui.moves import MOVES
from forkmon.tui.screens import sheets
from forkmon.tui.screens.help import help_lines
from forkmon.tui.screens.sheet import Contents, Sheet
from forkmon.tui.trainer import logged
from forkmon.tui.widgets.difference import difference_head, difference_lines, differing
from forkmon.tui.widgets.explanation import Explained, explained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkmon.draw.glyphs import Glyphs
    from forkmon.draw.ink import Line
    from forkmon.tui.desk import Desk
    from forkmon.tui.fetching import Difference
    from forkmon.tui.launch import Launch
    from forkmon.tui.screens.main import MainScreen


class Opener:
    """Makes sheets for one screen."""

    def __init__(self, screen: MainScreen, launch: Launch, glyphs: Glyphs) -> None:
        self._screen = screen
        self._launch = launch
        self._glyphs = glyphs
        self._sheet: Sheet | None = None

    @property
    def _desk(self) -> Desk:
        return self._screen.desk

    def help(self) -> None:
        """Show every key."""
        overrides = self._launch.keymap
        self._show(lambda width: help_lines(overrides, width, self._glyphs))

    def explain(self) -> None:
        """Show what the chosen alert rests on."""
        if self._desk.chosen_alert is None:
            self._screen.say("no alerts")
            return
        found = self._explained()

        def lines(width: int) -> Sequence[Line]:
            return explained(self._explained() or found, width, self._glyphs) if found else ()

        def go(_line: int) -> bool:
            self._screen.say(alert_moves.to_onset(self._desk))
            return True

        keys: dict[str, Callable[[int], bool]] = {"enter": go}
        for name, closes in (("acknowledge", False), ("mute", True)):
            for key in keys_of(name, self._launch.keymap):
                keys[key] = self._doing(name, closes=closes)
        foot = "enter goes to the onset   a acknowledge   m mute kind"
        self._push(Contents(lines, keys=keys, foot=foot))

    def _explained(self) -> Explained | None:
        alert = self._desk.chosen_alert
        if alert is None:
            return None
        seen = alert.key in self._desk.marks.acknowledged
        members = self._desk.members(alert) if alert.tensor is not None else ()
        stands_for = members if "tensors" in alert.evidence else ()
        return Explained(alert, stands_for, acknowledged=seen)

    def _doing(self, name: str, *, closes: bool) -> Callable[[int], bool]:
        def do(_line: int) -> bool:
            before = self._desk.chosen_alert
            self._screen.action_do(name)
            if before is not None and not closes:
                self._choose(before.key)
            return closes

        return do

    def _choose(self, key: tuple[str, str | None, int]) -> None:
        """Keep the cursor on an alert that moved in the list."""
        keys = [alert.key for alert in self._desk.alerts]
        if key in keys:
            self._desk.choose_alert(keys.index(key))
            self._screen.repaint()

    def provenance(self) -> None:
        """Show where the row's numbers come from."""
        subject = self._desk.subject
        if subject is None:
            return
        known, reads = sheets.Known(), self._desk.reads
        if subject.entry is not None:
            place = subject.entry.id, subject.current.id
            with contextlib.suppress(StoreError):
                known = sheets.Known(
                    reads.stat(*place),
                    reads.digest(*place),
                    decode(reads.note(qualified(subject.entry.name, subject.entry.role))),
                    whereabouts(reads.note(OF_CHECKPOINT)),
                )
        store = str(self._launch.store)
        self._show(
            lambda width: sheets.provenance_lines(subject, known, store, width, self._glyphs)
        )

    def statistic(self) -> None:
        """Offer the statistics and the trainer's curves."""
        offered = sheets.choices(logged(self._desk.scene.metrics))
        names = [choice.key for choice in offered]
        view = self._desk.view
        now = TRAINER + view.metric if TRAINER + view.metric in names else view.charted

        def picked(index: int | None) -> None:
            if index is not None:
                self._desk.look(chosen(self._desk.view, names[index]))
                self._screen.repaint()

        contents = Contents(
            lambda width: sheets.statistic_lines(offered, now, width, self._glyphs),
            choices=True,
            chosen=names.index(now),
        )
        self._push(contents, picked)

    def difference(self) -> None:
        """List the tensors that differ most from the baseline; enter goes to one."""
        subject = self._desk.subject
        if subject is None:
            return
        if subject.baseline is None or subject.baseline.id == subject.current.id:
            self._screen.say("this is the baseline: go to another step with , or ., or mark with b")
            return
        ends = (subject.baseline, subject.current)

        def found() -> Difference | None:
            return self._desk.shelf.difference(*ends)

        def lines(width: int) -> Sequence[Line]:
            drawn = difference_lines(found(), self._desk.scene, width, self._glyphs)
            self._screen.fetch_missed()
            return drawn

        def go(line: int) -> bool:
            names = differing(found(), self._desk.scene)
            if 0 <= line < len(names):
                alert_moves.reveal(self._desk, names[line])
                MOVES["panel-histogram"](self._desk, 0)
                self._screen.repaint()
            return True

        contents = Contents(
            lines,
            choices=True,
            head=lambda width: difference_head(found(), ends, width, self._glyphs),
            keys={"enter": go, "d": lambda _: True},
            foot="enter goes to the tensor",
        )
        self._push(contents)

    def refreshed(self) -> None:
        """Paint a sheet again whose numbers have come."""
        if self._sheet is not None and self._screen.host.screen is self._sheet:
            self._sheet.repaint()

    def _show(self, lines: Callable[[int], Sequence[Line]]) -> None:
        self._push(Contents(lines))

    def _push(
        self, contents: Contents, answered: Callable[[int | None], None] | None = None
    ) -> None:
        self._sheet = Sheet(contents, self._screen.palette, self._glyphs)
        self._screen.host.push_screen(self._sheet, answered)
