"""Motion is measured once, between the neighbours of a timeline, whatever the order of arrival."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from forkmon.stats.modality import Modality, Peak, encode
from forkmon.stats.row import StatRow
from forkmon.store import motion_cache
from forkmon.store.values import Candidate, TensorKey, Trace
from forkmon.store.writer import Writer

Columns = dict[str, dict[str, tuple[float | None, ...]]]

WANTED = ("l2", "update", "drift", "return_jump")
NAMES = ("h.0.w", "h.1.w", "x")


def place(step: int) -> tuple[float, float]:
    """Return where a tensor is at a step: on a curve, so that all distances differ."""
    return (step * 0.5, step * step * 0.25)


def sketch(step: int, tensor: int) -> bytes:
    """Return a stored sketch."""
    x, y = place(step)
    return array("f", [x, y + tensor, *[0.0] * 254]).tobytes()


def stat() -> StatRow:
    """Return a row of which nothing matters."""
    return StatRow(4, 0.0, 1.0, None, None, 0.0, 1.0, 1.0, 2.0, 0, 0, 0, (None,) * 9)


def put(
    writer: Writer, candidate: Callable[..., Candidate], step: int, *, missing: str = ""
) -> int:
    """Store a checkpoint of three tensors in two blocks."""
    attempt = writer.begin(**candidate(step))
    keys = [TensorKey(name, "tensor") for name in NAMES]
    blocks = [TensorKey(name, "block") for name in ("", "h", "h.0", "h.1")]
    traces = [
        (key, Trace(step, None if key.name == missing else sketch(step, i), None))
        for i, key in enumerate(keys)
    ]
    writer.add(attempt, [(key, stat(), None) for key in (*keys, *blocks)], traces)
    writer.promote(attempt, seconds=0.0)
    return attempt


def stored(writer: Writer) -> Columns:
    """Return what the store says of all tensors and blocks."""
    reader = writer.reader()
    rows = reader.tensors()
    found = reader.all_series(reader.timeline(), WANTED, rows)
    return {f"{one.dtype}{one.tensor}": dict(one.values) for one in found}


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_arrival_gives_the_same_motion(
    writer: Writer, candidate: Callable[..., Candidate], seed: int
) -> None:
    """Checkpoints come one by one; in the end all is as if they had come in order, to the bit."""
    steps = [0, 1, 2, 4, 8, 16, 32]
    random.Random(seed).shuffle(steps)
    for done, step in enumerate(steps, 1):
        put(writer, candidate, step)
        writer.measure_motion(settled=done == len(steps))
    with Writer.open(None, run=Path("/r"), name="r", kernel="k") as fresh:
        for step in sorted(steps):
            put(fresh, candidate, step)
        fresh.measure_motion()
        assert sorted(stored(writer).values(), key=str) == sorted(stored(fresh).values(), key=str)
    motion = stored(writer)["x"]
    assert motion["update"][0] is None
    assert motion["drift"][0] == 0.0
    assert motion["return_jump"][0] is motion["return_jump"][-1] is None
    for i, (before, now) in enumerate(zip([0, 1, 2, 4], [1, 2, 4, 8], strict=True), 1):
        assert motion["update"][i] == pytest.approx(distance(before, now), rel=1e-6)
        assert motion["drift"][i] == pytest.approx(distance(0, now), rel=1e-6)
    assert motion["return_jump"][2] == pytest.approx(distance(1, 4), rel=1e-6)


def distance(a: int, b: int) -> float:
    """Return the true distance of two steps."""
    (x, y), (u, v) = place(a), place(b)
    return float(((x - u) ** 2 + (y - v) ** 2) ** 0.5)


def test_only_neighbours_of_what_is_new_are_measured(
    writer: Writer, candidate: Callable[..., Candidate]
) -> None:
    """One at the end touches the one before it; one in the middle those beside it."""
    for step in (0, 10, 20, 30, 40):
        put(writer, candidate, step)
    assert writer.measure_motion() == 5
    assert writer.measure_motion() == 0
    put(writer, candidate, 50)
    assert writer.measure_motion() == 2
    put(writer, candidate, 25)
    assert writer.measure_motion() == 3
    version = writer.reader().version()
    assert writer.measure_motion() == 0
    assert writer.reader().version() == version


def test_drift_waits_for_the_first(writer: Writer, candidate: Callable[..., Candidate]) -> None:
    """While older checkpoints are pending there is no drift, and nothing is measured for it."""
    for step in (20, 30):
        put(writer, candidate, step)
    assert writer.measure_motion(settled=False) == 2
    assert stored(writer)["x"]["drift"] == (None, None)
    put(writer, candidate, 10)
    assert writer.measure_motion(settled=False) == 2
    assert writer.measure_motion(settled=True) == 3
    assert stored(writer)["x"]["drift"][1] == pytest.approx(distance(10, 20), rel=1e-6)


def test_what_was_measured_between_others_is_not_told(
    writer: Writer, candidate: Callable[..., Candidate]
) -> None:
    """Until the writer has measured anew, a reader says nothing rather than something wrong."""
    for step in (10, 30):
        put(writer, candidate, step)
    writer.measure_motion()
    put(writer, candidate, 20)
    assert stored(writer)["x"]["update"] == (None, None, None)
    assert stored(writer)["x"]["drift"][2] is not None


def test_a_block_moves_by_its_tensors(writer: Writer, candidate: Callable[..., Candidate]) -> None:
    """Distances add in quadrature; a tensor without a sketch leaves its blocks without one."""
    for step in (0, 1):
        put(writer, candidate, step)
    put(writer, candidate, 2, missing="h.0.w")
    writer.measure_motion()
    reader = writer.reader()
    timeline = reader.timeline()
    block = reader.find("h", "block")
    assert block is not None
    (series,) = reader.all_series(timeline, WANTED, [block])
    assert series.values["update"][1] == pytest.approx(distance(0, 1) * 2**0.5, rel=1e-6)
    assert series.values["update"][2] is None
    moved = reader.movement(block, timeline).values
    assert moved["update"][1] == pytest.approx(distance(0, 1) * 2**0.5 / 2.0, rel=1e-6)
    assert moved["update"][2] is None


def test_sketches_are_read_only_where_nothing_was_measured(
    writer: Writer, candidate: Callable[..., Candidate]
) -> None:
    """What was measured is read; other checkpoints are compared by their sketches, as before."""
    for step in (0, 1, 2, 3):
        put(writer, candidate, step)
    reader = writer.reader()
    timeline = reader.timeline()
    entry = reader.find("", "block")
    assert entry is not None
    slow = reader.movement(entry, timeline).values
    writer.measure_motion()
    writer.connection.execute("UPDATE trace SET sketch = NULL")
    fast = reader.movement(entry, timeline).values
    for name, column in slow.items():
        assert fast[name][0] == column[0]
        assert fast[name][1:] == pytest.approx(column[1:], rel=1e-6)
    assert reader.movement(entry, timeline[::2]).values["update"] == (None, None)


def test_batches_of_tensors_change_nothing(
    writer: Writer, candidate: Callable[..., Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that reach over the border of a batch are whole."""
    for step in (0, 1, 2):
        put(writer, candidate, step)
    writer.measure_motion()
    before = stored(writer)
    writer.connection.execute("DELETE FROM neighbour")
    monkeypatch.setattr(motion_cache, "_BATCH", 1)
    assert writer.measure_motion() == 3
    assert stored(writer) == before


