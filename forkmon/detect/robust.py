"""Location, trend and spread that a few wild values cannot move."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

MAD_TO_SIGMA = 1.4826
"""Scales the median absolute deviation to the standard deviation of a normal law."""

QUARTILE_TO_SIGMA = 1.1503
"""Upper quartile of the distances from the centre of a normal law, in standard deviations."""

Array = NDArray[np.float64]
Truth = NDArray[np.bool_]


def median(values: Array) -> Array:
    """Return the median along the last axis (the upper one of two); no NaN allowed."""
    middle = values.shape[-1] // 2
    return np.asarray(np.partition(values, middle, axis=-1)[..., middle])


def deviation(distances: Array) -> Array:
    """Return the standard deviation along the last axis, from distances to the centre.

    By their upper quartile: it wanders less than their median, and bears a quarter of wild values.
    """
    place = (3 * distances.shape[-1]) // 4
    return np.asarray(np.partition(distances, place, axis=-1)[..., place] / QUARTILE_TO_SIGMA)


def trend(values: Array) -> Array:
    """Return the slope a place along the last axis, by Theil's incomplete method.

    The median of the slopes between the first and the second half, place by place.
    """
    half = values.shape[-1] // 2
    if half == 0:
        return np.zeros(values.shape[:-1])
    rise = values[..., values.shape[-1] - half :] - values[..., :half]
    return np.asarray(median(rise) / (values.shape[-1] - half))


def standing(values: Array, floor: float) -> Array:
    """Return how many standard deviations each value lies off the crowd's median.

    `values` (tensors, steps), NaN where missing; the crowd is the column, its spread at least
    `floor`.
    """
    with warnings.catch_warnings():  # a column without numbers has no median: NaN is the answer
        warnings.simplefilter("ignore", RuntimeWarning)
        off = values - np.nanmedian(values, axis=0)
        wide = MAD_TO_SIGMA * np.nanmedian(np.abs(off), axis=0)
    return np.asarray(off / np.maximum(wide, floor))
