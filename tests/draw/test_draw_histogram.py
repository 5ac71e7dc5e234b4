"""Laws of the histogram: mass is conserved, density is true, every state can be read."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.draw import bars
from forkmon.draw.cells import line_width
from forkmon.draw.density import columns, density_of
from forkmon.draw.glyphs import ASCII, UNICODE
from forkmon.draw.histogram import Legend, histogram
from forkmon.draw.ink import Ink, ansi, plain
from forkmon.draw.scale import Linear, Symlog, robust_range
from forkmon.stats.reduced import MAX_KEY, Reduced, key_of

Reduce = Callable[..., Reduced]
KEYS = st.integers(-MAX_KEY, MAX_KEY)
CODES = st.dictionaries(KEYS, st.integers(1, 10**9), min_size=1, max_size=60)


def _from(codes: dict[int, int], pivot: float = 0.0) -> Reduced:
    keys = tuple(sorted(codes))
    return Reduced(pivot, keys, tuple(codes[key] for key in keys))


def _halved(codes: Reduced) -> Reduced:
    """Return the codes of all values divided by two (an octave is 32 keys)."""
    kept = {k: n for k, n in zip(codes.keys, codes.counts, strict=True) if abs(k) > 32}
    return _from({key - 32 if key > 0 else key + 32: count for key, count in kept.items()})


def _heights(lines: list[str], x: int = 7) -> list[int]:
    """Return the height of each column's bar in eighths, read off the drawing."""
    body = [line[x:] for line in lines[1:-2]]
    return [
        sum(UNICODE.vertical.index(row[at]) for row in body if row[at] in UNICODE.vertical)
        for at in range(len(body[0]))
    ]


@given(
    codes=CODES,
    pivot=st.sampled_from([0.0, 1.0, -3.5e10]),
    ends=st.tuples(st.floats(-1e38, 1e38), st.floats(-1e38, 1e38)),
    count=st.integers(1, 90),
)
def test_columns_conserve_mass(
    codes: dict[int, int], pivot: float, ends: tuple[float, float], count: int
) -> None:
    """What lies in the columns, outside them and in the atom is everything, for any codes."""
    lo, hi = min(ends), max(ends)
    source = density_of(_from(codes, pivot))
    if not lo < hi:
        return
    cut = columns(source, bars.edges(Linear(lo, hi), count))
    assert cut.total(source) == pytest.approx(sum(codes.values()), rel=1e-9)
    assert min(*cut.masses, cut.left, cut.right) >= 0


def test_a_cell_is_spread_over_the_columns_it_covers() -> None:
    """A cell wider than the columns gives each its share of the cell's width."""
    source = density_of(_from({key_of(1.0): 32, key_of(64.0): 1}))  # cell 1 .. 1 + 1/32
    cut = columns(source, [1.0, 1.0 + 1 / 128, 1.0 + 1 / 64, 1.0 + 1 / 32, 2.0])
    assert cut.masses == pytest.approx((8, 8, 16, 0))
    assert (cut.left, cut.right) == (0, 1)


@pytest.mark.parametrize("width", [30, 41, 64, 90, 131])
@pytest.mark.parametrize("log_count", [False, True])
@pytest.mark.parametrize("scale", ["linear", "symlog"])
def test_a_normal_law_draws_one_hump(
    normal: Reduced, width: int, log_count: bool, scale: Literal["linear", "symlog"]
) -> None:
    """N(0,1) rises to one top and falls, at every width and on every scale."""
    drawn = histogram(normal, width=width, height=20, log_count=log_count, scale=scale)
    heights = _heights(plain(drawn))
    top = heights.index(max(heights))
    assert max(heights) == 17 * 8
    assert all(a <= b for a, b in pairwise(heights[: top + 1]))
    assert all(a >= b for a, b in pairwise(heights[top:]))


@pytest.mark.parametrize("width", [37, 64, 90, 131])
def test_a_uniform_law_draws_flat(uniform: Reduced, width: int) -> None:
    """Cells from 2^-131 to 1 wide draw one level: unequal cells fake no hump."""
    heights = _heights(plain(histogram(uniform, width=width, height=20)))
    inner = heights[1:-1]
    assert max(inner) - min(inner) <= 1
    assert min(inner) >= 17 * 8 - 2


