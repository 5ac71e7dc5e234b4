"""Attempts, promotion, what is dropped, what a restart knows, and what mirrors the run."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from forkmon.errors import StoreError
from forkmon.stats.alert import Alert, Severity
from forkmon.store.reader import Reader
from forkmon.store.retention import dispensable
from forkmon.store.values import Candidate, QuarantineRow, SkippedRow, TensorKey
from forkmon.store.writer import Writer

Make = Callable[..., Candidate]
Put = Callable[..., int]
Rows = Callable[..., list]  # type: ignore[type-arg]

HISTORY = ("segment", "checkpoint", "tensor", "stat", "codes", "skipped")


def content(writer: Writer) -> dict[str, list[object]]:
    return {
        table: writer.connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
        for table in HISTORY
    }


def test_an_attempt_is_seen_but_is_not_history(
    writer: Writer, store: Path, candidate: Make, rows: Rows
) -> None:
    """Before promotion the rows are readable by their attempt, and the timeline is empty."""
    attempt = writer.begin(**candidate(10))
    writer.add(attempt, rows(10, 4))
    with Reader.open(store) as reader:
        seen = reader.attempt()
        assert seen is not None
        assert (seen.id, seen.step, seen.tensors) == (attempt, 10, 4)
        assert len(reader.stats(attempt)) == 5
        assert reader.timeline() == ()
        assert reader.checkpoints() == ()
        before = reader.version()
        writer.promote(attempt, seconds=2.0, skipped=[("x", "u4", "no such type")])
        assert reader.version() != before
        (row,) = reader.timeline()
        assert (row.status, row.seconds, row.tensors, row.skipped) == ("complete", 2.0, 4, 1)
        assert reader.skipped(attempt) == (SkippedRow("x", "u4", "no such type"),)
        assert reader.attempt() is None


def test_drop_leaves_no_trace(writer: Writer, put: Put, candidate: Make, rows: Rows) -> None:
    """After a drop every table of history is as it was, also where it brought in new tensors."""
    put(writer, 1, 2)
    before = content(writer)
    attempt = writer.begin(**candidate(2, segment=1, parent_segment=0))
    writer.add(attempt, rows(2, 9))
    writer.add(
        attempt, [(TensorKey("h.0.weight", "tensor", dtype="f32", shape=(9,)), *rows(1)[1][1:])]
    )
    writer.drop(attempt)
    assert content(writer) == before


def test_a_promoted_checkpoint_is_final(writer: Writer, put: Put, candidate: Make) -> None:
    """Nothing can be added to it, it cannot be dropped, promoted again or begun again."""
    stored = put(writer, 1)
    before = content(writer)
    for act in (
        lambda: writer.add(stored, []),
        lambda: writer.drop(stored),
        lambda: writer.promote(stored, seconds=0),
        lambda: writer.begin(**candidate(1)),
    ):
        with pytest.raises(StoreError):
            act()
    assert content(writer) == before


def test_a_failing_add_stores_none_of_its_rows(writer: Writer, candidate: Make, rows: Rows) -> None:
    """Rows are stored together or not at all, and the next add works."""
    attempt = writer.begin(**candidate(1))
    key, row, _ = rows(1)[1]
    with pytest.raises(Exception, match="list"):
        writer.add(attempt, [(key, row, None), (TensorKey([], "tensor"), row, None)])  # type: ignore[arg-type]
    assert writer.reader().stats(attempt) == {}
    assert writer.reader().tensors() == []
    writer.add(attempt, rows(1))
    assert len(writer.reader().stats(attempt)) == 4


def test_a_restart_knows_everything_that_was_finished(
    open_writer: Callable[[], Writer], candidate: Make, rows: Rows, put: Put
) -> None:
    """Complete, partial and failed checkpoints come back with their digests; attempts do not."""
    with open_writer() as writer:
        put(writer, 1)
        partial = writer.begin(**candidate(2))
        writer.promote(partial, seconds=1, status="partial", reason="1 of 2 shards")
        writer.fail(reason="truncated", **candidate(3))
        left = writer.begin(**candidate(4))
        writer.working_on(left, "h.0.\ud800")
        known = writer.known()
    with open_writer() as writer:
        assert writer.known() == known
        assert [(k.row.status, k.digest, k.content_digest) for k in known] == [
            ("complete", "d1", "c1"), ("partial", "d2", "c2"), ("failed", "d3", "c3"),
        ]  # fmt: skip
        (attempt,) = writer.attempts_left()
        assert (attempt.row.id, attempt.digest, attempt.working_on) == (left, "d4", "h.0.\ud800")


def test_an_attempt_begun_again_replaces_what_was_left(
    writer: Writer, candidate: Make, rows: Rows
) -> None:
    """The same place has one attempt at most, and ids are never used twice."""
    first = writer.begin(**candidate(1))
    writer.add(first, rows(1))
    second = writer.begin(**candidate(1))
    assert second > first
    assert [left.row.id for left in writer.attempts_left()] == [second]
    assert writer.reader().stats(first) == {}


def test_failures_are_kept_by_path(writer: Writer, candidate: Make) -> None:
    """A path has its newest failure; other paths at the same step keep theirs."""
    writer.fail(reason="a", **candidate(1, path="/run/a"))
    writer.fail(reason="b", **candidate(1, path="/run/b"))
    writer.fail(reason="a again", **candidate(1, path="/run/a"))
    assert {(r.path, r.reason) for r in writer.reader().failed()} == {
        ("/run/a", "a again"), ("/run/b", "b"),
    }  # fmt: skip
    writer.promote(writer.begin(**candidate(1, path="/run/a")), seconds=1)
    assert [r.path for r in writer.reader().failed()] == ["/run/b"]


def test_type_and_shape_belong_to_the_checkpoint(
    writer: Writer, candidate: Make, rows: Rows
) -> None:
    """A tensor whose type changes stays one tensor; each checkpoint tells its own type."""
    _, row, codes = rows(1)[1]
    ids: list[int] = []
    for step, dtype in ((1, "f32"), (2, "bf16")):
        attempt = writer.begin(**candidate(step))
        writer.add(attempt, [(TensorKey("w", "tensor", dtype=dtype, shape=(step,)), row, codes)])
        writer.promote(attempt, seconds=1)
        ids.append(attempt)
    reader = writer.reader()
    (old,), (new,), (latest,) = reader.tensors(ids[0]), reader.tensors(ids[1]), reader.tensors()
    assert old.id == new.id
    assert (old.dtype, old.shape) == ("f32", (1,))
    assert (new.dtype, new.shape) == (latest.dtype, latest.shape) == ("bf16", (2,))


def test_what_mirrors_the_run_comes_back(writer: Writer, put: Put) -> None:
    """Alerts, ignored files, metrics, presence and quarantine are replaced as a whole."""
    put(writer, 1)
    put(writer, 2)
    reader = writer.reader()
    alerts = [Alert("NAN", Severity.ERROR, "w", 1, 2, "NaN in w", {"nan": 3, "at": None})]
    writer.replace_alerts(alerts)
    writer.set_ignored([(Path("/run/x"), "empty"), ("/run/\udcff", "raw name")])
    writer.set_metrics({"loss": [(1, 2.5), (2, math.inf)], "lr": [(1, 0.1)]})
    writer.mark_present({Path("/run/checkpoint-2")})
    row = QuarantineRow("/run/checkpoint-1", "d1", "w", "SIGSEGV", 2, "killed the worker twice")
    writer.quarantine(row)
    assert reader.alerts() == tuple(alerts)
    assert {(r.path, r.reason) for r in reader.ignored()} == {
        ("/run/x", "empty"), ("/run/\udcff", "raw name"),
    }  # fmt: skip
    metrics = reader.metrics()
    assert metrics["lr"] == ((1, 0.1),)
    assert metrics["loss"][0] == (1, 2.5)
    assert math.isnan(metrics["loss"][1][1])
    assert [r.present for r in reader.checkpoints()] == [False, True]
    assert writer.quarantined() == (row,)
    writer.clear_quarantine(row.path)
    writer.replace_alerts([])
    assert (writer.quarantined(), reader.alerts()) == ((), ())


def test_metrics_grow_shrink_and_change(writer: Writer) -> None:
    """Whatever the trainer's log becomes, the stored curves are it."""
    for curves in (
        {"loss": [(1, 1.0)]},
        {"loss": [(1, 1.0), (2, math.nan)]},
        {"loss": [(1, 1.0), (2, math.nan), (2, 3.0)], "lr": [(0, 1.0)]},
        {"loss": [(1, 9.0)]},
    ):
        writer.set_metrics(curves)
        assert repr(writer.reader().metrics()) == repr({k: tuple(v) for k, v in curves.items()})


