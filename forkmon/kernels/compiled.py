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
    saturate,
    zero_nonfinite,
)
from forkmon.kernels.compiled_sums import add_channels, add_sketch, piece_moments
from forkmon.kernels.compiled_widen import widen

Array = NDArray[Any]

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def measure_codes(
    codes: Array, pairs: Array, kind: int, table: Array, first: int, counts: Array, four: bool,
    values: Array, signs: Array, sketch: Array,
    columns: Array, row_sums: Array, first_row: int, lanes: Array,
) -> None:  # fmt: skip
    """Take a chunk of codes: count them, and add their values to sketch and channels.

    `pairs` is the chunk seen as 16-bit words, which are what is counted of 8-bit codes too: half
    as many increments. `kind` is one of `compiled_widen`; `table` holds each code's value (0
    where it is not finite); `values` is a scratch block. Without `signs` only counts are taken,
    without `columns` no channels.
    """
    wide = 2 // codes.itemsize
    at = 0
    while at < codes.size:
        length = min(values.size - (first + at) % values.size, codes.size - at)
        words = pairs[-(-at // wide) : -(-(at + length) // wide)]
        if four:
            count_four_tables(words, counts)
        else:
            count_one_table(words, counts[0])
        start = first + at
        piece, into = codes[at : at + length], values[:length]
        at += length
        if not signs.size:
            continue
        widen(piece, kind, table, into)
        add_sketch(into, start, signs, sketch)
        if columns.size:
            add_channels(into, start, columns, row_sums, first_row, lanes)


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
            add_channels(piece, start, columns, row_sums, first_row, lanes)
    return pieces
