"""Progress: honest about what is left, calm about the rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.draw.cells import width
from forkmon.draw.glyphs import ASCII, UNICODE, Glyphs
from forkmon.worker.progress import MEMORY_SECONDS, Meter, Standing, line


def told(step: int, standing: Standing, glyphs: Glyphs = UNICODE) -> str:
    """Return the line that tells a standing."""
    return line(step, standing.share, standing.rate, standing.seconds_left, glyphs)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


def test_a_steady_rate_is_told_exactly(clock: Clock) -> None:
    """At 100 bytes a second 900 of 1,000 bytes are nine seconds."""
    meter = Meter(1000, clock=clock)
    assert meter.standing() == Standing(0, 1000, None, None)
    clock.now += 1
    assert meter.advance(100) == Standing(100, 1000, 100.0, 9.0)
    clock.now += 2
    assert meter.advance(200).seconds_left == pytest.approx(7.0)


def test_a_burst_moves_the_rate_little_and_a_lasting_change_wholly(clock: Clock) -> None:
    """The rate follows what lasts longer than its memory."""
    meter = Meter(10**9, clock=clock)
    for _ in range(200):
        clock.now += 0.1
        meter.advance(1000)
    clock.now += 0.1
    burst = meter.advance(10_000).rate
    assert burst is not None
    assert burst < 1.25 * 10_000
    for _ in range(round(8 * MEMORY_SECONDS / 0.1)):
        clock.now += 0.1
        meter.advance(5000)
    assert meter.rate == pytest.approx(50_000, rel=0.01)


def test_a_stall_lengthens_what_is_left(clock: Clock) -> None:
    """Where no bytes come any more the time left does not stand still near zero."""
    meter = Meter(1000, clock=clock)
    clock.now += 1
    meter.advance(990)
    assert meter.standing().seconds_left == pytest.approx(0.0101, rel=0.01)
    clock.now += 60
    assert meter.standing().seconds_left == pytest.approx(60.0)


def test_many_small_tensors_at_one_instant_divide_by_no_zero(clock: Clock) -> None:
    """Bytes that come without time passing wait for the next measurement."""
    meter = Meter(1000, clock=clock)
    for _ in range(10):
        assert meter.advance(10).rate is None
    clock.now += 1
    assert meter.advance(0).rate == 100.0


def test_a_rate_from_before_tells_at_once(clock: Clock) -> None:
    """The checkpoint before this one gives the first estimate."""
    assert Meter(1000, rate=200.0, clock=clock).standing().seconds_left == 5.0


def test_an_empty_checkpoint_is_done(clock: Clock) -> None:
    """Nothing to read is all read."""
    standing = Meter(0, clock=clock).standing()
    assert standing.share == 1.0
    assert standing.seconds_left == 0.0


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 10**12)), max_size=30),
    st.integers(0, 10**13),
)
def test_what_is_told_is_never_absurd(moves: list[tuple[float, int]], total: int) -> None:
    """Shares lie between 0 and 1, times and rates are never negative, whatever happens."""
    clock = Clock()
    meter = Meter(total, clock=clock)
    for seconds, size in moves:
        clock.now += seconds
        standing = meter.advance(size)
        assert 0 <= standing.share <= 1
        assert standing.rate is None or standing.rate >= 0
        assert standing.seconds_left is None or standing.seconds_left >= 0
        assert width(told(1, standing)) < 80


def test_the_line_of_a_run_underway() -> None:
    """Step, bar, share, rate, time left."""
    standing = Standing(610, 1000, 1.2e9, 3.2)
    assert told(2048, standing) == "step 2,048  ▕████▉   ▏ 61 %  1.20 GB/s  3 s left"
    assert told(2048, standing, ASCII) == "step 2,048  [=====   ] 61 %  1.20 GB/s  3 s left"


def test_the_line_before_and_after() -> None:
    """Unknown numbers are left out; 100 % is said only at the end."""
    assert told(0, Standing(0, 10, None, None)) == "step 0  ▕        ▏  0 %"
    assert told(7, Standing(9999, 10_000, 1.0, 1.0)).startswith("step 7  ▕███████▉▏ 99 %")
    assert told(7, Standing(10, 10, 2e6, 0.0)) == "step 7  ▕████████▏ 100 %  2.00 MB/s"
