"""Compiled loops from codes to the float32 values they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

Array = NDArray[Any]


class IRBuilder(Protocol):
    """What is used of llvmlite's builder, which comes without types."""

    def bitcast(self, value: object, typ: object) -> object: ...


BF16, F16, E4M3, E5M2, I8, U8, BY_TABLE = range(7)
"""How a dtype's codes are widened."""

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


def _bitcast(_context: object, _bits: object) -> tuple[Any, Any]:
    """Return the type and the code of a cast of 32 bits to a float32.

    numba itself sees arrays as of another type, but no single number.
    """

    def generate(
        _target: object, builder: IRBuilder, _signature: object, values: Sequence[object]
    ) -> object:
        return builder.bitcast(values[0], ir.FloatType())

    return types.float32(types.uint32), generate


_as_float: Any = intrinsic(_bitcast)


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def widen(codes: Array, kind: int, table: Array, values: Array) -> None:
    """Write the values of codes; what is not finite becomes 0, as in `table`."""
    finite = True
    if kind == BF16:
        finite = _widen(codes, np.uint32(0x7FFF), 16, 16, 0x7F80, np.float32(1), values)
    elif kind == F16:
        finite = _widen(codes, np.uint32(0x7FFF), 13, 16, 0x7C00, np.float32(2.0**112), values)
    elif kind == E4M3:
        finite = _widen(codes, np.uint32(0x7F), 20, 24, 0x7F, np.float32(2.0**120), values)
    elif kind == E5M2:
        finite = _widen(codes, np.uint32(0x7F), 21, 24, 0x7C, np.float32(2.0**112), values)
    elif kind == I8:
        _widen_signed(codes, values)
    elif kind == U8:
        _widen_unsigned(codes, values)
    else:
        finite = False
    if not finite:
        # Widened by a multiplication, NaN and infinities look finite: look all of them up.
        _look_up(codes, table, values)


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _widen(
    codes: Array, magnitude: np.uint32, shift: int, sign: int, end: int, scale: np.float32,
    values: Array,
) -> bool:  # fmt: skip
    """Write float codes as float32; return whether all are finite.

    The magnitude's bits go where float32 has its own, and the exponent is moved by a
    multiplication, which makes subnormals right as well. Codes from magnitude `end` on are not
    finite.
    """
    most = np.uint32(0)
    for i in range(codes.size):
        code = np.uint32(codes[i])
        size = code & magnitude
        bits = (size << np.uint32(shift)) | ((code & ~magnitude) << np.uint32(sign))
        values[i] = _as_float(bits) * scale
        most = max(most, size)
    return bool(most < end)


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _widen_signed(codes: Array, values: Array) -> None:
    for i in range(codes.size):
        values[i] = np.float32(np.int8(codes[i]))


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _widen_unsigned(codes: Array, values: Array) -> None:
    for i in range(codes.size):
        values[i] = np.float32(codes[i])


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _look_up(codes: Array, table: Array, values: Array) -> None:
    for i in range(codes.size):
        values[i] = table[codes[i]]
