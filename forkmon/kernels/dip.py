"""The dip: how far a distribution function is from the nearest one with a single mode.

J. A. Hartigan & P. M. Hartigan, The dip test of unimodality, Annals of Statistics 13 (1985), 70-84:
inside an interval that narrows down on the mode, compare the greatest convex minorant of the
distribution function with its least concave majorant. Written from that description.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _compiler() -> Any:  # noqa: ANN401 -- numba has no types
    """Return numba's compiler, or one that leaves a function as it is where there is no numba."""
    try:
        from numba import njit
    except (ImportError, AttributeError, SystemError, OSError, RuntimeError):
        return _as_it_is
    return njit(nogil=True, cache=True, error_model="numpy")


_compiled = _compiler()


def dip(x: Array, below: Array, up_to: Array) -> float:
    """Return the dip of a distribution function.

    `x` (k,) ascending without repeats, `below` and `up_to` (k,) its limits there from the left and
    the right; between two points it is a line. For a sample these are (i - 1) / n and i / n; it
    must not hold a value twice: give what is counted together some width.
    """
    return float(_dip(x, below, up_to)) if len(x) > 1 else 0.0


def p_value(found: float, n: int) -> float:
    """Return how probable so large a dip is for n values of a uniform law, the worst unimodal one.

    A fit to the upper tail of 400,000 simulated samples; beyond 1e-5 it is extrapolated.
    """
    return min(1.0, 7.1 * exp(-min(700.0, 16.2 * n * found * found)))


@_compiled  # type: ignore[untyped-decorator]
def _hull(  # noqa: PLR0913, PLR0917 -- a compiled loop: arrays and scalars, by position
    x: Array, y: Array, a: int, b: int, sign: float, on: Array, line: Array
) -> None:
    """Write the convex minorant (sign 1) or concave majorant (-1) of y over a..b into `line`.

    `on` tells which points it touches.
    """
    stack = np.empty(b - a + 1, np.int64)
    size = 0
    for k in range(a, b + 1):
        while size >= 2:
            i, j = stack[size - 2], stack[size - 1]
            if sign * ((y[j] - y[i]) * (x[k] - x[j]) - (y[k] - y[j]) * (x[j] - x[i])) < 0:
                break
            size -= 1
        stack[size] = k
        size += 1
    on[a : b + 1] = False
    for s in range(size):
        j = stack[s]
        on[j] = True
        line[j] = y[j]
        if s:
            i = stack[s - 1]
            slope = (y[j] - y[i]) / (x[j] - x[i])
            for k in range(i + 1, j):
                line[k] = y[i] + slope * (x[k] - x[i])


@_compiled  # type: ignore[untyped-decorator]
def _dip(x: Array, below: Array, up_to: Array) -> Any:  # noqa: ANN401 -- a number of numpy's
    size = x.size
    minorant, majorant = np.empty(size), np.empty(size)
    touches, caps = np.empty(size, np.bool_), np.empty(size, np.bool_)
    a, b = 0, size - 1
    found = (up_to - below).max()
    while True:
        _hull(x, below, a, b, 1.0, touches, minorant)
        _hull(x, up_to, a, b, -1.0, caps, majorant)
        gap, at = -1.0, a
        for k in range(a, b + 1):
            if (touches[k] or caps[k]) and majorant[k] - minorant[k] > gap:
                gap, at = majorant[k] - minorant[k], k
        if gap <= found:
            return 0.5 * found
        low = high = at
        while not touches[low]:
            low -= 1
        while not caps[high]:
            high += 1
        for k in range(a, low + 1):
            found = max(found, up_to[k] - minorant[k])
        for k in range(high, b + 1):
            found = max(found, majorant[k] - below[k])
        if low == a and high == b:
            return 0.5 * found
        a, b = low, high
