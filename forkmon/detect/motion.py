"""How the whole model moves: how fast, and whether it still goes anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forkmon.detect.cadence import clock
from forkmon.detect.crowd import Crowd

COLUMNS: tuple[str, ...] = ("l2", "update", "return_jump")
"""The statistics that motion follows from."""


@dataclass(frozen=True, slots=True)
class Motion:
    """One number a checkpoint, oldest first; None where it cannot be known."""

    steps: tuple[int, ...]
    speed: tuple[float | None, ...]
    """Change since the checkpoint before over the norm, by unit of log step."""
    heading: tuple[float | None, ...]
    """Cosine between the change to this checkpoint and the change from it to the next.

    1 for a straight way, 0 for a random walk, -1/2 for noise about a point. It is known once the
    next checkpoint is there; from distances alone: |a + b|^2 = |a|^2 + |b|^2 + 2 a.b
    """


def motion(crowd: Crowd) -> Motion:
    """Return the motion of all tensors taken together: distances add in quadrature."""
    update, across, size = (_whole(crowd, name) for name in ("update", "return_jump", "l2"))
    spans = np.diff(clock(crowd.steps), prepend=np.nan)
    ahead = np.append(update[1:], np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        speed = np.where(spans > 0, update / size / spans, np.nan)
        heading = (across**2 - update**2 - ahead**2) / (2 * update * ahead)
    return Motion(crowd.steps, _told(speed), _told(np.clip(heading, -1, 1)))


def _whole(crowd: Crowd, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the norm over all tensors of a column of norms; NaN where no tensor has one."""
    column = crowd.columns[name]
    total = np.sqrt(np.nansum(column**2, axis=0))
    return np.where(np.isfinite(column).any(axis=0), total, np.nan)


def _told(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float | None, ...]:
    return tuple(float(v) if np.isfinite(v) else None for v in values)