def test_modality_and_channels_come_with_the_series(
    writer: Writer, candidate: Callable[..., Candidate]
) -> None:
    """Columns stand beside the steps, None where nothing is stored; memory changes nothing."""
    found = Modality("peaks", 1, 1, (Peak(0.5, 1.0, 1.0),), (), 0.0, 0.0, 0.25, 1.0, 9, 0.0)
    key = TensorKey("w", "tensor", "ema", "bf16", (2, 3))
    for step, blob in ((1, encode({"elements": found})), (2, None)):
        attempt = writer.begin(**candidate(step))
        writer.add(attempt, [(key, stat(), None)], [(key, Trace(2**64 - step, None, None, blob))])
        writer.promote(attempt, seconds=0.0)
    reader = writer.reader()
    for _ in range(2):
        (series,) = reader.all_series(
            reader.timeline(), ("n",), digests=True, modality=True, channels=True
        )
        assert series.modality == {"elements": (found, None)}
        assert series.digests == (2**64 - 1, 2**64 - 2)
        assert series.channels == (None, None)
        assert (series.tensor, series.dtype, series.shape) == ("ema:w", "bf16", (2, 3))
        assert series.segments == (0, 0)
    (bare,) = reader.all_series(reader.timeline(), ("n",))
    assert (bare.modality, bare.digests, bare.channels) == ({}, (), ())
