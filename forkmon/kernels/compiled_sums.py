"""Compiled float sums: moments of a block, sketch, squares by row and column.

They run in 64 fixed lanes that live in memory (lane = index mod 64 inside a piece): the inner
loop over lanes becomes vector instructions without a licence to reorder, so the bits depend
neither on the machine's vector width nor on how a tensor was cut into chunks.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from forkmon.kernels.compiled_hash import mixed

Array = NDArray[Any]

LANES = 64

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def piece_moments(x: Array, whole: Array, real: Array, lanes: Array) -> bool:
    """Write the counts and moments of one block's values; return whether all are finite.

    `whole` and `real` have the columns of `stats.blocks`; `lanes` is scratch, (7, LANES).
    """
    lanes[:] = 0.0
    lanes[5, :] = inf
    lanes[6, :] = -inf
    zeros = _first_sums(x, lanes)
    sizes = _total(lanes[1])
    if sizes - sizes != 0.0:  # infinite or NaN
        _slow_moments(x, whole, real, lanes)
        return bool(whole[4] == 0 and whole[5] == 0)
    whole[1], whole[2], whole[3], whole[4], whole[5] = x.size, x.size, zeros, 0, 0
    low, high = lanes[5].min(), lanes[6].max()
    mean = _total(lanes[0]) / x.size if low < high else low
    _central_sums(x, mean, lanes)
    _finish(real, lanes, mean, low, high, sizes, x.size)
    return True


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _first_sums(x: Array, lanes: Array) -> int:
    sums, sizes, low, high = lanes[0], lanes[1], lanes[5], lanes[6]
    whole = x.size // LANES
    tiles = x[: whole * LANES].reshape(whole, LANES)
    for i in range(whole):
        tile = tiles[i]
        for k in range(LANES):
            v = np.float64(tile[k])
            sums[k] += v
            sizes[k] += abs(v)
    for i in range(whole):
        tile = tiles[i]
        for k in range(LANES):
            v = np.float64(tile[k])
            low[k] = min(low[k], v)
            high[k] = max(high[k], v)
    zeros = 0
    for i in range(x.size):
        zeros += x[i] == 0
    for k in range(x.size - whole * LANES):
        v = np.float64(x[whole * LANES + k])
        sums[k] += v
        sizes[k] += abs(v)
        low[k] = min(low[k], v)
        high[k] = max(high[k], v)
    return zeros


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _central_sums(x: Array, mean: float, lanes: Array) -> None:
    m2, m3, m4 = lanes[2], lanes[3], lanes[4]
    whole = x.size // LANES
    tiles = x[: whole * LANES].reshape(whole, LANES)
    for i in range(whole):
        tile = tiles[i]
        for k in range(LANES):
            d = np.float64(tile[k]) - mean
            d2 = d * d
            m2[k] += d2
            m3[k] += d2 * d
            m4[k] += d2 * d2
    for k in range(x.size - whole * LANES):
        d = np.float64(x[whole * LANES + k]) - mean
        d2 = d * d
        m2[k] += d2
        m3[k] += d2 * d
        m4[k] += d2 * d2


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _slow_moments(x: Array, whole: Array, real: Array, lanes: Array) -> None:
    """Do as `piece_moments` where some values are not finite, or their sum is not."""
    lanes[:] = 0.0
    n = zeros = nan = infinite = 0
    low, high = inf, -inf
    for i in range(x.size):
        v = np.float64(x[i])
        if v - v == 0.0:
            n += 1
            lanes[0, i % LANES] += v
            lanes[1, i % LANES] += abs(v)
            low, high = min(low, v), max(high, v)
            zeros += v == 0.0
        elif v != v:  # noqa: PLR0124 -- NaN is not itself
            nan += 1
        else:
            infinite += 1
    whole[1], whole[2], whole[3], whole[4], whole[5] = x.size, n, zeros, nan, infinite
    if n == 0:
        return
    mean = _total(lanes[0]) / n if low < high else low
    for i in range(x.size):
        v = np.float64(x[i])
        if v - v == 0.0:
            d = v - mean
            d2 = d * d
            lanes[2, i % LANES] += d2
            lanes[3, i % LANES] += d2 * d
            lanes[4, i % LANES] += d2 * d2
    _finish(real, lanes, mean, low, high, _total(lanes[1]), n)


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _finish(
    real: Array, lanes: Array, mean: float, low: float, high: float, sizes: float, n: int
) -> None:
    real[0] = mean
    real[1] = _total(lanes[2]) / n
    real[2] = _total(lanes[3]) / n
    real[3] = _total(lanes[4]) / n
    real[4], real[5], real[6] = low, high, sizes / n


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _total(lanes: Array) -> float:
    """Return the sum of the lanes, folded in halves (they are overwritten)."""
    half = LANES // 2
    while half:
        for k in range(half):
            lanes[k] += lanes[k + half]
        half //= 2
    return np.float64(lanes[0])


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def add_sketch(x: Array, first: int, signs: Array, tables: Array) -> None:
    """Add finite values to a sketch's table of 1024 (see `stats.sketch.fold`).

    `first` is the global index of x[0]; rotations and flips are those of `stats.sketch.runs`.
    """
    at = 0
    while at < x.size:
        place = (first + at) % 256
        length = min(256 - place, x.size - at)
        bits = mixed(np.uint64((first + at) // 256) ^ np.uint64(0x9E3779B97F4A7C15))
        flip = (bits >> np.uint64(40)) & np.uint64(1)
        start = np.int64(bits & np.uint64(0xFF)) + 512 * np.int64(flip) + place
        sign = (first + at) % signs.size
        into = tables[start : start + length]
        values = x[at : at + length]
        signed = signs[sign : sign + length]
        for k in range(length):
            into[k] += np.float64(values[k] * signed[k])
        at += length


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def add_channels(
    x: Array, first: int, columns: Array, row_sums: Array, first_row: int, lanes: Array
) -> None:
    """Add the squares of finite values to the sums of their rows and columns.

    `first` is the global index of x[0] in a matrix of `columns.size` columns; row r stands at
    row_sums[r - first_row]; `lanes` is scratch, at least (2, LANES).
    """
    width = columns.size
    at = 0
    while at < x.size:
        row, column = (first + at) // width - first_row, (first + at) % width
        if column == 0 and x.size - at >= 2 * width:
            two = x[at : at + 2 * width].reshape(2, width)
            _add_two_rows(two, columns, row_sums[row : row + 2], lanes)
            at += 2 * width
            continue
        length = min(width - column, x.size - at)
        values = x[at : at + length]
        into = columns[column : column + length]
        for k in range(length):
            v = np.float64(values[k])
            into[k] += v * v
        row_sums[row] += _sum_of_squares(values, lanes[0])
        at += length


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _add_two_rows(two: Array, columns: Array, row_sums: Array, lanes: Array) -> None:
    """Add the squares of two whole rows, (2, width), to their sums by row and by column.

    Each value is squared once, and the sums by column are loaded and stored once for both rows.
    The order of the additions is that of `_sum_of_squares`: cuts must not show.
    """
    first, second = two[0], two[1]
    one, other = lanes[0], lanes[1]
    one[:] = 0.0
    other[:] = 0.0
    pairs = columns.size // (2 * LANES)
    for i in range(pairs):
        at, middle, end = 2 * i * LANES, (2 * i + 1) * LANES, 2 * (i + 1) * LANES
        a, b, left = first[at:middle], second[at:middle], columns[at:middle]
        c, d, right = first[middle:end], second[middle:end], columns[middle:end]
        for k in range(LANES):
            p, q = np.float64(a[k]), np.float64(b[k])
            r, s = np.float64(c[k]), np.float64(d[k])
            p, q, r, s = p * p, q * q, r * r, s * s
            left[k] += p + q
            right[k] += r + s
            one[k] += p + r
            other[k] += q + s
    total, total_other = (_total(one), _total(other)) if pairs else (0.0, 0.0)
    for k in range(2 * pairs * LANES, columns.size):
        v, w = np.float64(first[k]), np.float64(second[k])
        columns[k] += v * v + w * w
        total += v * v
        total_other += w * w
    row_sums[0] += total
    row_sums[1] += total_other


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _sum_of_squares(x: Array, lanes: Array) -> float:
    pairs = x.size // (2 * LANES)
    lanes[:] = 0.0
    for i in range(pairs):
        a = x[2 * i * LANES : (2 * i + 1) * LANES]
        b = x[(2 * i + 1) * LANES : (2 * i + 2) * LANES]
        for k in range(LANES):
            v, w = np.float64(a[k]), np.float64(b[k])
            lanes[k] += v * v + w * w
    total = _total(lanes) if pairs else 0.0
    for i in range(2 * pairs * LANES, x.size):
        v = np.float64(x[i])
        total += v * v
    return total