def test_storing_the_same_again_wakes_nobody(writer: Writer, store: Path, put: Put) -> None:
    """An idle poll changes nothing, so that readers see no new version."""

    def poll() -> None:
        writer.replace_alerts([Alert("NAN", Severity.WARN, None, 1, 1, "m", {"x": math.nan})])
        writer.set_ignored([("/run/x", "empty")])
        writer.set_metrics({"loss": [(1, math.nan), (2, 0.5)]})
        writer.mark_present(["/run/checkpoint-1"])

    put(writer, 1)
    poll()
    with Reader.open(store) as reader:
        before, own = reader.version(), writer.reader().version()
        poll()
        assert (reader.version(), writer.reader().version()) == (before, own)


def test_a_copy_knows_history_and_leaves_the_store_alone(
    writer: Writer, store: Path, put: Put, candidate: Make
) -> None:
    """`scan` beside a live writer continues in memory from what is stored."""
    put(writer, 1)
    left = writer.begin(**candidate(2))
    with Writer.copy_of(store, run=Path("/run"), name="run", kernel="k1") as copy:
        assert [k.row.step for k in copy.known()] == [1]
        assert copy.attempts_left() == []
        put(copy, 2)
        assert [row.step for row in copy.reader().timeline()] == [1, 2]
    assert [k.row.step for k in writer.known()] == [1]
    assert [a.row.id for a in writer.attempts_left()] == [left]


