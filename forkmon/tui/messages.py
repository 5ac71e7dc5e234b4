"""What happened outside the screen, one message class a fact; payloads are frozen values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from forkmon import wire
    from forkmon.text import SafeText
    from forkmon.tui.fetching import Found, Key
    from forkmon.tui.scene import Scene
    from forkmon.tui.supervisor import WorkerState


class WorkerChanged(Message):
    """The worker started, died, or gave up."""

    def __init__(self, state: WorkerState) -> None:
        super().__init__()
        self.state = state

    def can_replace(self, message: Message) -> bool:
        """Only the newest state matters."""
        return isinstance(message, WorkerChanged)


class WorkerGreeted(Message):
    """The worker said who it is and on what it computes."""

    def __init__(self, hello: wire.Hello) -> None:
        super().__init__()
        self.hello = hello


class RunPolled(Message):
    """The worker looked at the run directory."""

    def __init__(self, polled: wire.Polled) -> None:
        super().__init__()
        self.polled = polled

    def can_replace(self, message: Message) -> bool:
        """Only the newest look matters."""
        return isinstance(message, RunPolled)


class AnalysisProgressed(Message):
    """The worker is part of the way through a checkpoint."""

    def __init__(self, progress: wire.Progress) -> None:
        super().__init__()
        self.progress = progress

    def can_replace(self, message: Message) -> bool:
        """Only the newest progress matters."""
        return isinstance(message, AnalysisProgressed)


class StoreChanged(Message):
    """The store holds something new: look again."""

    def can_replace(self, message: Message) -> bool:
        """One look sees every change before it."""
        return isinstance(message, StoreChanged)


class CheckpointFailed(Message):
    """The worker could not analyse a checkpoint."""

    def __init__(self, failed: wire.Failed) -> None:
        super().__init__()
        self.failed = failed


class WorkerLogged(Message):
    """The worker, or what listens to it, has something to say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class SceneLoaded(Message):
    """The store was read in a thread: this is what it holds now."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.scene = scene


class Fetched(Message):
    """Something was read in a thread."""

    def __init__(self, key: Key, found: Found | None) -> None:
        super().__init__()
        self.key = key
        self.found = found


class SceneUnavailable(Message):
    """The store could not be read, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def can_replace(self, message: Message) -> bool:
        """Only the newest reason matters."""
        return isinstance(message, SceneUnavailable)


class AlertsArrived(Message):
    """Alerts that were not there before are on the screen."""

    def __init__(self, text: SafeText) -> None:
        super().__init__()
        self.text = text
