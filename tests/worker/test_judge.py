"""Alerts are those of the stored history, whatever the order it came in."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from forkmon.detect.settings import DEFAULT
from forkmon.stats.alert import Alert
from forkmon.stats.modality import Modality, Peak, encode
from forkmon.stats.reduced import Reduced
from forkmon.stats.row import StatRow
from forkmon.store.values import Candidate, TensorKey, Trace
from forkmon.store.writer import Writer
from forkmon.worker.judge import Judge, verdict

STEPS = (0, 1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24)


@pytest.fixture
def writer() -> Iterator[Writer]:
    """Return a store in memory."""
    with Writer.open(None, run=Path("/r"), name="r", kernel="k") as opened:
        yield opened


def forked(step: int) -> Modality:
    """Return one mode, and from step 8 on two."""
    if step < 8:
        return Modality(
            "peaks", 1, 1, (Peak(0.0, 1.0, 1.0),), (), 0.0, 0.0, 0.001, 1.0, 800, 0.0
        )  # fmt: skip
    peaks = (Peak(-1.0, 0.5, 0.9), Peak(1.0, 0.5, 0.9))
    return Modality(
        "peaks", 2, 2, peaks, (0.0,), 0.9, 20.0, 0.1, 1e-9, 800, 4.0, b"\x0f" * 100, 800
    )  # fmt: skip


def put(writer: Writer, step: int) -> None:
    """Store a checkpoint: one tensor forks, one is NaN for a while, one stands still at last."""
    attempt = writer.begin(
        **Candidate(
            segment=0, generation=0, parent_segment=None, step=step, version=0, path=f"/r/{step}",
            format="safetensors", digest=f"d{step}", content_digest=f"c{step}", bytes=1,
            mtime=1.0, epoch=None, device="cpu",
        )
    )  # fmt: skip
    rows: list[tuple[TensorKey, StatRow, Reduced | None]] = []
    traces: list[tuple[TensorKey, Trace]] = []
    for i in range(6):
        key = TensorKey(f"h.{i}.w", "tensor", dtype="f32", shape=(800,))
        nan = 3 if i == 1 and 4 <= step <= 10 else 0
        rows.append((key, StatRow(
            800, 0.0, 1.0 + 0.01 * step, 0.0, 0.1 * step, -1.0, 1.0, 9.0, 28.0 + step, 0, nan, 0,
            tuple(0.1 * q for q in range(9)),
        ), None))  # fmt: skip
        at = min(step, 12) if i == 2 else step
        sums = array("f", [float(at * (i + 1)), *[0.0] * 255]).tobytes()
        modality = encode({"elements": forked(step if i == 0 else 0)})
        traces.append((key, Trace(1000 * i + at, sums, None, modality)))
    rows.append((TensorKey("", "block"), replace(rows[0][1], l2=70.0), None))
    writer.add(attempt, rows, traces)
    writer.promote(attempt, seconds=0.0)


def alerts_of(writer: Writer) -> tuple[Alert, ...]:
    """Return what is stored."""
    return writer.reader().alerts()


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_arrival_gives_the_same_alerts(writer: Writer, seed: int) -> None:
    """Refreshed after every checkpoint, or once at the end in order: the same in the end."""
    with Writer.open(None, run=Path("/r"), name="r", kernel="k") as fresh:
        for step in STEPS:
            put(fresh, step)
        Judge(fresh.reader(), fresh).refresh()
        expected = alerts_of(fresh)
    assert {("NONFINITE", "h.1.w"), ("SPLIT", "h.0.w")} <= {(a.kind, a.tensor) for a in expected}
    order = list(STEPS)
    random.Random(seed).shuffle(order)
    judge = Judge(writer.reader(), writer)
    for i, step in enumerate(order):
        put(writer, step)
        judge.refresh(order[i + 1 :])
    assert alerts_of(writer) == expected


def test_alerts_after_a_pending_step_are_provisional(writer: Writer) -> None:
    """What an older checkpoint may still change says so, and no longer once it is there."""
    for step in STEPS[1:]:
        put(writer, step)
    judge = Judge(writer.reader(), writer)
    judge.refresh([0])
    assert {alert.evidence.get("provisional") for alert in alerts_of(writer)} == {1}
    put(writer, 0)
    judge.refresh()
    assert {alert.evidence.get("provisional") for alert in alerts_of(writer)} == {None}


def test_a_backlog_is_not_held_up(writer: Writer) -> None:
    """While checkpoints wait, alerts are computed again only after ten times what they cost."""
    now = count(0.0, 1.0)  # a look takes a second
    judge = Judge(writer.reader(), writer, clock=lambda: next(now))
    seen: list[int] = []
    for step in STEPS:
        put(writer, step)
        before = writer.connection.total_changes
        judge.refresh([99])
        seen.append(int(writer.connection.total_changes > before))
    assert seen[0] == 1
    assert 1 < sum(seen) < len(seen) / 2
    put(writer, 99)
    judge.refresh()
    assert alerts_of(writer)[0].segment == 0
    assert not any("provisional" in alert.evidence for alert in alerts_of(writer))


def test_the_verdict_sees_the_whole_model_move(writer: Writer) -> None:
    """Weights that stopped altogether are told from the root block's motion."""
    for step in range(1, 7):
        put(writer, step)
    judge = Judge(writer.reader(), writer)
    judge.refresh()
    assert verdict(writer.reader()).state != "frozen"
    writer.connection.execute(
        "UPDATE trace SET sketch = (SELECT sketch FROM trace AS first WHERE first.checkpoint = 3 "
        "AND first.tensor = trace.tensor) WHERE checkpoint > 3"
    )
    writer.connection.execute("DELETE FROM neighbour")
    writer.connection.execute("UPDATE stat SET nan = 0")
    writer.replace_alerts(())
    judge.refresh()
    assert verdict(writer.reader()).state == "frozen"


def test_a_known_history_is_not_judged_again(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read of it, also by the next process; other settings are another question."""
    for step in STEPS:
        put(writer, step)
    told = Judge(writer.reader(), writer).refresh()
    asked = 0

    def counting(*_: object) -> tuple[Alert, ...]:
        nonlocal asked
        asked += 1
        return ()

    monkeypatch.setattr("forkmon.worker.judge.current_alerts", counting)
    assert Judge(writer.reader(), writer).refresh() == told
    assert asked == 0
    other = replace(DEFAULT, off=frozenset({"SPLIT"}))
    assert Judge(writer.reader(), writer, other).refresh() == 0
    put(writer, 99)
    Judge(writer.reader(), writer, other).refresh()
    assert asked == 2
