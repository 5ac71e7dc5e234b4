"""Numbers, widths and sparklines: golden strings and laws."""

from __future__ import annotations

import sys
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.draw import cells
from forkmon.draw.glyphs import ASCII, UNICODE, choose, to_ascii
from forkmon.draw.ink import Ink, Span
from forkmon.draw.numbers import (
    age,
    bytesize,
    count,
    duration,
    eta,
    percent,
    share,
    short,
    step,
)
from forkmon.draw.scale import Steps, nice_ticks, tick_labels
from forkmon.draw.sparkline import sparkline

FINITE = st.floats(-1e300, 1e300)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "—"), (0.0, "0"), (-0.0, "0"), (0.04132, ".0413"), (-0.31, "−.310"), (2.39, "2.39"),
        (12.34, "12.3"), (123.4, "123"), (1234.6, "1235"), (99_999.9, "1.00e5"), (0.9996, "1.00"),
        (1.2345e-3, "1.23e−3"), (-1.2345e-3, "−1.2e−3"), (9.8e-4, "9.80e−4"), (1e300, "1e300"),
        (-1e-300, "−1e−300"), (nan, "nan"), (inf, "inf"), (-inf, "−inf"),
    ],
)  # fmt: skip
def test_short_writes_three_digits(value: float | None, written: str) -> None:
    """Three significant digits, fewer where seven cells do not hold them."""
    want = "1.00e300" if written == "1e300" else written
    assert short(value, 8 if written == "1e300" else 7) == want


@given(value=FINITE)
def test_short_fits_seven_cells_and_keeps_the_size(value: float) -> None:
    """Every float fits seven cells, and the text reads back as nearly that number."""
    text = short(value)
    assert len(text) <= 7
    assert float(text.replace("−", "-")) == pytest.approx(value, rel=0.5, abs=sys.float_info.min)
    assert short(value, 7, ASCII).isascii()


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (1234, "1.23 k"), (12_345_678, "12.3 M"),
     (999_999, "1.00 M"), (124_439_808, "124 M"), (7 * 10**9, "7.00 G"), (None, "—")],
)  # fmt: skip
def test_counts_are_in_si(number: int | None, written: str) -> None:
    """Counts carry SI prefixes and three digits."""
    assert count(number) == written


def test_sizes_and_steps() -> None:
    """Sizes in decimal units, steps with thousands separators."""
    assert (bytesize(512), bytesize(12_300_000)) == ("512 B", "12.3 MB")
    assert (step(0), step(2048), step(1_000_000), step(None)) == ("0", "2,048", "1,000,000", "—")


@pytest.mark.parametrize(
    ("ratio", "written"),
    [(0.14, "+14 %"), (-0.31, "−31 %"), (0.04, "+4 %"), (0.003, "+.3 %"), (0.0001, "0 %"),
     (0.0, "0 %"), (9.9, "+990 %"), (120.0, ">+1k %"), (-120.0, "<−1k %"), (None, "—")],
)  # fmt: skip
def test_percent_is_signed_and_short(ratio: float | None, written: str) -> None:
    """A change has its sign and never more than six cells."""
    assert percent(ratio) == written
    assert len(written) <= 6


def test_share_never_rounds_to_nothing_or_everything() -> None:
    """A share of something is never `0 %`, one short of all never `100 %`."""
    assert [share(x, 1000) for x in (0, 0.1, 3, 370, 999.9, 1000)] == [
        "0 %", "<.1 %", ".3 %", "37 %", ">99 %", "100 %",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(-5, "just now"), (45, "45 s ago"), (130, "2 m 10 s ago"), (125.9, "2 m 05 s ago"),
     (540, "9 m ago"), (3 * 3600 + 100, "3 h ago"), (2 * 86400 + 5, "2 d ago"), (None, "—")],
)  # fmt: skip
def test_ages_are_words(seconds: float | None, written: str) -> None:
    """Ages are words in one unit, with seconds only in the first five minutes."""
    assert age(seconds) == written


def test_durations() -> None:
    """Lengths of time in their two largest units."""
    lengths = [0.34, 1.5, 65, 7500, 90_000, 3600, inf]
    assert [duration(x) for x in lengths] == [
        "340 ms", "1.5 s", "1 m 05 s", "2 h 05 m", "1 d 01 h", "1 h", "—",
    ]  # fmt: skip
    assert (eta(130), eta(0.2), eta(None)) == ("2 m 10 s left", "nearly done", "—")


