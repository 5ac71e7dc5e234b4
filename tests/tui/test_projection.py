"""The plane of a run's path: distances kept, branches where they left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.store.reader import Reader
from forkmon.tui.fetching import Path as RunPath
from forkmon.tui.fetching import Stop
from forkmon.tui.projection import path, scaled, within_reach
from forkmon.tui.widgets.panel import Subject
from forkmon.tui.widgets.panel_path import tracks

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Maker


def squares_of(points: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> object:
    """Return the squared distances of all pairs of points."""
    gaps = points[:, None, :] - points[None, :, :]
    return (gaps**2).sum(-1)


@given(
    st.lists(
        st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=12, unique=True
    )
)
def test_points_of_a_plane_keep_their_distances(points: list[tuple[int, int]]) -> None:
    """What lies in a plane is drawn as it lies there, turned at most."""
    given_points = np.array(points, float)
    squares = squares_of(given_points)
    assert isinstance(squares, np.ndarray)
    placed, kept = scaled(squares)
    again = squares_of(placed)
    assert isinstance(again, np.ndarray)
    assert np.allclose(again, squares, atol=1e-6 * squares.max())
    assert kept == pytest.approx(1.0)
    assert placed[0, 0] <= placed[-1, 0] + 1e-9


def test_equal_checkpoints_fall_on_one_point() -> None:
    """Without any distance all points are the same, and nothing is divided by zero."""
    placed, kept = scaled(np.zeros((4, 4)))
    assert np.allclose(placed, 0)
    assert kept == 0.0


def test_the_path_of_a_store(make_store: Callable[..., Maker]) -> None:
    """Every checkpoint has a stop; neighbours in distance are neighbours on the plane."""
    maker = make_store(steps=(0, 1, 2, 4, 8))
    with Reader.open(maker.path) as source:
        found = path(source, source.timeline())
    assert [stop.step for stop in found.stops] == [0, 1, 2, 4, 8]
    assert found.tensors == found.every == len(maker.names)
    assert 0 < found.kept <= 1 + 1e-9


def test_two_checkpoints_are_no_path(make_store: Callable[..., Maker]) -> None:
    """Fewer than three points have no plane."""
    maker = make_store(steps=(0, 1))
    with Reader.open(maker.path) as source:
        assert path(source, source.timeline()) == RunPath()


def test_a_branch_begins_where_it_left(make_store: Callable[..., Maker]) -> None:
    """A segment that is not of the lineage hangs on the last stop before its first step."""
    maker = make_store(steps=(0, 10, 20, 30))
    with Reader.open(maker.path) as source:
        timeline = source.timeline()
    stops = [Stop(row.id, 1, 1, row.step, row.step, 0.0) for row in timeline]
    left = [Stop(100 + s, 2, 1, s, s, 5.0) for s in (15, 25)]
    found = RunPath((*stops, *left), 1.0, 1, 1)
    current = replace(timeline[-1])
    subject = Subject("", None, current, timeline[0], timeline, following=True)
    own, side = tracks(subject, found)
    assert [point.label for point in own.points] == ["0", "10", "20", "30"]
    assert [point.label for point in side.points] == ["10", "15", "25"]
    assert (own.side, side.side) == (False, True)
    assert [point.marked for point in own.points] == [False, False, False, True]


def test_a_run_that_blew_up_is_still_a_path() -> None:
    """Checkpoints a hundred times farther than usual are left out; without them all is seen."""
    line = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 1.0], [3.0, 1.0], [1e9, 0.0]])
    squares = squares_of(line)
    assert isinstance(squares, np.ndarray)
    assert within_reach(squares) == [0, 1, 2, 3]
    assert within_reach(np.zeros((3, 3))) == [0, 1, 2]
