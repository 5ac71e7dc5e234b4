"""The UI process: puts screen, worker and terminal together, and takes them apart again."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from textual.app import App, SystemCommand

from forkmon.draw.glyphs import choose
from forkmon.errors import Exit
from forkmon.text import safe
from forkmon.tui import actions, messages, theme
from forkmon.tui.launch import Launch
from forkmon.tui.screens.main import STYLE, MainScreen
from forkmon.tui.terminal import Terminal, driver_class

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.screen import Screen

    from forkmon import wire
    from forkmon.tui.supervisor import Supervisor, WorkerState

__all__ = ["ForkmonApp", "Launch", "run"]


class ForkmonApp(App[int]):
    """forkmon on a terminal."""

    CSS = STYLE

    def __init__(self, launch: Launch, terminal: Terminal | None = None) -> None:
        look = theme.find(
            theme.MONO if launch.no_color or "NO_COLOR" in os.environ else launch.theme
        )
        driver = None if terminal is None else driver_class(terminal)
        super().__init__(driver_class=driver, ansi_color=look.ansi)
        self.animation_level = "none"
        self.title = f"forkmon {safe(launch.name)}"
        self.register_theme(look.textual())
        self.theme = f"forkmon-{look.name}"
        self._launch = launch
        self._terminal = terminal
        self._look = look
        keymap, complaints = actions.keymap(launch.keymap)
        self.complaints = complaints
        self.set_keymap(keymap)
        self.main = MainScreen(launch, choose(launch.ascii), look.palette(), self)
        self.supervisor: Supervisor | None = None

    def get_default_screen(self) -> Screen[None]:
        """Return the main screen."""
        return self.main

    def on_mount(self) -> None:
        """Take the terminal over; the worker starts after the first paint."""
        if self._terminal is not None:
            self._terminal.attach(asyncio.get_running_loop())
        for complaint in self.complaints[:1]:
            self.main.flash(complaint)
        if self._launch.worker is not None:
            self.call_after_refresh(self._hire, self._launch.worker)

    def _hire(self, worker: tuple[str, ...]) -> None:
        from forkmon.tui.supervisor import Supervisor  # after first paint

        self.supervisor = Supervisor(worker, said=self._worker_said, changed=self._worker_changed)
        self.main.supervisor = self.supervisor
        self.supervisor.start()

    async def on_unmount(self) -> None:
        """End the worker; the terminal is already given back."""
        self.main.keep()
        self.main.feed.close()
        if self.supervisor is not None:
            await self.supervisor.stop()
        if self._terminal is not None:
            self._terminal.detach()

    def on_alerts_arrived(self, message: messages.AlertsArrived) -> None:
        """Ring and leave a note on the desktop, where the person asked for it."""
        if self._launch.bell:
            self.bell()
        if self._launch.desktop_note and self._driver is not None:
            self._driver.write(f"\x1b]9;{message.text}\x07")

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Offer every action in the palette, and the themes."""
        if screen is not self.main:
            return
        for action in actions.ACTIONS:
            if action.id == "palette":
                continue
            yield SystemCommand(
                f"{action.does} ({actions.shown_keys(action, self._launch.keymap)})",
                action.id,
                lambda name=action.id: self.main.action_do(name),
            )
        for name in theme.names():
            yield SystemCommand(
                f"theme {name}", "change the colours", lambda name=name: self.use_theme(name)
            )

    def use_theme(self, name: str) -> None:
        """Change the colours while running."""
        look = theme.find(name)
        self.register_theme(look.textual())
        self.ansi_color = look.ansi
        self.theme = f"forkmon-{look.name}"
        self.main.dye(look.palette())

    def _worker_changed(self, state: WorkerState) -> None:
        self.main.post_message(messages.WorkerChanged(state))

    def _worker_said(self, event: wire.Event) -> None:
        from forkmon import wire

        match event:
            case wire.Hello():
                self.main.post_message(messages.WorkerGreeted(event))
            case wire.Polled():
                self.main.post_message(messages.RunPolled(event))
            case wire.Progress():
                self.main.post_message(messages.AnalysisProgressed(event))
            case wire.Stored():
                self.main.post_message(messages.StoreChanged())
            case wire.Failed():
                self.main.post_message(messages.CheckpointFailed(event))
            case wire.Log():
                self.main.post_message(messages.WorkerLogged(safe(event.text)))
            case wire.Bye():
                pass  # the supervisor keeps the reason


def run(launch: Launch) -> int:
    """Run forkmon on this terminal until the person leaves; return the exit code."""
    if launch.no_color:
        os.environ["NO_COLOR"] = "1"
    for name in ("COLUMNS", "LINES"):  # where they are set the screen would not follow a resize
        os.environ.pop(name, None)
    held: list[ForkmonApp] = []

    def stop(code: int) -> None:
        held[0].exit(code)

    def kill_worker() -> None:
        if held[0].supervisor is not None:
            held[0].supervisor.kill()

    terminal = Terminal(stop, kill_worker)
    app = ForkmonApp(launch, terminal)
    held.append(app)
    try:
        code = app.run(mouse=launch.mouse) or app.return_code or Exit.OK
    finally:
        kill_worker()
        terminal.restore()
    if terminal.gone:
        os._exit(code)  # the interpreter would fail to flush into a dead terminal
    if code == Exit.OK and app.supervisor is not None and app.supervisor.state.phase == "live":
        _say_goodbye(launch)
    return code


def _say_goodbye(launch: Launch) -> None:
    """Tell that nobody watches any more, and who could."""
    command = f"forkmon record {safe(launch.run, 1000)}"
    print(f"forkmon: monitoring has ended; `{command}` goes on without a window", file=sys.stderr)  # noqa: T201
