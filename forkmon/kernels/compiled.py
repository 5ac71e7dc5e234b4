"""The compiled loops: the only code that touches elements one by one.

Float sums run in 64 fixed lanes that live in memory (lane = index mod 64 inside a piece): the
inner loop over lanes becomes vector instructions without a licence to reorder, so the bits depend
neither on the machine's vector width nor on how a tensor was cut into chunks.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

LANES = 64
WORDS = 128
"""64-bit words a hashed kilobyte."""

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def count_one_table(codes: Array, table: Array) -> None:
    """Add the counts of `codes` to `table`; fastest on spread-out codes."""
    for i in range(codes.size):
        table[codes[i]] += 1


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def count_four_tables(codes: Array, tables: Array) -> None:
    """Add the counts of `codes` to four tables in turn: repeats do not wait for each other."""
    whole = codes.size - codes.size % 4
    for i in range(0, whole, 4):
        tables[0, codes[i]] += 1
        tables[1, codes[i + 1]] += 1
        tables[2, codes[i + 2]] += 1
        tables[3, codes[i + 3]] += 1
    for i in range(whole, codes.size):
        tables[0, codes[i]] += 1


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def count_prefixes(bits: Array, table: Array) -> None:
    """Add the counts of the top 16 bits of float32 patterns to `table`."""
    for i in range(bits.size):
        table[bits[i] >> np.uint32(16)] += 1


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def count_prefixes_four_tables(bits: Array, tables: Array) -> None:
    """Add the counts of the top 16 bits of float32 patterns to four tables in turn."""
    whole = bits.size - bits.size % 4
    for i in range(0, whole, 4):
        tables[0, bits[i] >> np.uint32(16)] += 1
        tables[1, bits[i + 1] >> np.uint32(16)] += 1
        tables[2, bits[i + 2] >> np.uint32(16)] += 1
        tables[3, bits[i + 3] >> np.uint32(16)] += 1
    for i in range(whole, bits.size):
        tables[0, bits[i] >> np.uint32(16)] += 1


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def widen_bf16(codes: Array, bits: Array) -> bool:
    """Write bf16 codes as float32 patterns; return whether all are finite."""
    most = np.uint16(0)
    for i in range(codes.size):
        bits[i] = np.uint32(codes[i]) << np.uint32(16)
        magnitude = np.uint16(codes[i] & np.uint16(0x7FFF))
        most = max(most, magnitude)
    return bool(most < 0x7F80)


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def widen_f16(codes: Array, values: Array, bits: Array) -> bool:
    """Write fp16 codes as float32 (`bits` is `values` seen as uint32); return if all are finite.

    The exponent is moved by a multiplication with 2^112, which also makes subnormals right.
    """
    most = np.uint16(0)
    for i in range(codes.size):
        magnitude = np.uint16(codes[i] & np.uint16(0x7FFF))
        most = max(most, magnitude)
        bits[i] = np.uint32(magnitude) << np.uint32(13)
    scale = np.float32(2.0**112)
    for i in range(codes.size):
        values[i] *= scale
    for i in range(codes.size):
        bits[i] |= np.uint32(codes[i] & np.uint16(0x8000)) << np.uint32(16)
    return bool(most < 0x7C00)


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def look_up(codes: Array, table: Array, values: Array) -> None:
    """Write the table's entry of each code."""
    for i in range(codes.size):
        values[i] = table[codes[i]]


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def zero_nonfinite(x: Array, values: Array) -> None:
    """Write x with zeros in place of NaN and infinities."""
    for i in range(x.size):
        v = x[i]
        values[i] = v if v - v == 0 else 0


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
        bits = _mixed(np.uint64((first + at) // 256) ^ np.uint64(0x9E3779B97F4A7C15))
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
    row_sums[r - first_row]; `lanes` is scratch, (LANES,).
    """
    width = columns.size
    at = 0
    while at < x.size:
        row, column = (first + at) // width - first_row, (first + at) % width
        if column == 0 and x.size - at >= 2 * width:
            _add_two_rows(x[at : at + width], x[at + width : at + 2 * width], columns)
            row_sums[row] += _sum_of_squares(x[at : at + width], lanes)
            row_sums[row + 1] += _sum_of_squares(x[at + width : at + 2 * width], lanes)
            at += 2 * width
            continue
        length = min(width - column, x.size - at)
        values = x[at : at + length]
        into = columns[column : column + length]
        for k in range(length):
            v = np.float64(values[k])
            into[k] += v * v
        row_sums[row] += _sum_of_squares(values, lanes)
        at += length


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _add_two_rows(a: Array, b: Array, columns: Array) -> None:
    """Add the squares of two whole rows: the sums by column are loaded and stored once for both."""
    for k in range(columns.size):
        v, w = np.float64(a[k]), np.float64(b[k])
        columns[k] += v * v + w * w


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


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def hash_kilobytes(words: Array, first: int, keys: Array) -> np.uint64:
    """Return the sum of the hashes of kilobytes `first`, first + 1, ... of a tensor.

    Each is the NH hash (Black et al. 1999, UMAC) under two keys of its 128 words, mixed with its
    index; adding them makes the result independent of order and of how the tensor was cut.
    """
    total = np.uint64(0)
    low = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    for i in range(words.size // WORDS):
        block = words[i * WORDS : (i + 1) * WORDS]
        a = np.uint64(0)
        b = np.uint64(0)
        for k in range(WORDS):
            t = block[k] + keys[0, k]
            u = block[k] + keys[1, k]
            a += (t & low) * (t >> shift)
            b += (u & low) * (u >> shift)
        index = np.uint64(first + i) * np.uint64(0x9E3779B97F4A7C15)
        total += _mixed(a ^ index) ^ _mixed(b + index)
    return total


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _mixed(x: np.uint64) -> np.uint64:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def saturate(x: Array, values: Array) -> None:
    """Write float64 values as float32, finite ones beyond its range as its largest."""
    limit = np.float64(3.4028234663852886e38)
    for i in range(x.size):
        v = np.float64(x[i])
        if v - v == 0.0:
            v = min(max(v, -limit), limit)
        values[i] = np.float32(v)


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
