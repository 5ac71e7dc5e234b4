"""The reduced form: order, cells and its stored bytes."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.stats import codes
from forkmon.stats.reduced import MAX_KEY, Reduced, cell, decode, key_of

finite32 = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(finite32, finite32)
def test_keys_have_the_order_of_the_values(x: float, y: float) -> None:
    """A larger value never has a smaller key."""
    low, high = sorted((x, y))
    assert key_of(low) <= key_of(high)


@given(finite32)
def test_a_value_lies_in_the_cell_of_its_key(x: float) -> None:
    """The cell holds the value; the mirror image of a cell is the cell of the mirror image."""
    low, high = cell(key_of(x))
    assert low <= x <= high
    assert cell(key_of(-x)) == (-high, -low)


@given(finite32)
def test_a_cell_is_at_most_three_percent_wide(x: float) -> None:
    """Normal values fall in cells 2^-5 of their size wide."""
    low, high = cell(key_of(x))
    if abs(x) > 2.0**-120:
        assert (high - low) / max(abs(low), abs(high)) <= 2.0**-5


@given(st.dictionaries(st.integers(-MAX_KEY, MAX_KEY), st.integers(1, 2**40)), st.floats(-9, 9))
def test_stored_bytes_come_back(table: dict[int, int], pivot: float) -> None:
    """Decoding undoes encoding."""
    keys = tuple(sorted(table))
    value = Reduced(pivot, keys, tuple(table[k] for k in keys))
    assert decode(value.encode()) == value


def test_bytes_of_another_format_are_refused() -> None:
    """A blob of a future version is named, not misread."""
    blob = Reduced(0.0, (1,), (1,)).encode()
    with pytest.raises(ValueError, match="format 9"):
        decode(struct.pack("<B", 9) + blob[1:])


@given(st.lists(finite32, max_size=50))
def test_numpy_keys_equal_the_scalar_rule(xs: list[float]) -> None:
    """The vectorised key is the key."""
    array = np.array(xs, np.float64)
    assert codes.key_of_offsets(array).tolist() == [key_of(x) for x in xs]


def test_sixteen_million_normal_values_fit_three_kilobytes() -> None:
    """The store's promise, on the shape of a large matrix."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal(1 << 20).astype(np.float32).astype(np.float64) * 0.02
    counts = np.zeros(codes.SHIFTED_SIZE, np.int64)
    np.add.at(counts, codes.key_of_offsets(values) + MAX_KEY, 16)
    assert len(codes.from_shifted(counts, 0.0).encode()) <= 3 * 1024
