"""Reads too slow for a key: movement and channels; asked for while painting, done in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from forkmon.stats.channels import Channels
    from forkmon.stats.series import Series
    from forkmon.store.values import TensorEntry, Timeline
    from forkmon.tui.source import Source
    from forkmon.tui.tree_model import Tree
    from forkmon.tui.widgets.panel import Subject

KEPT = 256
"""Results remembered."""

MOST_SKETCHES = 60_000
"""Tensors times steps of one movement; 300 tensors x 150 steps take about two seconds."""

HISTORY = 64
"""Steps over which channels are followed."""

What = Literal["movement", "channels"]
Key = tuple[What, int, tuple[tuple[int, str], ...]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing to read: about a row, over some checkpoints."""

    what: What
    entry: TensorEntry
    timeline: Timeline

    @property
    def key(self) -> Key:
        """Return what tells this from any other; an attempt's numbers still change."""
        return self.what, self.entry.id, tuple((row.id, row.status) for row in self.timeline)


@dataclass(frozen=True, slots=True)
class ChannelHistory:
    """The channels of one matrix at some checkpoints; None where none are kept."""

    at: tuple[Channels | None, ...]


def read(source: Source, wanted: Wanted) -> Series | ChannelHistory:
    """Read one thing; StoreError says why it cannot be."""
    if wanted.what == "movement":
        return source.movement(wanted.entry, wanted.timeline)
    return ChannelHistory(tuple(_channels(source, wanted.entry.id, c.id) for c in wanted.timeline))


def _channels(source: Source, tensor: int, checkpoint: int) -> Channels | None:
    from forkmon.stats.channels import decode  # numpy, after first paint and not in the UI's thread

    trace = source.trace(tensor, checkpoint)
    if trace is None or trace.channels is None:
        return None
    try:
        return decode(trace.channels)
    except ValueError:
        return None  # of a newer forkmon


class Shelf:
    """Remembers what was read, and what the last painting missed."""

    def __init__(self) -> None:
        self._found: dict[Key, Series | ChannelHistory | None] = {}
        self._missed: list[Wanted] = []

    def moved(self, subject: Subject) -> Series | None:
        """Return how the row moved up to the current step, once that is read."""
        return self._movement(subject, around(subject.timeline, subject.current.id))

    def movement(self, subject: Subject) -> Series | None:
        """Return how the row moved over all steps, once that is read."""
        return self._movement(subject, subject.timeline)

    def channels(self, subject: Subject) -> ChannelHistory | None:
        """Return the channels of the row up to the current step, once they are read."""
        if subject.entry is None:
            return None
        timeline = sampled(subject.timeline, subject.current.id)
        found = self._look(Wanted("channels", subject.entry, timeline))
        return found if isinstance(found, ChannelHistory) else None

    def _movement(self, subject: Subject, timeline: Timeline) -> Series | None:
        if subject.entry is None:
            return None
        found = self._look(Wanted("movement", subject.entry, timeline))
        return None if isinstance(found, ChannelHistory) else found

    def missed(self) -> list[Wanted]:
        """Return what the last painting missed, and forget it: the next one asks again."""
        missed, self._missed = self._missed, []
        return missed

    def put(self, key: Key, found: Series | ChannelHistory | None) -> None:
        """Keep a result; None keeps that there is none."""
        if len(self._found) > KEPT:
            self._found.clear()
        self._found[key] = found

    def retry(self) -> None:
        """Forget what could not be read: the store may be back."""
        self._found = {key: found for key, found in self._found.items() if found is not None}

    def _look(self, wanted: Wanted) -> Series | ChannelHistory | None:
        key = wanted.key
        if key not in self._found:
            self._missed.append(wanted)
            return None
        return self._found[key]


def around(timeline: Timeline, current: int) -> Timeline:
    """Return the first checkpoint, the one before the current one, and the current one."""
    at = next((i for i, row in enumerate(timeline) if row.id == current), None)
    if at is None:
        return ()
    return tuple(timeline[i] for i in sorted({0, max(0, at - 1), at}))


def sampled(timeline: Timeline, current: int) -> Timeline:
    """Return at most `HISTORY` checkpoints up to the current one, which is the last."""
    at = next((i for i, row in enumerate(timeline) if row.id == current), None)
    if at is None:
        return ()
    many = min(at + 1, HISTORY)
    picked = {round(i * at / (many - 1)) for i in range(many)} if many > 1 else {at}
    return tuple(timeline[i] for i in sorted(picked))


def sketches(tree: Tree, subject: Subject) -> int:
    """Return how many sketches a row's movement over all steps is read from."""
    node = tree.index.get(subject.name, 0)
    below = range(node, tree.nodes[node].end)
    return len(subject.timeline) * sum(tree.is_leaf(i) for i in below)
