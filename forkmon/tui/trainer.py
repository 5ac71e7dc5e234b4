"""The trainer's own curves in the order and under the names in which they are shown."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.stats.metric_names import usual
from forkmon.stats.names import natural_key
from forkmon.text import safe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHORT = {"learning_rate": "lr", "eval_loss": "eval loss", "grad_norm": "grad norm"}
"""What is written where there is little room."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One curve of the trainer's."""

    name: str
    """As the trainer calls it."""
    label: str
    """As the screen calls it."""
    points: Sequence[tuple[int, float]]

    @property
    def steps(self) -> tuple[int, ...]:
        """Return the steps at which it was logged."""
        return tuple(step for step, _ in self.points)

    @property
    def values(self) -> tuple[float, ...]:
        """Return the values, one a step."""
        return tuple(value for _, value in self.points)

    def at(self, step: float | None) -> float | None:
        """Return the last value up to a step; the very last without one."""
        if step is None:
            return self.points[-1][1] if self.points else None
        found = bisect_right(self.points, step, key=lambda point: point[0])
        return self.points[found - 1][1] if found else None


def logged(metrics: Mapping[str, Sequence[tuple[int, float]]] | None) -> list[Logged]:
    """Return loss, learning rate, gradient norm and evaluation loss first, then all others."""
    if not metrics:
        return []
    known = usual({name: len(points) for name, points in metrics.items()})
    first = [Logged(name, SHORT.get(label, label), metrics[name]) for label, name in known.items()]
    taken = set(known.values())
    others = sorted((name for name in metrics if name not in taken), key=natural_key)
    return [*first, *(Logged(name, safe(name, 60), metrics[name]) for name in others)]
