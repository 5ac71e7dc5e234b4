"""Channels: a matrix by its rows and columns, which element-wise statistics cannot show.

One outlier row in 4096, or a dead one, is a share of 1/4096 of the elements: invisible in a
histogram, obvious among the row norms.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forkmon.stats.row import QUANTILES

TOP = 8
"""Outliers kept by index."""

DEAD = 1e-3
"""A channel is dead when its norm is below this share of the median norm."""

OUTLYING = 8.0
"""A channel is an outlier above median + 8 scaled median absolute deviations of log norms."""

MAD_TO_SIGMA = 1.4826
"""Scales the median absolute deviation to the standard deviation of a normal law."""

_FIXED = struct.Struct(f"<III{len(QUANTILES) + 2}fB")
_ONE = struct.Struct("<If")
_FORMAT = b"\x01"


@dataclass(frozen=True, slots=True)
class Axis:
    """The Euclidean norms along one axis of a matrix (its rows, or its columns)."""

    count: int
    dead: int
    outliers: int
    low: float
    high: float
    quantiles: tuple[float, ...]
    """Of the norms, at `row.QUANTILES`."""
    top: tuple[tuple[int, float], ...]
    """(index, norm) of the largest, largest first."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Both axes of a matrix; tensors of more dimensions are (first, all others)."""

    rows: Axis
    columns: Axis

    def encode(self) -> bytes:
        """Return the stored form, about 250 bytes."""
        return _FORMAT + _encode_axis(self.rows) + _encode_axis(self.columns)


def measure(row_squares: NDArray[np.float64], column_squares: NDArray[np.float64]) -> Channels:
    """Return the channels of a matrix from its sums of squares by row and by column."""
    return Channels(_axis(np.sqrt(row_squares)), _axis(np.sqrt(column_squares)))


def decode(blob: bytes) -> Channels:
    """Return what `Channels.encode` stored; ValueError if it is of another format."""
    if blob[:1] != _FORMAT:
        raise ValueError(f"channels of format {blob[:1]!r}, this forkmon reads {_FORMAT!r}")
    rows, at = _decode_axis(blob, 1)
    columns, _ = _decode_axis(blob, at)
    return Channels(rows, columns)


def _axis(norms: NDArray[np.float64]) -> Axis:
    finite = np.where(np.isfinite(norms), norms, float(np.finfo(np.float32).max))
    ordered = np.sort(finite)  # once: all that follows is read off it
    median = _middle(ordered)
    return Axis(
        count=len(finite),
        dead=int(np.searchsorted(ordered, DEAD * median)) if median > 0 else 0,
        outliers=_outliers(ordered),
        low=float(ordered[0]),
        high=float(ordered[-1]),
        quantiles=_levels(ordered),
        top=_top(finite, ordered),
    )


def _middle(ordered: NDArray[np.float64]) -> float:
    half = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[half])
    return float(ordered[half - 1] + (ordered[half] - ordered[half - 1]) / 2)


def _levels(ordered: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the order statistics at `row.QUANTILES`, joined by a line."""
    place = np.asarray(QUANTILES) * (len(ordered) - 1)
    below = np.floor(place).astype(np.int64)
    low, high = ordered[below], ordered[np.minimum(below + 1, len(ordered) - 1)]
    return tuple(float(value) for value in low + (high - low) * (place - below))


def _top(norms: NDArray[np.float64], ordered: NDArray[np.float64]) -> tuple[tuple[int, float], ...]:
    """Return (index, norm) of the largest, the first of equal ones first."""
    among = np.flatnonzero(norms >= ordered[-min(TOP, len(ordered))])
    largest = among[np.argsort(-norms[among], kind="stable")[:TOP]]
    return tuple((int(i), float(norms[i])) for i in largest)


def _outliers(ordered: NDArray[np.float64]) -> int:
    logs = np.log(ordered[np.searchsorted(ordered, 0.0, side="right") :])
    if len(logs) < 2 * TOP:
        return 0
    median = _middle(logs)
    spread = MAD_TO_SIGMA * float(np.median(np.abs(logs - median)))
    return int((logs > median + OUTLYING * spread).sum()) if spread > 0 else 0


def _encode_axis(axis: Axis) -> bytes:
    limit = float(np.finfo(np.float32).max)
    floats = [min(v, limit) for v in (axis.low, axis.high, *axis.quantiles)]
    out = _FIXED.pack(axis.count, axis.dead, axis.outliers, *floats, len(axis.top))
    return out + b"".join(_ONE.pack(i, min(v, limit)) for i, v in axis.top)


def _decode_axis(blob: bytes, at: int) -> tuple[Axis, int]:
    count, dead, outliers, low, high, *rest = _FIXED.unpack_from(blob, at)
    at += _FIXED.size
    top: list[tuple[int, float]] = []
    for _ in range(rest[-1]):
        top.append(_ONE.unpack_from(blob, at))
        at += _ONE.size
    return Axis(count, dead, outliers, low, high, tuple(rest[:-1]), tuple(top)), at
