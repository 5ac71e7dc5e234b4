"""The clock of the detectors: the logarithm of the step.

Checkpoints are often spaced by factors first and evenly later, and weights move by power laws of
the step. On this clock a power law is a straight line, and a change of spacing is no event.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def clock(steps: Sequence[int]) -> NDArray[np.float64]:
    """Return log(step + 1) of each step."""
    return np.asarray(np.log1p(np.maximum(np.asarray(steps, np.float64), 0)))
