"""Channels drawn: counts, the spread on a log axis, the largest, the past."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.draw.cells import line_width
from forkmon.draw.channels import axis_lines, legend, peak_ratio
from forkmon.draw.glyphs import ASCII, UNICODE
from forkmon.draw.ink import plain
from forkmon.stats.channels import Axis

NORMS = st.lists(st.floats(0, 1e38), min_size=1, max_size=40)


def axis_of(norms: list[float], outliers: int = 0, dead: int = 0) -> Axis:
    """Return the channels of some norms."""
    ordered = sorted(norms)
    levels = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
    quantiles = tuple(ordered[int(level * (len(ordered) - 1))] for level in levels)
    top = sorted(enumerate(norms), key=lambda item: -item[1])[:8]
    return Axis(len(norms), dead, outliers, ordered[0], ordered[-1], quantiles, tuple(top))


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@given(norms=NORMS, width=st.integers(1, 130), height=st.integers(0, 20))
def test_any_norms_draw_to_size(
    glyphs: object, norms: list[float], width: int, height: int
) -> None:
    """Zeros, equal and huge norms give exactly the lines and cells asked for."""
    signs = ASCII if glyphs is ASCII else UNICODE
    axis = axis_of(norms)
    lines = axis_lines(
        "rows (output)", axis, [axis, None, axis], width=width, height=height, glyphs=signs
    )
    assert len(lines) == height
    assert {line_width(line) for line in lines} <= {width}
    if signs is ASCII:
        assert all(text.isascii() for text in plain(lines))


def test_an_outlier_stands_out() -> None:
    """One channel eight times the others is named, counted and leads the bars."""
    axis = axis_of([1.0 + i / 100 for i in range(63)] + [8.0], outliers=1)
    calm = axis_of([1.0 + i / 100 for i in range(64)])
    text = plain(axis_lines("rows", axis, [calm, axis], width=75, height=14))
    assert text[0].startswith("rows 64   outliers 1   dead 0   max/median 6.1")
    assert text[1].rstrip().endswith("─")
    assert text[2].rstrip().endswith("8.00")
    bars = [line.count("█") for line in text[3:11]]
    assert text[3].startswith("#63")
    assert bars[0] > 4 * bars[1]
    assert "outliers ▁█ 1" in text[11]


def test_equal_norms_are_a_sentence() -> None:
    """Where there is no spread there is no axis."""
    assert (
        "all norms are .500"
        in plain(axis_lines("rows", axis_of([0.5] * 9), [], width=60, height=9))[1]
    )
    assert peak_ratio(axis_of([0.0] * 9)) is None


def test_dead_channels_do_not_stretch_the_axis() -> None:
    """The axis begins at a thousandth of the median; what is lower is marked at its end."""
    axis = axis_of([1e-30] + [1.0 + i / 50 for i in range(50)], dead=1)
    text = plain(axis_lines("rows", axis, [], width=60, height=9))
    assert "dead 1" in text[0]
    assert text[1].startswith("‹")


def test_the_legend_fits() -> None:
    """The line that explains the drawing has the width asked for."""
    assert line_width(legend(40)) == 40
