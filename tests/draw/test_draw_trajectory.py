"""The path on the plane: every point drawn, equal distances equally long, every size readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.draw.cells import line_width
from forkmon.draw.glyphs import ASCII, UNICODE
from forkmon.draw.ink import plain
from forkmon.draw.trajectory import Point, Track, trajectory

PLACES = st.floats(-1e6, 1e6)
POINTS = st.lists(st.builds(Point, PLACES, PLACES, st.just("1,024")), min_size=2, max_size=30)


@given(POINTS, st.integers(1, 160), st.integers(1, 50), st.booleans())
def test_any_path_fills_its_room(
    points: list[Point], width: int, height: int, ascii_only: bool
) -> None:
    """Whatever the path and the size: so many lines of so many cells."""
    glyphs = ASCII if ascii_only else UNICODE
    lines = trajectory([Track(tuple(points))], width=width, height=height, glyphs=glyphs)
    assert len(lines) == height
    assert all(line_width(line) == width for line in lines)
    if ascii_only:
        assert all(text.isascii() for text in plain(lines))


def test_a_square_is_square() -> None:
    """A cell is twice as tall as wide: equal distances across and up take cells as 2 to 1."""
    corners = (Point(0, 0), Point(1, 0), Point(1, 1), Point(0, 1))
    lines = plain(trajectory([Track(corners)], width=100, height=30))
    found = [(x, y) for y, text in enumerate(lines[:-1]) for x, c in enumerate(text) if c == "•"]
    across = max(x for x, _ in found) - min(x for x, _ in found)
    up = max(y for _, y in found) - min(y for _, y in found)
    assert across == pytest.approx(2 * up, abs=2)


def test_what_is_looked_at_is_told_apart() -> None:
    """The current point and the baseline have signs of their own, and their labels stay."""
    track = Track((Point(0, 0, "first", baseline=True), Point(1, 1), Point(4, 0, "now", True)))
    text = "\n".join(plain(trajectory([track], width=60, height=16)))
    assert "● " in text or "●" in text
    assert "first" in text
    assert "now" in text
    assert "apart" in text


def test_a_branch_is_no_lineage() -> None:
    """Points of a branch are hollow."""
    line = Track((Point(0, 0), Point(1, 0), Point(2, 0)))
    side = Track((Point(1, 0), Point(2, 1), Point(3, 2)), side=True)
    text = "\n".join(plain(trajectory([line, side], width=60, height=16)))
    assert text.count("○") == 2
    assert text.count("•") == 3


def test_one_point_is_no_path() -> None:
    """It says what it needs instead of drawing."""
    (line,) = plain(trajectory([Track((Point(0, 0),))], width=40, height=1))
    assert "two checkpoints" in line
