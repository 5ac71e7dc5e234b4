"""The order parameter of a fork: by which power of time its branches part."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np

FEWEST = 3
"""Points that a slope is worth telling from."""


def exponent(start: int | None, separations: Sequence[tuple[int, float]]) -> float | None:
    """Return beta of separation ~ (step - start) ** beta by least squares; None where unknown.

    `start` is the last step before the fork. About 1/2 for a pitchfork, about 1 for branches that
    part at a steady pace. From few points: a hint to report, nothing to decide by.
    """
    if start is None:
        return None
    points = [(log(step - start), log(d)) for step, d in separations if step > start and d > 0]
    if len(points) < FEWEST:
        return None
    x, y = np.array(points).T
    x -= x.mean()
    return float((x @ y) / (x @ x))
