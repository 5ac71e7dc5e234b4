"""What the person looks at, as one frozen value, and the moves that change it; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from forkmon.store.values import Timeline

T = TypeVar("T")

Pane = Literal["layers", "panel", "alerts"]
Panel = Literal["histogram", "fork", "curves", "channels", "overview", "path"]
Sort = Literal["name", "value", "change", "abnormal"]
CountScale = Literal["linear", "symlog", "log count", "cumulative"]
ForkView = Literal["elements", "rows", "columns"]
MapScale = Literal["each role", "whole model"]

PANES: tuple[Pane, ...] = ("layers", "panel", "alerts")
SORTS: tuple[Sort, ...] = ("name", "value", "change", "abnormal")
COUNT_SCALES: tuple[CountScale, ...] = ("linear", "symlog", "log count", "cumulative")
FORK_VIEWS: tuple[ForkView, ...] = ("elements", "rows", "columns")
MAP_SCALES: tuple[MapScale, ...] = ("each role", "whole model")

PANELS: tuple[tuple[str, Panel, str], ...] = (
    ("1", "histogram", "hist"),
    ("2", "fork", "fork"),
    ("3", "curves", "curv"),
    ("4", "channels", "chan"),
    ("5", "overview", "over"),
    ("6", "path", "path"),
)
"""Key, panel and its short name."""

STATISTICS: tuple[tuple[str, str], ...] = (
    ("std", "standard deviation"),
    ("mean", "mean"),
    ("skew", "skewness"),
    ("kurtosis", "excess kurtosis"),
    ("min", "smallest value"),
    ("max", "largest value"),
    ("l1", "L1 norm"),
    ("l2", "L2 norm"),
    ("zeros", "exact zeros"),
    ("nan", "not a number"),
    ("inf", "infinite"),
    ("modes", "peaks of the distribution"),
)
"""What the tree can show, in the order of the chooser."""

BANDS = "quantiles"
"""The choice that shows quantile bands in the curves."""

ESTIMATES: tuple[tuple[str, str], ...] = (
    ("update", "|w − w before| / |w before|, an estimate; panels 3 and 5"),
    ("drift", "|w − w first| / |w first|, an estimate; panels 3 and 5"),
    ("cosine", "cosine to the first step, an estimate; panel 3"),
)
"""What only the curves can show: read from sketches, one row at a time."""

MAPPED: tuple[str, ...] = ("update", "drift")
"""Estimates that the overview can show too: the writer measured them."""

CHOICES = (*STATISTICS, (BANDS, "0.1 % to 99.9 % of the values over steps; panel 3"), *ESTIMATES)

ESTIMATED = frozenset(name for name, _ in ESTIMATES)

TRAINER = "trainer:"
"""Before the name of a curve of the trainer's where it is chosen like a statistic."""

COUNTED = frozenset({"zeros", "nan", "inf", "modes"})
"""Statistics that are whole numbers."""

RELATIVE = frozenset({"std", "l1", "l2"})
"""Statistics whose change reads best as a ratio; the others change by a difference."""


@dataclass(frozen=True, slots=True)
class View:
    """Where, when and how a person looks."""

    path: str = ""
    """The row under the cursor."""
    closed: frozenset[str] | None = None
    """Closed blocks; None until the first tree decides."""
    current: int | None = None
    """Id of the checkpoint shown."""
    baseline: int | None = None
    """Id of the checkpoint compared with; None is the first."""
    follow: bool = True
    """Jump to a checkpoint when it lands."""
    pane: Pane = "layers"
    panel: Panel = "histogram"
    zoom: bool = False
    statistic: str = "std"
    """What the tree shows: a stored statistic."""
    estimate: str = ""
    """What the curves show in its place, if it is one that only they can."""
    metric: str = ""
    """The curve of the trainer's that the curves show first."""
    filter: str = ""
    alerts_only: bool = False
    sort: Sort = "name"
    reverse: bool = False
    count_scale: CountScale = "linear"
    map_scale: MapScale = "each role"
    """What the shades of the overview are relative to."""
    log_values: bool = False
    log_steps: bool = True
    fork_view: ForkView = "elements"
    """Of what the fork diagram shows the distribution: the values, or the norms of channels."""
    previous: bool = False
    """Lay the checkpoint before over the histogram."""
    probe: float | None = None
    """Where the histogram is read off, from 0 at the left end of the axis to 1."""
    closer: int = 0
    """How often the axis of steps was halved around the current step."""
    alert: int = 0
    """Index of the chosen alert."""

    @property
    def charted(self) -> str:
        """Return the statistic that the curves put first."""
        return self.estimate or self.statistic


def mapped(view: View) -> str:
    """Return the statistic of the overview."""
    return view.estimate if view.estimate in MAPPED else view.statistic


def chosen(view: View, statistic: str) -> View:
    """Return the view of a statistic; what only curves show opens them, the tree keeps its own."""
    if statistic.startswith(TRAINER):
        return replace(view, metric=statistic.removeprefix(TRAINER), panel="curves")
    if statistic in MAPPED and view.panel == "overview":
        return replace(view, estimate=statistic, metric="")
    if statistic in ESTIMATED or statistic == BANDS:
        return replace(view, estimate=statistic, metric="", panel="curves")
    return replace(view, statistic=statistic, estimate="", metric="")


def landed(view: View, timeline: Timeline) -> View:
    """Return the view after the timeline changed: on the newest if following, else in place."""
    if not timeline:
        return replace(view, current=None)
    ids = [row.id for row in timeline]
    if view.follow or view.current not in ids:
        view = replace(view, current=ids[-1])
    if view.baseline is not None and view.baseline not in ids:
        view = replace(view, baseline=None)
    return view


def scrubbed(view: View, timeline: Timeline, by: int) -> View:
    """Return the view `by` checkpoints later; it no longer follows."""
    if not timeline:
        return view
    ids = [row.id for row in timeline]
    at = ids.index(view.current) if view.current in ids else len(ids) - 1
    at = min(max(at + by, 0), len(ids) - 1)
    return replace(view, current=ids[at], follow=False)


def baseline_id(view: View, timeline: Timeline) -> int | None:
    """Return the checkpoint that is compared with: the marked one, else the first."""
    if view.baseline is not None:
        return view.baseline
    return timeline[0].id if timeline else None


def steps_shown(view: View, timeline: Timeline) -> tuple[int, int] | None:
    """Return the first and last step of a zoomed axis; None where all steps are shown.

    The steps that stay are a part of the checkpoints, so that a log axis zooms alike.
    """
    if not view.closer or len(timeline) < 3:
        return None
    ids = [row.id for row in timeline]
    at = ids.index(view.current) if view.current in ids else len(ids) - 1
    many = max(3, len(ids) >> view.closer)
    first = max(0, min(at - many // 2, len(ids) - many))
    steps = [row.step for row in timeline[first : first + many]]
    return (min(steps), max(steps)) if min(steps) < max(steps) else None


def cycled(values: tuple[T, ...], value: T, by: int = 1) -> T:
    """Return the value after `value`, round and round."""
    return values[(values.index(value) + by) % len(values)]
