"""The compiled drivers: one call takes a chunk through every loop, block by block, in cache."""

from __future__ import annotations

from typing import Any

from numba import njit
from numpy.typing import NDArray

from forkmon.kernels.compiled_codes import (
    count_four_tables,
    count_one_table,
    count_prefixes,
    count_prefixes_four_tables,
    look_up,
    saturate,
    widen_bf16,
    widen_f16,
    zero_nonfinite,
)
from forkmon.kernels.compiled_sums import add_channels, add_sketch, piece_moments

Array = NDArray[Any]

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def measure_codes(
    codes: Array, kind: int, table: Array, first: int, counts: Array, four: bool,
    values: Array, bits: Array, signs: Array, sketch: Array,
    columns: Array, row_sums: Array, first_row: int, lanes: Array,
) -> None:  # fmt: skip
    """Take a chunk of codes: count them, and add their values to sketch and channels.

    `kind` is 0 for bf16, 1 for fp16, 2 where `table` holds each code's value (0 where it is not
    finite); `values` and `bits` are one scratch block, seen twice. Without `signs` only counts are
    taken, without `columns` no channels.
    """
    at = 0
    while at < codes.size:
        length = min(values.size - (first + at) % values.size, codes.size - at)
        piece = codes[at : at + length]
        wide, raw = values[:length], bits[:length]
        if four:
            count_four_tables(piece, counts)
        else:
            count_one_table(piece, counts[0])
        at += length
        if not signs.size:
            continue
        finite = True
        if kind == 0:
            finite = widen_bf16(piece, raw)
        elif kind == 1:
            finite = widen_f16(piece, wide, raw)
        else:
            look_up(piece, table, wide)
        if not finite:
            # fp16 widened by a multiplication has finite values where it had none: look them up.
            look_up(piece, table, wide)
        start = first + at - length
        add_sketch(wide, start, signs, sketch)
        if columns.size:
            add_channels(wide, start, columns, row_sums, first_row, lanes[0])


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def measure_values(
    x: Array, patterns: Array, first: int, counts: Array, four: bool, whole: Array, real: Array,
    values: Array, clean: Array, bits: Array, signs: Array, sketch: Array,
    columns: Array, row_sums: Array, first_row: int, lanes: Array,
) -> int:  # fmt: skip
    """Take a chunk of float32 or float64 values; return how many pieces of blocks it wrote.

    `patterns` is x seen as uint32 where x is float32, else empty; `values` and `bits` are one
    float32 scratch block, seen twice; `clean` is scratch of x's type.
    """
    at = pieces = 0
    while at < x.size:
        length = min(values.size - (first + at) % values.size, x.size - at)
        piece = x[at : at + length]
        if patterns.size:
            prefixes = patterns[at : at + length]
        else:
            saturate(piece, values[:length])
            prefixes = bits[:length]
        if four:
            count_prefixes_four_tables(prefixes, counts)
        else:
            count_prefixes(prefixes, counts[0])
        start = first + at
        whole[pieces, 0] = start
        finite = piece_moments(piece, whole[pieces], real[pieces], lanes)
        pieces += 1
        at += length
        if not signs.size:
            continue
        if not finite:
            zero_nonfinite(piece, clean[:length])
            piece = clean[:length]
        add_sketch(piece, start, signs, sketch)
        if columns.size:
            add_channels(piece, start, columns, row_sums, first_row, lanes[0])
    return pieces
