"""What the person looks at, as one frozen value, and the moves that change it; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from forkmon.store.values import Timeline

T = TypeVar("T")

Pane = Literal["layers", "panel", "alerts"]
Panel = Literal["histogram", "curves", "channels"]
Sort = Literal["name", "value", "change"]
CountScale = Literal["linear", "symlog", "log count"]

PANES: tuple[Pane, ...] = ("layers", "panel", "alerts")
SORTS: tuple[Sort, ...] = ("name", "value", "change")
COUNT_SCALES: tuple[CountScale, ...] = ("linear", "symlog", "log count")

PANELS: tuple[tuple[str, Panel, str], ...] = (
    ("1", "histogram", "hist"),
    ("3", "curves", "curves"),
    ("4", "channels", "chan"),
)
"""Key, panel and its short name; 2, 5 and 6 take their places here."""

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
)
"""What the tree can show, in the order of the chooser."""

ESTIMATES: tuple[tuple[str, str], ...] = (
    ("update", "|w − w before| / |w before|, an estimate; panel 3"),
    ("drift", "|w − w first| / |w first|, an estimate; panel 3"),
    ("cosine", "cosine to the first step, an estimate; panel 3"),
)
"""What only the curves can show: read from sketches, one row at a time."""

CHOICES = STATISTICS + ESTIMATES

ESTIMATED = frozenset(name for name, _ in ESTIMATES)

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
    filter: str = ""
    alerts_only: bool = False
    sort: Sort = "name"
    reverse: bool = False
    count_scale: CountScale = "linear"
    log_values: bool = False
    log_steps: bool = True
    alert: int = 0
    """Index of the chosen alert."""

    @property
    def charted(self) -> str:
        """Return the statistic that the curves put first."""
        return self.estimate or self.statistic


def chosen(view: View, statistic: str) -> View:
    """Return the view of a statistic; an estimate opens the curves, the tree keeps its column."""
    if statistic in ESTIMATED:
        return replace(view, estimate=statistic, panel="curves")
    return replace(view, statistic=statistic, estimate="")


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


def cycled(values: tuple[T, ...], value: T, by: int = 1) -> T:
    """Return the value after `value`, round and round."""
    return values[(values.index(value) + by) % len(values)]