def test_two_modes_stay_two(reduced: Reduce) -> None:
    """A split vector shows two humps with an empty valley."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(-1, 0.1, 20_000), rng.normal(1, 0.1, 20_000)])
    heights = _heights(plain(histogram(reduced(values), width=67, height=20)))
    middle = len(heights) // 2
    assert max(heights[:middle]) > 100
    assert max(heights[middle:]) > 100
    assert max(heights[middle - 5 : middle + 5]) == 0


def test_baseline_is_told_from_bars_without_colour(normal: Reduced) -> None:
    """The golden picture: bars now, the narrower baseline as a stepped line over them."""
    narrow = _halved(normal)
    drawn = histogram(
        normal,
        baseline=narrow,
        width=48,
        height=10,
        legend=Legend("step 2,048", "baseline step 0"),
        lo=-4.0,
        hi=4.0,
    )
    assert plain(drawn) == GOLDEN
    inks = {span.ink for line in drawn for span in line if span.text.strip()}
    assert inks == {Ink.ACCENT, Ink.BASELINE, Ink.AXIS, Ink.MUTED, Ink.WARN}


def test_ascii_drawing_is_ascii(reduced: Reduce) -> None:
    """With ASCII glyphs no other character appears, spikes and minus signs included."""
    values = np.concatenate([np.random.default_rng(1).normal(0, 1, 500), np.zeros(500)])
    for height in range(1, 14):
        drawn = histogram(
            reduced(values), baseline=reduced(values - 1), previous=reduced(values + 1),
            width=60, height=height, glyphs=ASCII, log_count=True,
        )  # fmt: skip
        assert "".join(plain(drawn)).isascii()


@given(
    codes=CODES,
    other=CODES,
    pivot=st.sampled_from([0.0, 1.0, 7e-8]),
    width=st.integers(1, 100),
    height=st.integers(1, 30),
    log_count=st.booleans(),
    scale=st.sampled_from(["linear", "symlog"]),
)
def test_every_drawing_has_its_exact_size(
    *,
    codes: dict[int, int],
    other: dict[int, int],
    pivot: float,
    width: int,
    height: int,
    log_count: bool,
    scale: Literal["linear", "symlog"],
) -> None:
    """Any codes at any size give `height` lines of exactly `width` cells."""
    drawn = histogram(
        _from(codes, pivot), baseline=_from(other), previous=_from(other, pivot),
        width=width, height=height, log_count=log_count, scale=scale,
    )  # fmt: skip
    assert len(drawn) == height
    assert {line_width(line) for line in drawn} == {width}


def test_zeros_show_as_a_labelled_spike(reduced: Reduce) -> None:
    """An atom at zero stands full height with its share, and does not flatten the rest."""
    values = np.random.default_rng(2).normal(0, 1, 10_000)
    values[:3_700] = 0
    lines = plain(histogram(reduced(values), width=67, height=20))
    assert "█ 0: 37 %" in lines[1]
    heights = _heights(lines)
    assert 15 * 8 < sorted(heights)[-2] <= 16 * 8
    assert max(heights) == 17 * 8


@pytest.mark.parametrize(
    ("value", "pivot", "said"),
    [
        (0.0, 0.0, "█ 0: all 512 values"),
        (1.0, 1.0, "█ 1: all 512 values"),
        (0.0413, 0.0, "█ .0410 to .0420: all 512 values"),
        (-2.0, 0.0, "−2.00: all 512 values"),
    ],
)
def test_a_constant_is_one_labelled_spike(
    reduced: Reduce, value: float, pivot: float, said: str
) -> None:
    """One key draws one spike that says its value and how many there are."""
    lines = plain(histogram(reduced(np.full(512, value), pivot), width=80, height=12))
    assert said in lines[1]
    assert sum(height > 0 for height in _heights(lines)) == 1


def test_a_constant_baseline_is_one_upright(reduced: Reduce) -> None:
    """A baseline of one value is one line, named in the legend, and sets no scale."""
    values = np.random.default_rng(3).normal(1, 0.1, 512)
    now, then = reduced(values, 1.0), reduced(np.ones(512), 1.0)
    lines = plain(histogram(now, baseline=then, width=80, height=12))
    assert "baseline (1: all 512 values)" in lines[0]
    assert lines[1][7:].count("│") == 1
    assert max(_heights(lines)) == 9 * 8


def test_what_lies_outside_is_reported_at_its_end(reduced: Reduce) -> None:
    """Mass beyond a fixed axis is written at the end where it lies."""
    values = np.concatenate([np.linspace(0, 1, 900), np.full(90, -5.0), np.full(10, 5.0)])
    last = plain(histogram(reduced(values), width=60, height=12, lo=0.0, hi=1.0))[-1]
    assert last.startswith("‹ 9 %")
    assert last.endswith("1 % ›")


def test_nothing_finite_says_so() -> None:
    """No codes at all is a screen too."""
    assert plain(histogram(Reduced(0.0, (), ()), width=20, height=3)) == [
        " " * 20,
        "  no finite values  ",
        " " * 20,
    ]


def test_a_rare_value_leaves_a_trace(reduced: Reduce) -> None:
    """One value among 100,000 is a dot, not nothing."""
    values = np.concatenate([np.random.default_rng(4).normal(0, 1, 100_000), [9.0]])
    lines = plain(histogram(reduced(values), width=80, height=12, lo=-10.0, hi=10.0))
    assert UNICODE.trace in lines[-3][70:]


def test_robust_range_ignores_one_outlier_and_holds_the_baseline(reduced: Reduce) -> None:
    """The range follows the bulk of every layer, not one far value."""
    rng = np.random.default_rng(5)
    now = density_of(reduced(np.append(rng.normal(0, 1, 100_000), 1e6)))
    then = density_of(reduced(rng.normal(8, 1, 1_000)))
    lo, hi = robust_range([now, then])
    assert -5 < lo < -3
    assert 10 < hi < 14


@given(place=st.floats(0, 1), threshold=st.floats(1e-6, 1.0))
def test_symlog_is_invertible(place: float, threshold: float) -> None:
    """A place maps to a value and back."""
    scale = Symlog(-3.0, 50.0, threshold)
    assert scale.place(scale.value(place)) == pytest.approx(place, abs=1e-9)


def test_ansi_colours_only_when_asked(normal: Reduced) -> None:
    """Without colour no escape; with it only SGR, and the same text."""
    drawn = histogram(normal, width=40, height=9)
    assert not any("\x1b" in line for line in ansi(drawn, color=False))
    coloured = ansi(drawn, color=True)
    assert any("\x1b[36m" in line for line in coloured)


GOLDEN = [
    "density   █ step 2,048   ─ baseline step 0      ",
    "      │                   ┌─┐                   ",
    "      │                  ┌┘ └┐                  ",
    "    .5┤                  │   │                  ",
    "      │                 ┌┘▄▄▄└┐                 ",
    "      │               ▁▅┘█████└▅▁               ",
    "      │             ▃▆┌┘███████└┐▆▃             ",
    "      │······▁▁▂▃▄▆█┌─┘█████████└─┐█▆▄▃▂▁▁······",
    "     0└┬─────────┬─────────┬─────────┬─────────┬",
    "‹ <.1 %          −2        0         2   <.1 % ›",
]


def test_an_outline_over_bars_is_cut_out_of_them(normal: Reduced) -> None:
    """Over a full cell the outline carries the bar's ink as its ground; elsewhere none."""
    wider = Reduced(0.0, tuple(k - 16 if k > 0 else k + 16 for k in normal.keys), normal.counts)
    lines = histogram(normal, baseline=wider, width=70, height=20)
    over = [span for line in lines[1:-2] for span in line if span.over is not None]
    assert over
    assert {(span.ink, span.over) for span in over} == {(Ink.BASELINE, Ink.ACCENT)}
    assert any(";7m" in text for text in ansi(lines, color=True))
    drawn = histogram(normal, baseline=wider, width=70, height=20, glyphs=ASCII)
    assert all(span.over is None for line in drawn for span in line)


@given(CODES)
def test_the_cumulative_bars_never_fall(codes: dict[int, int]) -> None:
    """The share below rises from left to right, up to all of the values inside the axis."""
    source = density_of(_from(codes))
    lo, hi = robust_range([source])
    bounds = bars.edges(Linear(lo, hi), 40)
    shown = bars.below(source, bounds)
    assert all(a <= b + 1e-12 for a, b in pairwise(shown.heights))
    outside = shown.columns.right / source.n
    assert shown.heights[-1] == pytest.approx(1 - outside, abs=1e-9)


def test_the_probe_reads_value_density_and_mass(normal: Reduced) -> None:
    """In the middle of a symmetric law half of the values lie below."""
    lines = plain(histogram(normal, width=80, height=20, lo=-4, hi=4, probe=0.5))
    assert lines[0].startswith("at 0   50 % below, density .39")
    low = plain(histogram(normal, width=80, height=20, lo=-4, hi=4, probe=0.0))
    assert "<.1 % below" in low[0]
    summed = plain(histogram(normal, width=80, height=20, lo=-4, hi=4, probe=0.5, cumulative=True))
    assert "density" not in summed[0]
