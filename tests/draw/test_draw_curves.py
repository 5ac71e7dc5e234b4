"""Laws of line charts: exact size, no escapes, gaps, log axes, small multiples."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forkmon.draw.cells import line_width
from forkmon.draw.curves import Curve, curves
from forkmon.draw.glyphs import ASCII
from forkmon.draw.ink import Ink, Line, plain
from forkmon.draw.multiples import MOMENTS, moment_panel
from forkmon.stats.series import Series

STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
VALUES = st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=True), max_size=40)


def _series(count: int = len(STEPS)) -> Series:
    columns = {name: tuple(0.1 * i for i in range(count)) for name in MOMENTS}
    return Series("h.0.w", STEPS[:count], {**columns, "n": (400.0,) * count})


def _braille(lines: list[Line]) -> int:
    return sum("⠁" <= char <= "⣿" for line in plain(lines) for char in line)


@settings(deadline=None, max_examples=60)
@given(
    values=VALUES,
    width=st.integers(1, 90),
    height=st.integers(1, 24),
    log_x=st.booleans(),
    log_y=st.booleans(),
)
def test_any_values_draw_to_size_without_escapes(
    values: list[float | None], width: int, height: int, log_x: bool, log_y: bool
) -> None:
    """Whatever the numbers, a chart is `height` lines of `width` cells of printable text."""
    curve = Curve("x", list(range(len(values))), values)
    drawn = curves([curve], width=width, height=height, log_x=log_x, log_y=log_y, mark=3)
    assert len(drawn) == height
    assert {line_width(line) for line in drawn} == {width}
    assert all(text.isprintable() for text in plain(drawn))


def test_a_rising_line_on_a_linear_axis() -> None:
    """The golden picture of a straight line, axes and labels included."""
    drawn = curves([Curve("a", [0, 1000, 2000], [0.0, 1.0, 2.0])], width=40, height=8)
    assert plain(drawn) == GOLDEN


def test_log_steps_give_early_steps_room() -> None:
    """On the log axis step 8 of 2,048 stands past a quarter of the width, labels in order."""
    curve = Curve("a", STEPS, [1.0 if step >= 8 else 0.0 for step in STEPS])
    linear = plain(curves([curve], width=60, height=8))
    log = plain(curves([curve], width=60, height=8, log_x=True))
    assert "2,000" in linear[-1]
    assert log[-1].split() == ["step", "0", "1", "4", "16", "64", "256", "1,024"]
    first = [len(line[7:]) - len(line[7:].lstrip()) for line in (linear[0], log[0])]
    assert first[0] < 2
    assert first[1] > 12


def test_missing_values_break_the_line() -> None:
    """None, NaN and infinities are gaps: nothing is drawn across them."""
    whole = curves([Curve("a", range(41), [1.0] * 41)], width=60, height=8)
    gap = [1.0] * 10 + [None] * 7 + [nan] * 7 + [inf] * 7 + [1.0] * 10
    broken = curves([Curve("a", range(41), gap)], width=60, height=8)
    assert 15 < _braille(broken) < _braille(whole) - 20


def test_log_values_say_what_they_leave_out() -> None:
    """Zero and negative values are off a log axis, and a line counts them."""
    drawn = curves(
        [Curve("a", range(5), [0.0, -1.0, 1.0, 10.0, 100.0])], width=60, height=9, log_y=True
    )
    lines = plain(drawn)
    assert lines[0].startswith("2 values at or below 0 are off the log axis")
    assert any(line.lstrip().startswith("100┤") for line in lines)


@pytest.mark.parametrize(
    ("values", "said"),
    [([], "no values"), ([None, nan], "no values"), ([None, 2.0], "one point so far")],
)
def test_too_few_points_say_so(values: list[float | None], said: str) -> None:
    """A chart with fewer than two points says why it is empty."""
    drawn = curves([Curve("a", range(len(values)), values)], width=50, height=5)
    assert any(said in line for line in plain(drawn))


def test_several_curves_have_inks_and_markers_of_their_own() -> None:
    """Two curves differ in ink and in glyph, and a legend names both."""
    first = Curve("train loss", STEPS, [3.0 - i / 9 for i in range(13)], Ink.ACCENT)
    second = Curve("test loss", STEPS, [3.0 - i / 99 for i in range(13)], Ink.PREVIOUS)
    drawn = curves([first, second], width=60, height=12, log_x=True)
    assert plain(drawn)[0].split("   ")[:2] == ["⠤ train loss", "• test loss"]
    by_ink = {
        ink: "".join(span.text for line in drawn[1:] for span in line if span.ink is ink)
        for ink in (Ink.ACCENT, Ink.PREVIOUS)
    }
    assert set(by_ink[Ink.PREVIOUS].strip()) <= {"•", " "}
    assert by_ink[Ink.ACCENT].strip()
    assert "•" not in by_ink[Ink.ACCENT]


def test_ascii_charts_are_ascii() -> None:
    """With ASCII glyphs the frame, the curve and the minus signs are ASCII."""
    panel = moment_panel(_series(), width=75, height=24, glyphs=ASCII, mark=64)
    assert "".join(plain(panel)).isascii()


def test_many_points_are_thinned_but_no_spike_is_lost() -> None:
    """Of 50,000 points one spike still reaches the top of the chart."""
    values = [0.0] * 50_000
    values[31_234] = 5.0
    drawn = plain(curves([Curve("a", range(50_000), values)], width=60, height=10))
    assert drawn[0][7:].strip()


@pytest.mark.parametrize(
    ("width", "height", "titles"),
    [
        (75, 30, ("mean", "std", "skewness", "excess kurtosis", "L2 norm", "zeros")),
        (120, 18, ("mean", "std", "skewness", "excess kurtosis", "L2 norm", "zeros")),
        (43, 16, ("skewness", "excess kurtosis")),
        (43, 6, ("skewness",)),
    ],
)
def test_the_panel_shows_what_there_is_room_for(
    width: int, height: int, titles: tuple[str, ...]
) -> None:
    """All six multiples where they fit, else the selected one and those after it; exact size."""
    drawn = moment_panel(_series(), width=width, height=height, selected="skew", log_x=True)
    assert len(drawn) == height
    assert {line_width(line) for line in drawn} == {width}
    shown = [span.text for line in drawn for span in line if span.ink is Ink.TITLE]
    assert tuple(shown) == titles


def test_a_title_carries_the_value_at_the_mark() -> None:
    """The number beside a title belongs to the marked step; L2 comes with its RMS."""
    text = "\n".join(plain(moment_panel(_series(), width=75, height=30, mark=8)))
    assert "L2 norm  .400   rms .0200" in text


def test_a_panel_of_one_checkpoint_says_so() -> None:
    """Every multiple of a single checkpoint says that a curve needs two points."""
    text = "\n".join(plain(moment_panel(_series(1), width=75, height=30)))
    assert text.count("a curve needs two") == len(MOMENTS)


def test_charts_from_many_threads_do_not_mix() -> None:
    """plotext is one global figure; the lock keeps concurrent charts apart."""

    def draw(slope: int) -> list[str]:
        return plain(
            curves([Curve("a", STEPS, [slope * float(s) for s in STEPS])], width=40, height=8)
        )

    alone = [draw(slope) for slope in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draw, range(1, 9))) == alone


GOLDEN = [
    "   2.0┤                            ⢀⣀⠤⠔⠊",
    "   1.5┤                      ⢀⣀⠤⠔⠒⠉⠁    ",
    "   1.0┤                ⢀⣀⠤⠔⠒⠉⠁          ",
    "      │           ⣀⡠⠤⠒⠊⠁                ",
    "    .5┤     ⢀⣀⠤⠔⠒⠉                      ",
    "     0┤⣀⡠⠤⠒⠊⠁                           ",
    "      └┬───────┬───────┬───────┬───────┬",
    "  step 0      500    1,000   1,500 2,000",
]
