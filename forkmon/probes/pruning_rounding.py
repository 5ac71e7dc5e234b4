"""What rounding a tensor to fewer bits costs: int8, int4 and fp8 with one scale, and bf16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Target = Literal["int8", "int4", "fp8", "bf16"]

TARGETS: Final[tuple[Target, ...]] = ("int8", "int4", "fp8", "bf16")

E4M3_MAX = 448.0
"""Largest value of 8-bit floats with 4 bits of exponent (OCP specification, revision 1.0)."""


def rounded(target: Target, values: Floats, largest: float) -> Floats:
    """Return values as they would come back; `largest` magnitude of the tensor sets the scale.

    Integers: symmetric, rounding half to even. fp8: E4M3, the largest magnitude becoming 448.
    """
    return _ROUND[target](values, largest)


def squared_error(
    target: Target, values: Floats, largest: float, counts: NDArray[np.int64] | None = None
) -> float:  # fmt: skip
    """Return the sum of squared errors of finite values, each counted `counts` times."""
    if largest == 0:
        return 0.0
    squares = (rounded(target, values, largest) - values) ** 2
    return float(squares.sum() if counts is None else (squares * counts).sum())


def _integers(levels: int) -> Callable[[Floats, float], Floats]:
    def to(values: Floats, largest: float) -> Floats:
        # Divided in this order no tiny scale can vanish below the smallest float.
        steps = np.rint(values / largest * levels)
        return np.clip(steps, -levels, levels) / levels * largest

    return to


def _e4m3(values: Floats, largest: float) -> Floats:
    scaled = values / largest * E4M3_MAX
    return e4m3(scaled) / E4M3_MAX * largest


def e4m3(values: Floats) -> Floats:
    """Return the nearest E4M3 numbers, half to even, what is beyond 448 being 448."""
    _, exponent = np.frexp(values)
    step = np.ldexp(1.0, np.maximum(exponent - 1, -6) - 3)
    near: Floats = np.rint(values / step) * step
    return np.clip(near, -E4M3_MAX, E4M3_MAX)


def _bf16(values: Floats, largest: float) -> Floats:  # noqa: ARG001 -- it has no scale
    """Return the nearest bf16 numbers, half to even; what overflows float32 is cut off there."""
    limit = float(np.finfo(np.float32).max)
    bits = np.clip(values, -limit, limit).astype(np.float32).view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    near = (bits + np.uint32(0x7FFF) + even) & np.uint32(0xFFFF0000)
    found = near.view(np.float32).astype(np.float64)
    return np.where(np.isfinite(found), found, values)


_ROUND: Final[dict[Target, Callable[[Floats, float], Floats]]] = {
    "int8": _integers(127),
    "int4": _integers(7),
    "fp8": _e4m3,
    "bf16": _bf16,
}
