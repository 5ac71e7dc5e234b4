"""Quantile bands: the room is filled, the median is inside, the middle is darkest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forkmon.draw.bands import Bands, bands
from forkmon.draw.cells import line_width
from forkmon.draw.glyphs import ASCII, UNICODE
from forkmon.draw.ink import Ink, plain

LEVELS = (-3.1, -2.3, -1.6, -0.7, 0.0, 0.7, 1.6, 2.3, 3.1)
NUMBERS = st.lists(st.floats(-1e30, 1e30), min_size=9, max_size=9).map(sorted)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), NUMBERS), max_size=20),
    st.integers(1, 140),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
)
def test_any_bands_fill_their_room(
    found: list[tuple[int, list[float]]], width: int, height: int, log: bool, ascii_only: bool
) -> None:
    """Whatever the quantiles and the size: so many lines of so many cells."""
    items = [Bands(step, tuple(values)) for step, values in sorted(found, key=lambda i: i[0])]
    glyphs = ASCII if ascii_only else UNICODE
    lines = bands(items, width=width, height=height, glyphs=glyphs, log_y=log)
    assert len(lines) == height
    assert all(line_width(line) == width for line in lines)


def test_the_middle_is_darkest() -> None:
    """From the outside in the shades get darker, and the median runs through the darkest."""
    lines = bands([Bands(0, LEVELS), Bands(9, LEVELS)], width=40, height=30)
    column = [text[20] for text in plain(lines)[:28]]
    order = " ░▒▓▀▄"
    ranks = [order.index(char) for char in column]
    top = max(range(len(ranks)), key=ranks.__getitem__)
    assert column[top] in "▀▄"
    assert ranks[:top] == sorted(ranks[:top])
    assert ranks[top + 1 :] == sorted(ranks[top + 1 :], reverse=True)


def test_a_step_without_quantiles_keeps_the_last_ones() -> None:
    """A checkpoint of which nothing is known is left out."""
    gap = Bands(5, (None,) * 9)
    with_gap = bands([Bands(0, LEVELS), gap, Bands(9, LEVELS)], width=40, height=20)
    assert with_gap == bands([Bands(0, LEVELS), Bands(9, LEVELS)], width=40, height=20)
    assert "no quantiles" in "".join(plain(bands([gap], width=40, height=3)))


def test_the_marked_step_stands_beside_the_bands() -> None:
    """The mark never hides a band."""
    items = [Bands(0, LEVELS), Bands(100, tuple(value / 4 for value in LEVELS))]
    lines = bands(items, width=60, height=20, log_x=False, mark=100)
    marks = [span for line in lines for span in line if "│" in span.text and span.ink is Ink.MUTED]
    assert marks
