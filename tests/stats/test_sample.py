"""The sample: the same elements of a tensor, however it is cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.errors import GridMismatchError
from forkmon.stats import sample


@given(st.integers(0, 10**13))
def test_places_are_spread_over_the_tensor(size: int) -> None:
    """Ascending, without repeats, one in each of equal parts; all of a small tensor."""
    places = sample.places(size)
    assert len(places) == min(size, sample.SIZE)
    assert np.all(places[1:] > places[:-1])
    assert size == 0 or (places[0] >= 0 and places[-1] < size)
    if size > sample.SIZE:
        parts = np.arange(sample.SIZE, dtype=np.int64) * size // sample.SIZE
        assert np.array_equal(np.searchsorted(parts, places, "right"), np.arange(1, 4097))


def test_places_are_out_of_step_with_rows() -> None:
    """A square matrix is looked at in all of its columns, not in one."""
    columns = sample.places(4096 * 4096) % 4096
    assert len(np.unique(columns)) > 2000
    assert np.histogram(columns, 16)[0].min() > 180


@given(
    size=st.integers(0, 20_000),
    cuts=st.lists(st.integers(0, 20_000), max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_pieces_join_to_the_whole(size: int, cuts: list[int], order: object) -> None:
    """Any cut, in any order."""
    values = np.arange(size, dtype=np.float32)
    borders = sorted({0, size, *(min(cut, size) for cut in cuts)})
    pieces = [sample.taken(values[a:b], "f32", a, size) for a, b in pairwise(borders)]
    order.shuffle(pieces)  # type: ignore[attr-defined]  # a random.Random
    whole = sample.EMPTY
    for piece in pieces:
        whole = whole.join(piece)
    assert whole == sample.taken(values, "f32", 0, size)
    assert np.array_equal(whole.values, sample.places(size).astype(np.float32))


def test_pieces_must_not_overlap() -> None:
    """The same element twice is an error."""
    piece = sample.taken(np.ones(10, np.float32), "f32", 0, 10)
    with pytest.raises(GridMismatchError, match="same elements"):
        piece.join(piece)


def test_values_are_those_of_the_type() -> None:
    """Codes become numbers, what is not finite NaN; wide numbers saturate."""
    codes = np.array([0x3F80, 0xC000, 0x7FC0], np.uint16)
    assert np.array_equal(
        sample.taken(codes, "bf16", 0, 3).values, [1.0, -2.0, np.nan], equal_nan=True
    )
    wide = np.array([1e300, -np.inf, 0.5])
    found = sample.taken(wide, "f64", 0, 3).values
    assert found.tolist() == [float(np.finfo(np.float32).max), -np.inf, 0.5]
    assert sample.taken(np.array([-3], np.int64), "i64", 0, 1).values.tolist() == [-3.0]
