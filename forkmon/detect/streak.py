"""Debounce over many rows at once: a condition counts when it has held several times running."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forkmon.detect.robust import Truth


def lengths(holds: Truth, known: Truth) -> NDArray[np.int64]:
    """Return how many known places running the condition has held, at each place (rows, places).

    An unknown place neither counts nor breaks a streak.
    """
    streak = np.zeros(holds.shape[0], np.int64)
    out = np.zeros(holds.shape, np.int64)
    for place in range(holds.shape[1]):
        grown = np.where(holds[:, place], streak + 1, 0)
        streak = np.where(known[:, place], grown, streak)
        out[:, place] = streak
    return out


def share_of_recent(holds: Truth, window: int) -> NDArray[np.int64]:
    """Return how often the condition held among the newest `window` places, at each place."""
    total = np.cumsum(np.pad(holds.astype(np.int64), ((0, 0), (window, 0))), axis=1)
    return np.asarray(total[:, window:] - total[:, :-window])
