"""Segments, versions and generations are told from steps and times alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.runs.order import Placed, Placement, place
from forkmon.runs.refs import CheckpointRef, FilePrint, Fingerprint

SECOND = 1_000_000_000


def ref(step: int, seconds: int) -> CheckpointRef:
    files = Fingerprint((FilePrint("x", 1, 1, 1, seconds * SECOND, 0),))
    return CheckpointRef(Path("x"), step, "safetensors", (Path("x"),), files, "marker")


def placed(step: int, seconds: int, *, present: bool = True, **more: int) -> Placed:
    where = {"segment": 0, "generation": 0, "version": 0, **more}
    return Placed(step=step, mtime_ns=seconds * SECOND, present=present, **where)


RUN = [placed(step, step) for step in (100, 200, 300)]


@pytest.mark.parametrize(
    ("new", "live", "wanted"),
    [
        (ref(400, 400), True, Placement(0, 0, 0)),
        (ref(300, 400), True, Placement(0, 1, 0)),
        (ref(200, 400), True, Placement(1, 0, 0, parent_segment=0)),
        (ref(250, 400), True, Placement(1, 0, 0, parent_segment=0)),
        (ref(250, 250), True, Placement(0, 0, 0)),
        (ref(250, 302), True, Placement(0, 0, 0)),
        (ref(200, 200), True, Placement(0, 1, 0)),
        (ref(250, 400), False, Placement(0, 0, 0)),
        (ref(200, 400), False, Placement(0, 1, 0)),
    ],
)
def test_each_rule_of_the_order(new: CheckpointRef, live: bool, wanted: Placement) -> None:
    """On, rewritten, resumed, branched and late checkpoints each find their place."""
    assert place(RUN, new, live=live) == wanted


def test_a_run_goes_on_in_its_newest_segment() -> None:
    """After a resume the steps are held against the resumed segment, not the first one."""
    known = [*RUN, placed(150, 400, segment=1)]
    assert place(known, ref(200, 500), live=True) == Placement(1, 0, 0)
    assert place(known, ref(120, 500), live=True) == Placement(2, 0, 0, parent_segment=1)


def test_a_directory_emptied_and_trained_anew_is_a_generation() -> None:
    """All files gone, newer ones from the beginning on: the old history is kept apart."""
    gone = [placed(row.step, row.step, present=False) for row in RUN]
    assert place(gone, ref(100, 900), live=True) == Placement(1, 0, 1)
    assert place(gone, ref(50, 900), live=False) == Placement(1, 0, 1)
    assert place(gone, ref(50, 90), live=True).generation == 0
    assert place(gone, ref(200, 900), live=True).generation == 0
    assert place(RUN, ref(50, 900), live=True).generation == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99)), max_size=12), st.booleans())
def test_no_two_checkpoints_share_a_place(arrivals: list[tuple[int, int]], live: bool) -> None:
    """Whatever arrives in whatever order, (segment, step, version) is an identity."""
    known: list[Placed] = []
    for step, seconds in arrivals:
        at = place(known, ref(step, seconds), live=live)
        row = placed(
            step, seconds, segment=at.segment, version=at.version, generation=at.generation
        )
        assert (row.segment, row.step, row.version) not in {
            (k.segment, k.step, k.version) for k in known
        }
        known.append(row)
    assert live or {row.segment for row in known} <= {0}
