"""Reads too slow for a key: asked for while painting, done in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkmon.stats.channels import Channels
    from forkmon.stats.modality import Modality
    from forkmon.stats.reduced import Reduced
    from forkmon.stats.series import Series
    from forkmon.store.values import CheckpointRow, TensorEntry, Timeline
    from forkmon.tui.model import ForkView
    from forkmon.tui.tree_model import Tree
    from forkmon.tui.widgets.panel import Subject

KEPT = 256
"""Results remembered."""

MOST_SKETCHES = 60_000
"""Tensors times steps of one movement; 300 tensors x 150 steps take about two seconds."""

HISTORY = 64
"""Steps over which channels are followed."""

FORK_STEPS = 200
"""Most checkpoints of a fork diagram: as many as a wide screen has columns for."""

MAP_STEPS = 160
"""Most checkpoints of an overview."""

What = Literal["movement", "channels", "fork", "overview", "difference", "path"]
Key = tuple[What, int, tuple[tuple[int, str], ...], str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing to read: about a row, over some checkpoints."""

    what: What
    entry: TensorEntry | None
    timeline: Timeline
    statistic: str = ""
    """Of an overview; the view of a fork diagram."""
    ids: tuple[int, ...] = ()
    """The tensors of an overview."""

    @property
    def key(self) -> Key:
        """Return what tells this from any other; an attempt's numbers still change."""
        about = hash(self.ids) if self.entry is None else self.entry.id
        rows = tuple((row.id, row.status) for row in self.timeline)
        return self.what, about, rows, self.statistic


@dataclass(frozen=True, slots=True)
class ChannelHistory:
    """The channels of one matrix at some checkpoints; None where none are kept."""

    at: tuple[Channels | None, ...]


@dataclass(frozen=True, slots=True)
class ForkSlice:
    """One row at one step, as a fork diagram needs it."""

    step: int
    reduced: Reduced | None
    modality: Modality | None = None


@dataclass(frozen=True, slots=True)
class ForkHistory:
    """A row's histograms over steps."""

    at: tuple[ForkSlice, ...]
    view: str = "elements"
    coarse: bool = False
    """Whether the densities are only known between stored quantiles."""


@dataclass(frozen=True, slots=True)
class Overview:
    """One statistic of many tensors: id -> values parallel to the timeline."""

    timeline: Timeline
    values: Mapping[int, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class Differing:
    """One tensor at two checkpoints: before, then after; None where it is in one alone."""

    entry: int
    distance: float | None
    """|w - w before| / |w before|, estimated from sketches."""
    std: tuple[float | None, float | None]
    kurtosis: tuple[float | None, float | None]
    zeros: tuple[float | None, float | None]
    """As counts."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two checkpoints, the most changed tensor first."""

    rows: tuple[Differing, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """One checkpoint on a run's path through weight space."""

    checkpoint: int
    segment: int
    generation: int
    step: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Path:
    """A run's path in two dimensions: distances on it are estimates of distances of the weights."""

    stops: tuple[Stop, ...] = ()
    kept: float = 0.0
    """Share of the squared distances that the two dimensions keep."""
    tensors: int = 0
    """Tensors that were looked at."""
    every: int = 0
    """Tensors there are."""
    far: int = 0
    """Checkpoints left out: not finite, or so far that all others would be one point."""


Found: TypeAlias = "Series | ChannelHistory | ForkHistory | Overview | Difference | Path"


class Shelf:
    """Remembers what was read, and what the last painting missed."""

    def __init__(self) -> None:
        self._found: dict[Key, Found | None] = {}
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

    def fork(self, subject: Subject, view: ForkView = "elements") -> ForkHistory | None:
        """Return the row's histograms over all steps, once they are read."""
        if subject.entry is None or not subject.timeline:
            return None
        timeline = sampled(subject.timeline, subject.timeline[-1].id, FORK_STEPS)
        found = self._look(Wanted("fork", subject.entry, timeline, view))
        return found if isinstance(found, ForkHistory) else None

    def overview(self, timeline: Timeline, statistic: str, ids: Sequence[int]) -> Overview | None:
        """Return one statistic of many tensors over all steps, once it is read."""
        if not timeline:
            return None
        shown = sampled(timeline, timeline[-1].id, MAP_STEPS)
        found = self._look(Wanted("overview", None, shown, statistic, tuple(ids)))
        return found if isinstance(found, Overview) else None

    def difference(self, before: CheckpointRow, after: CheckpointRow) -> Difference | None:
        """Return what differs between two checkpoints, once it is read."""
        found = self._look(Wanted("difference", None, (before, after)))
        return found if isinstance(found, Difference) else None

    def path(self, timeline: Timeline) -> Path | None:
        """Return the run's path through weight space, once it is read."""
        whole = tuple(row for row in timeline if row.status != "attempt")
        found = self._look(Wanted("path", None, whole)) if whole else None
        return found if isinstance(found, Path) else None

    def _movement(self, subject: Subject, timeline: Timeline) -> Series | None:
        if subject.entry is None:
            return None
        found = self._look(Wanted("movement", subject.entry, timeline))
        others = (ChannelHistory, ForkHistory, Overview, Difference, Path)
        return None if isinstance(found, others) else found

    def missed(self) -> list[Wanted]:
        """Return what the last painting missed, and forget it: the next one asks again."""
        missed, self._missed = self._missed, []
        return missed

    def put(self, key: Key, found: Found | None) -> None:
        """Keep a result; None keeps that there is none."""
        if len(self._found) > KEPT:
            self._found.clear()
        self._found[key] = found

    def retry(self) -> None:
        """Forget what could not be read: the store may be back."""
        self._found = {key: found for key, found in self._found.items() if found is not None}

    def _look(self, wanted: Wanted) -> Found | None:
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


def sampled(timeline: Timeline, current: int, most: int = HISTORY) -> Timeline:
    """Return at most so many checkpoints up to the current one, which is the last."""
    at = next((i for i, row in enumerate(timeline) if row.id == current), None)
    if at is None:
        return ()
    many = min(at + 1, most)
    picked = {round(i * at / (many - 1)) for i in range(many)} if many > 1 else {at}
    return tuple(timeline[i] for i in sorted(picked))


def sketches(tree: Tree, subject: Subject) -> int:
    """Return how many sketches a row's movement over all steps is read from."""
    node = tree.index.get(subject.name, 0)
    below = range(node, tree.nodes[node].end)
    return len(subject.timeline) * sum(tree.is_leaf(i) for i in below)
