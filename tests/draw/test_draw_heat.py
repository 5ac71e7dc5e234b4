"""The overview drawn: size, shades in the order of values, groups on scales of their own."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.draw.cells import line_width
from forkmon.draw.glyphs import ASCII, UNICODE
from forkmon.draw.heat import Heat, HeatRow, heat, shades_of
from forkmon.draw.ink import Ink, plain

NUMBER = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=64))


@pytest.mark.parametrize("ascii_only", [False, True])
@given(
    table=st.lists(st.lists(NUMBER, min_size=5, max_size=5), max_size=12),
    width=st.integers(1, 140), height=st.integers(0, 30), by_group=st.booleans(),
    row=st.integers(0, 11), column=st.integers(0, 4),
)  # fmt: skip
def test_any_numbers_draw_to_size(  # noqa: PLR0917 -- each a part of the case
    table: list[list[float | None]], width: int, height: int, by_group: bool, row: int, column: int,
    ascii_only: bool,
) -> None:  # fmt: skip
    """Missing, infinite and equal numbers give exactly the lines and cells asked for."""
    rows = [HeatRow(str(i), tuple(v), f"role {i % 3}", "warn") for i, v in enumerate(table)]
    shown = Heat(rows, [0, 1, 2, 4, 8], min(row, max(0, len(rows) - 1)), column)
    glyphs = ASCII if ascii_only else UNICODE
    lines = heat(shown, width=width, height=height, glyphs=glyphs, by_group=by_group)
    assert len(lines) == height
    assert {line_width(line) for line in lines} <= {width}
    if ascii_only:
        assert all(text.isascii() for text in plain(lines))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
def test_a_larger_value_is_never_lighter(values: list[float]) -> None:
    """Shades rise with values, whatever the scale."""
    scale = shades_of([HeatRow("", tuple(values))])
    levels = [scale.level(value, 4) for value in sorted(values)]
    assert levels == sorted(levels)


def test_decades_are_shaded_by_their_logarithm() -> None:
    """Values over many decades use all shades, not one for all but the largest."""
    row = HeatRow("0", tuple(10.0**-k for k in range(8, 0, -1)))
    scale = shades_of([row])
    assert scale.log
    assert {scale.level(v, 4) for v in row.values if v is not None} == {0, 1, 2, 3}


def test_each_role_has_its_own_scale_if_asked() -> None:
    """Gains near 1 leave small matrices their contrast."""
    rows = [
        HeatRow("0", (1.0, 1.01, 1.02, 1.04), "ln"),
        HeatRow("0", (0.01, 0.0101, 0.0102, 0.0104), "attn"),
    ]
    shown = Heat(rows, [0, 1, 2, 3])
    apart = plain(heat(shown, width=70, height=4, by_group=True))
    assert "░" in apart[3]
    assert "█" in apart[3]
    together = plain(heat(shown, width=70, height=4))
    assert "█" not in together[3]


def test_holes_and_infinities_have_glyphs() -> None:
    """What is missing is a dot, what is not finite an error sign: it is told without colour."""
    shown = Heat([HeatRow("0", (None, math.inf, 1.0, 2.0))], [0, 1, 2, 3])
    lines = heat(shown, width=70, height=4)
    text = plain(lines)[2]
    assert "·" in text
    assert "✖" in text
    assert any(span.ink is Ink.ERROR for span in lines[2])


def test_the_value_under_the_cursor_is_written() -> None:
    """The number at the chosen step ends the row."""
    shown = Heat([HeatRow("0", (0.5, 0.25))], [0, 1], row=0, column=1)
    assert plain(heat(shown, width=70, height=3 + 1))[2].rstrip().endswith(".250")