def test_sparkline_pictures() -> None:
    """Golden sparklines: rising, constant, gaps, short series to the right."""
    assert sparkline(list(range(8)), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([3.0] * 4, 4) == "▄▄▄▄"
    assert sparkline([0.0, None, nan, 7.0], 6) == "  ▁  █"
    assert sparkline([None], 3) == "   "
    assert sparkline(list(range(8)), 8, ASCII) == "_.-:=+*#"


def test_sparkline_keeps_a_spike_and_the_last_value() -> None:
    """Of 1,000 values in ten characters the one spike shows, and the end is the end."""
    values = [0.0] * 1000
    values[437] = 5.0
    values[-1] = 2.6
    assert sparkline(values, 10) == "▁▁▁▁█▁▁▁▁▅"


@given(values=st.lists(st.none() | st.floats()), width=st.integers(0, 40))
def test_sparkline_has_its_width(values: list[float | None], width: int) -> None:
    """Any values give exactly the width."""
    assert len(sparkline(values, width)) == width


@given(text=st.text(max_size=30), room=st.integers(0, 40))
def test_padding_is_by_cells(text: str, room: int) -> None:
    """Padded text takes exactly its cells, wide and combining characters included."""
    assert cells.width(cells.pad(text, room)) == room
    assert cells.width(cells.pad(text, room, "right")) == room
    assert cells.width(cells.clip_middle(text, room)) <= room


@given(parts=st.lists(st.text(max_size=8), max_size=6), room=st.integers(0, 40))
def test_fitted_lines_are_exact(parts: list[str], room: int) -> None:
    """A fitted line takes exactly its cells."""
    line = cells.fit([Span(part, Ink.TEXT) for part in parts], room)
    assert cells.line_width(line) == room


def test_clipping_pictures() -> None:
    """Golden clips: an ellipsis for a cut end or a cut middle, no half characters."""
    assert cells.clip("attention", 5) == "atte…"
    assert cells.clip("日本語", 5) == "日本…"
    assert cells.pad("日本語", 4) == "日… "
    assert cells.clip_middle("h.0.attn.weight", 9) == "h.0.…ight"
    assert cells.clip("attention", 5, ASCII) == "atte~"


@given(text=st.text())
def test_to_ascii_keeps_the_length(text: str) -> None:
    """A character stays a character."""
    assert to_ascii(text).isascii()
    assert len(to_ascii(text)) == len(text)


def test_glyph_sets_match() -> None:
    """Both sets have ramps of one length and single-cell glyphs; ASCII is ASCII."""
    assert choose(ascii_only=True) is ASCII
    assert choose(ascii_only=False) is UNICODE
    for name in UNICODE.__dataclass_fields__:
        unicode, ascii_ = getattr(UNICODE, name), getattr(ASCII, name)
        assert len(unicode) == len(ascii_), name
        assert "".join(ascii_).isascii(), name
    assert [UNICODE.severity(s) for s in ("info", "warn", "error", "")] == ["◆", "▲", "✖", "·"]
    assert [ASCII.severity(s) for s in ("info", "warn", "error", "")] == ["i", "!", "x", "."]


@given(ends=st.tuples(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30)), about=st.integers(1, 20))
def test_ticks_are_inside_and_few(ends: tuple[float, float], about: int) -> None:
    """Ticks ascend inside the range, about as many as asked for, with labels that differ."""
    lo, hi = min(ends), max(ends)
    ticks = nice_ticks(lo, hi, about)
    assert len(ticks) <= 2 * about + 2
    assert ticks == sorted(ticks)
    slack = (hi - lo) * 1e-6
    assert all(lo - slack <= tick <= hi + slack for tick in ticks)
    assert len(set(tick_labels(ticks))) == len(ticks)


def test_step_scales() -> None:
    """Step 0 has a place on the log axis; places run from 0 to 1."""
    scale = Steps(0, 2048, log=True)
    assert (scale.place(0), scale.place(2048)) == (0.0, 1.0)
    assert scale.value(scale.place(37)) == pytest.approx(37)
    assert scale.ticks(8) == [0, 1, 4, 16, 64, 256, 1024]
    assert Steps(0, 2048).ticks(4) == [0, 500, 1000, 1500, 2000]
