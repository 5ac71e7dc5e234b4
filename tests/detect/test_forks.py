"""SPLIT, MERGE, INIT_SPLIT: which numbers of peaks become which events."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from forkmon.detect.fidelity import fidelity
from forkmon.detect.order import exponent
from forkmon.detect.settings import PRESETS, Fork
from forkmon.detect.split import forks
from forkmon.stats.alert import Severity
from forkmon.stats.modality import Modality
from forkmon.stats.series import Series

Peaks = Callable[..., Modality]
Told = Callable[..., Series]
Event = tuple[str, int, int]

FLAT, QLIM = "f", "q"


@pytest.fixture
def events(peaks: Peaks, told: Told) -> Callable[..., list[Event]]:
    """Return a function from a line of peak counts to (kind, onset, detection) by place.

    A digit is a number of peaks, `h` one that only the looser gates see as two, `f` flat, `q`
    quantised, `-` no measurement.
    """

    def found(line: str, rule: Fork | None = None) -> list[Event]:
        column = [_one(peaks, sign) for sign in line]
        one = told("w", steps=range(len(line)), views={"elements": column})
        return [(a.kind, a.onset, a.step) for a in forks(one, rule or Fork())]

    return found


def _one(peaks: Peaks, sign: str) -> Modality | None:
    match sign:
        case "-":
            return None
        case "f":
            return peaks(1, state="flat")
        case "q":
            return peaks(1, state="qlim")
        case "h":
            return peaks(1, held=2)
        case _:
            return peaks(int(sign))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1111111111", []),
        ("1111122222", [("SPLIT", 5, 7)]),
        ("1111121222", [("SPLIT", 5, 8)]),
        ("1111121112111", []),
        ("111112212111", [("SPLIT", 5, 8), ("MERGE", 9, 11)]),
        ("11112222hhhh", [("SPLIT", 4, 6)]),
        ("1111222211h1", [("SPLIT", 4, 6), ("MERGE", 8, 11)]),
        ("11113333", [("SPLIT", 4, 6)]),
        ("2222222211112222", [("MERGE", 8, 10), ("SPLIT", 12, 14)]),
        ("f222221111", [("INIT_SPLIT", 1, 1), ("MERGE", 6, 8)]),
        ("ff1q21111111", [("INIT_SPLIT", 4, 4), ("MERGE", 5, 7)]),
        ("f111112222", [("SPLIT", 6, 8)]),
        ("f2hhhh", [("INIT_SPLIT", 1, 1), ("MERGE", 2, 4)]),
        ("1111-2--2-2-", [("SPLIT", 5, 10)]),
        ("f2", [("INIT_SPLIT", 1, 1)]),
        ("qqqqqqqq", []),
    ],
)
def test_lines_of_peaks(
    line: str, expected: list[Event], events: Callable[..., list[Event]]
) -> None:
    """Three of the newest four agree; leaving takes the looser gates; the first fork is its own."""
    assert events(line) == expected


def test_presets_ask_for_more_or_less_agreement(events: Callable[..., list[Event]]) -> None:
    """Quiet wants four of four, paranoid two of three."""
    line = "11111" + "2211" + "1111"
    assert events(line) == []
    assert events(line, PRESETS["quiet"].fork) == []
    assert events(line, PRESETS["paranoid"].fork)[0] == ("SPLIT", 5, 6)


def test_a_fork_without_memory_is_none(peaks: Peaks, told: Told) -> None:
    """Elements that change sides between checkpoints deny a SPLIT."""
    sides = [b"\x0f" * 8, b"\xf0" * 8]
    column = [peaks(1)] * 5 + [peaks(2, sides=sides[i % 2]) for i in range(8)]
    assert not list(forks(told("w", 13, views={"elements": column}), Fork()))
    steady = [peaks(1)] * 5 + [peaks(2, sides=sides[0])] * 8
    (alert,) = forks(told("w", 13, views={"elements": steady}), Fork())
    assert alert.evidence["agreement"] == 1.0


@pytest.mark.parametrize(
    ("before", "after", "agreement", "balanced"),
    [
        (b"\xff\x00", b"\xff\x00", 1.0, 1.0),
        (b"\xff\x00", b"\x00\xff", 0.0, 0.0),
        (b"\x03\x00", b"\x01\x00", 15 / 16, 0.75),
        (b"\x01\x00", b"\x02\x00", 14 / 16, 0.5 * 14 / 15),
    ],
)
def test_fidelity_counts_who_stayed(
    before: bytes, after: bytes, agreement: float, balanced: float, peaks: Peaks
) -> None:
    """Agreement over all elements, and as the mean over the two sides."""
    found = fidelity(peaks(2, sides=before), peaks(2, sides=after))
    assert found is not None
    assert found.agreement == pytest.approx(agreement)
    assert found.balanced == pytest.approx(balanced)


def test_fidelity_is_unknown_without_sides(peaks: Peaks) -> None:
    """No bits, other samples, or everybody on one side: nothing to compare."""
    two = peaks(2, sides=b"\x0f\x00")
    assert fidelity(peaks(1), two) is None
    assert fidelity(peaks(2, sides=b"\x0f"), two) is None
    assert fidelity(peaks(2, sides=b"\x00\x00"), two) is None


def test_views_speak_once_for_a_tensor(peaks: Peaks, told: Told) -> None:
    """Elements and rows that fork together are one alert; rows alone are told as such."""
    forked: Sequence[Modality] = [peaks(1)] * 5 + [peaks(2)] * 5
    both = told("w", 10, views={"rows": forked, "elements": forked})
    assert [a.evidence["view"] for a in forks(both, Fork())] == ["elements"]
    rows = told("w", 10, views={"rows": forked, "elements": [peaks(1)] * 10})
    (alert,) = forks(rows, Fork())
    assert alert.evidence["view"] == "rows"
    assert "row norms" in alert.message


def test_the_first_fork_is_information(peaks: Peaks, told: Told) -> None:
    """A vector that leaves its constant start in two heaps says nothing of the run's health."""
    column = [peaks(1, state="flat"), peaks(2), peaks(2), *[peaks(1)] * 8, *[peaks(2)] * 4]
    found = list(forks(told("b", len(column), views={"elements": column}), Fork()))
    assert [(a.kind, a.severity) for a in found] == [
        ("INIT_SPLIT", Severity.INFO), ("MERGE", Severity.INFO), ("SPLIT", Severity.WARN),
    ]  # fmt: skip


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_the_order_parameter_is_a_power(beta: float) -> None:
    """The exponent of branches that part by a power of the time since the last single peak."""
    points = [(100 + t, 3.0 * t**beta) for t in (10, 20, 40)]
    assert exponent(100, points) == pytest.approx(beta)
    assert exponent(None, points) is None
    assert exponent(100, points[:2]) is None
