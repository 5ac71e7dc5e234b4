"""The fork diagram drawn: size, where the mass is, branches, events, steps held."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.draw.cells import line_width
from forkmon.draw.fork import Branch, Event, Slice, fork
from forkmon.draw.glyphs import ASCII, UNICODE
from forkmon.draw.ink import Ink, plain
from forkmon.stats import codes
from forkmon.stats.reduced import Reduced

SHADES = set("░▒▓█")


def reduced(values: list[float]) -> Reduced:
    """Return the reduced form of values."""
    offsets = np.array(values, np.float64)
    return codes.from_keys(codes.key_of_offsets(offsets), np.ones(len(values), np.int64), 0.0)


def around(centre: float, count: int = 64) -> list[float]:
    """Return values close around a centre."""
    return [centre + (i - count / 2) * 1e-3 for i in range(count)]


STEPS = st.lists(st.integers(0, 10**9), min_size=1, max_size=8, unique=True).map(sorted)
VALUES = st.lists(st.floats(-1e30, 1e30), min_size=0, max_size=20)


@pytest.mark.parametrize("ascii_only", [False, True])
@given(
    steps=STEPS, values=VALUES, width=st.integers(1, 140), height=st.integers(0, 40),
    log_x=st.booleans(), symlog=st.booleans(),
)  # fmt: skip
def test_any_history_draws_to_size(  # noqa: PLR0917 -- each a part of the case
    steps: list[int], values: list[float], width: int, height: int, log_x: bool, symlog: bool,
    ascii_only: bool,
) -> None:  # fmt: skip
    """Any values at any steps give exactly the lines and cells asked for."""
    glyphs = ASCII if ascii_only else UNICODE
    slices = [Slice(step, reduced(values), (Branch(0.0, 0.5), Branch(1.0, 0.5))) for step in steps]
    lines = fork(
        slices, width=width, height=height, glyphs=glyphs, log_x=log_x,
        scale="symlog" if symlog else "linear", mark=steps[0],
        events=[Event(steps[-1], "SPLIT", glyphs.warn, Ink.WARN)],
    )  # fmt: skip
    assert len(lines) == height
    assert {line_width(line) for line in lines} <= {width}
    if ascii_only:
        assert all(text.isascii() for text in plain(lines))


def test_mass_is_drawn_where_the_values_are() -> None:
    """One hump low until the split, then one high and one low, and nothing between them."""
    before, after = around(-1.0) + around(-0.9), around(-1.0) + around(1.0)
    slices = [Slice(0, reduced(before)), Slice(50, reduced(after)), Slice(100, reduced(after))]
    text = plain(fork(slices, width=60, height=23, log_x=False))
    drawn = text[:20]
    filled = [[row for row in range(20) if drawn[row][x] in SHADES] for x in (12, 50)]
    assert min(filled[0]) > 14
    assert min(filled[1]) < 4
    assert max(filled[1]) > 14
    assert not any(6 < row < 13 for row in filled[1])


def test_branches_carry_their_shares() -> None:
    """Two modes are drawn over the density and labelled; a single one is not."""
    values = reduced(around(-1.0, 30) + around(1.0, 70))
    pair = (Branch(-1.0, 0.3), Branch(1.0, 0.7))
    lines = fork([Slice(0, values, pair), Slice(9, values, pair)], width=60, height=20)
    text = "\n".join(plain(lines))
    assert "30 %" in text
    assert "70 %" in text
    assert any(span.ink is Ink.ACCENT for line in lines for span in line)
    alone = fork([Slice(0, values, (Branch(1.0, 1.0),))], width=60, height=20)
    assert not any(span.ink is Ink.ACCENT for line in alone for span in line)


def test_an_event_stands_under_its_step() -> None:
    """The mark on the axis and the words below it share the column of the step."""
    values = reduced(around(0.0))
    slices = [Slice(step, values) for step in range(0, 101, 10)]
    event = Event(50, "SPLIT 50", "▲", Ink.WARN)
    text = plain(fork(slices, width=70, height=16, log_x=False, events=[event]))
    assert text[-1].index("▲ SPLIT 50") == text[-3].index("▲")
    assert abs(text[-3].index("▲") - (8 + (70 - 9) / 2)) <= 1


def test_nothing_and_too_little_room_are_said() -> None:
    """No finite value and a tiny box are sentences, not empty boxes."""
    empty = plain(fork([Slice(0, reduced([]))], width=60, height=20))
    assert any("no finite values" in line for line in empty)
    small = plain(fork([Slice(0, reduced([1.0]))], width=25, height=20))
    assert any("too small" in line for line in small)