def test_no_store_means_no_file(tmp_path: Path, put: Put) -> None:
    """A writer in memory does the same and writes nothing."""
    with Writer.open(None, run=tmp_path, name="r", kernel="k") as writer:
        before = writer.reader().version()
        put(writer, 3)
        assert writer.reader().version() != before
        assert [row.step for row in writer.reader().timeline()] == [3]
        assert writer.reader().run().path == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_thinning_keeps_newest_log_spaced_and_alert_steps(writer: Writer, put: Put) -> None:
    """Beyond the cap old histograms go, moments stay; the kept set is never touched."""
    for step in range(200):
        put(writer, step, 2)
    writer.replace_alerts([Alert("SPLIT", Severity.WARN, "w", 100, 103, "m")])
    reader = writer.reader()
    entry = reader.find("h.0.weight", "tensor")
    assert entry is not None
    assert writer.thin() == 0
    thinned = writer.thin(cap_bytes=1)
    kept = {row.step for row in reader.timeline() if reader.reduced(entry.id, row.id) is not None}
    powers = {0, 1, 2, 4, 8, 16, 32, 64, 128}
    assert kept == powers | {99, 100, 103} | set(range(150, 200))
    assert thinned == 200 - len(kept)
    assert all(reader.stat(entry.id, row.id) is not None for row in reader.timeline())
    assert writer.thin(cap_bytes=1) == 0


def test_promotion_keeps_to_the_cap(writer: Writer, put: Put) -> None:
    """A store beyond its cap thins itself."""
    writer.cap_bytes = 1
    for step in range(60):
        put(writer, step)
    reader = writer.reader()
    rows = reader.checkpoints()
    gone = set(dispensable(rows, ()))
    entry = reader.find("h.0.weight", "tensor")
    assert entry is not None
    assert gone
    for row in rows:
        assert (reader.reduced(entry.id, row.id) is None) == (row.id in gone)


def test_a_full_disk_is_said_and_stores_nothing_half(
    writer: Writer, candidate: Make, rows: Rows, put: Put
) -> None:
    """SQLITE_FULL: one clear line, the transaction is gone, and it goes on when there is room."""
    put(writer, 1)
    attempt = writer.begin(**candidate(2))
    before = content(writer)
    (pages,) = writer.connection.execute("PRAGMA page_count").fetchone()
    writer.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full; free some space"):
        writer.add(attempt, rows(2, 2000))
    assert content(writer) == before
    writer.connection.execute("PRAGMA max_page_count = 1000000")
    writer.add(attempt, rows(2, 2000))
    writer.promote(attempt, seconds=1)
    assert [r.tensors for r in writer.reader().timeline()] == [3, 2000]


def test_errors_of_sqlite_never_escape(writer: Writer, candidate: Make) -> None:
    """A connection that is gone is a StoreError as well."""
    writer.connection.close()
    with pytest.raises(StoreError) as caught:
        writer.begin(**candidate(1))
    assert isinstance(caught.value.__cause__, sqlite3.Error)
