"""What readers see: lineage, columns, series, commits; and stores not to be opened in place."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from forkmon.errors import StoreError
from forkmon.stats.row import STATISTICS
from forkmon.store import reading
from forkmon.store.reader import Reader
from forkmon.store.values import Candidate, TensorKey
from forkmon.store.writer import Writer

Make = Callable[..., Candidate]
Put = Callable[..., int]
Rows = Callable[..., list]  # type: ignore[type-arg]


def steps(writer: Writer) -> list[tuple[int, int, int]]:
    return [(row.segment, row.step, row.version) for row in writer.reader().timeline()]


def test_a_branch_continues_below_its_first_step(writer: Writer, put: Put) -> None:
    """Ancestors contribute what lies before the branch, grandparents before both."""
    for step in (10, 20, 30, 40):
        put(writer, step)
    put(writer, 30, segment=1, parent_segment=0)
    put(writer, 50, segment=1)
    assert steps(writer) == [(0, 10, 0), (0, 20, 0), (1, 30, 0), (1, 50, 0)]
    put(writer, 15, segment=2, parent_segment=1)
    assert steps(writer) == [(0, 10, 0), (2, 15, 0)]


def test_only_the_latest_version_counts(writer: Writer, put: Put, candidate: Make) -> None:
    """A step rewritten with other weights is shown once; failures and attempts are not."""
    put(writer, 10)
    put(writer, 10, version=1)
    put(writer, 20)
    writer.fail(reason="cut", **candidate(20, version=1))
    writer.begin(**candidate(30))
    assert steps(writer) == [(0, 10, 1), (0, 20, 0)]
    assert len(writer.reader().checkpoints()) == 4


def test_a_new_generation_takes_over_once_it_has_a_checkpoint(
    writer: Writer, put: Put, candidate: Make
) -> None:
    """The screen never goes blank: until the first promotion the old generation stays."""
    put(writer, 10)
    attempt = writer.begin(**candidate(5, segment=1, generation=1))
    assert steps(writer) == [(0, 10, 0)]
    writer.promote(attempt, seconds=1)
    assert steps(writer) == [(1, 5, 0)]


def test_order_is_of_steps_not_of_arrival(writer: Writer, put: Put) -> None:
    """Checkpoints that arrive late find their place."""
    for step in (30, 10, 20):
        put(writer, step)
    assert [step for _, step, _ in steps(writer)] == [10, 20, 30]


def test_columns_sparks_and_series_agree(writer: Writer, candidate: Make, rows: Rows) -> None:
    """Every way to ask for a number gives that number, and None where there is none."""
    for step, count in ((1, 2), (2, 600), (3, 1)):
        attempt = writer.begin(**candidate(step))
        writer.add(attempt, rows(step, count))
        writer.promote(attempt, seconds=1)
    reader = writer.reader()
    timeline = reader.timeline()
    ids = [row.id for row in timeline]
    entries = reader.tensors()
    assert len(entries) == 601
    sparks = reader.sparks([e.id for e in entries], "mean", ids[::-1])
    streamed = {s.tensor: s for s in reader.all_series(timeline, ("mean", "q0.5", "n"))}
    assert set(streamed) == {e.name for e in entries if e.kind == "tensor"}
    for entry in entries[:20] + entries[-5:]:
        stats = [reader.stat(entry.id, i) for i in ids]
        means = tuple(None if s is None else s.mean for s in stats)
        series = reader.series(entry.id, timeline)
        assert series.steps == (1, 2, 3)
        assert series.values["mean"] == sparks[entry.id][::-1] == means
        assert series.values["q0.999"] == tuple(
            None if s is None else s.quantiles[8] for s in stats
        )
        assert set(series.values) >= {*STATISTICS, "n", "q0.001", "q0.5"}
        assert means == tuple(reader.column(i, "mean").get(entry.id) for i in ids)
        if entry.kind == "tensor":
            one = streamed[entry.name]
            assert one.values == {k: series.values[k] for k in ("mean", "q0.5", "n")}


def test_kinds_are_told_apart(writer: Writer, candidate: Make, rows: Rows) -> None:
    """A tree opens from block rows alone."""
    attempt = writer.begin(**candidate(1))
    writer.add(attempt, rows(1, 3))
    writer.add(attempt, [(TensorKey("h.0.weight", "tensor", role="ema"), rows(1)[1][1], None)])
    writer.promote(attempt, seconds=1)
    reader = writer.reader()
    blocks = reader.column(attempt, "std", "block")
    assert [e.name for e in reader.tensors(attempt, "block")] == [""]
    assert set(blocks) == {e.id for e in reader.tensors(kind="block")}
    assert len(reader.column(attempt, "std", "tensor")) == 4
    assert reader.find("h.0.weight", "tensor") != reader.find("h.0.weight", "tensor", "ema")
    assert reader.find("h.0.weight", "block") is None


def test_an_empty_timeline_is_no_error(writer: Writer, put: Put) -> None:
    """Nothing stored gives nothing back."""
    reader = writer.reader()
    assert reader.timeline() == ()
    assert list(reader.all_series((), STATISTICS)) == []
    put(writer, 1)
    entry = reader.find("h.0.weight", "tensor")
    assert entry is not None
    assert reader.series(entry.id, ()).values["mean"] == ()
    assert reader.sparks([entry.id], "mean", []) == {entry.id: ()}
    assert reader.stat(entry.id, 999) is None
    with pytest.raises(StoreError):
        reader.series(999, ())


def test_a_reader_sees_commits_and_cannot_write(writer: Writer, store: Path, put: Put) -> None:
    """version() changes at a foreign commit and only then."""
    with Reader.open(store) as reader:
        assert not reader.copied
        first = reader.version()
        assert reader.version() == first
        put(writer, 1)
        second = reader.version()
        assert second != first
        assert reader.version() == second
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._source.connection.execute("DELETE FROM checkpoint")


def test_the_run_is_named(writer: Writer, store: Path) -> None:
    """A store tells whose it is."""
    with Reader.open(store) as reader:
        run = reader.run()
    assert (run.path, run.name, run.schema, run.kernel) == ("/run", "run", 3, "k1")


def test_a_store_left_with_its_log_is_read_from_a_copy(
    writer: Writer, tmp_path: Path, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where SQLite refuses to open in place, nothing committed is missing from the copy."""
    put(writer, 1)
    left = tmp_path / "left"
    left.mkdir()
    for part in store.parent.glob("run.db*"):
        shutil.copy(part, left)
    (left / "run.db-shm").unlink()
    before = sorted(left.iterdir())

    def refuse(_path: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(reading, "_in_place", refuse)
    with Reader.open(left / "run.db") as reader:
        assert reader.copied
        assert [row.step for row in reader.timeline()] == [1]
        assert sorted(left.iterdir()) == before


def test_a_copy_follows_its_original(
    writer: Writer, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy is made anew when the original changed, and leaves nothing behind."""
    put(writer, 1)
    monkeypatch.setattr(reading, "open_source", reading.open_copy)
    monkeypatch.setattr("forkmon.store.reader.open_source", reading.open_copy)
    with Reader.open(store) as reader:
        first = reader.version()
        assert reader.version() == first
        put(writer, 2)
        assert reader.version() != first
        assert [row.step for row in reader.timeline()] == [1, 2]
        directory = reader._source.copy
        assert directory is not None
        kept = Path(directory.name)
        assert kept.exists()
    assert not kept.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_read_only_directory_is_read(
    open_writer: Callable[[], Writer], store: Path, put: Put
) -> None:
    """A history in a directory that cannot be written opens all the same."""
    with open_writer() as writer:
        put(writer, 1)
    store.parent.chmod(0o500)
    try:
        with Reader.open(store) as reader:
            assert [row.step for row in reader.timeline()] == [1]
    finally:
        store.parent.chmod(0o700)


def test_what_is_no_store_is_said(tmp_path: Path) -> None:
    """A missing, an empty, a foreign and a garbage file each get one line."""
    garbage, foreign, empty = tmp_path / "garbage", tmp_path / "foreign", tmp_path / "empty"
    garbage.write_bytes(b"no database " * 100)
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    empty.touch()
    for path, words in (
        (tmp_path / "none", "no store at"),
        (garbage, "not a database"),
        (foreign, "another program"),
        (empty, "empty yet"),
    ):
        with pytest.raises(StoreError, match=words):
            Reader.open(path)


def test_a_path_with_uri_characters_opens(tmp_path: Path, put: Put) -> None:
    """`?`, `#` and `%` in a path are part of the path."""
    path = tmp_path / "a?b#c%20d.db"
    with Writer.open(path, run=Path("/r"), name="r", kernel="k") as writer:
        put(writer, 1)
        with Reader.open(path) as reader:
            assert len(reader.timeline()) == 1


def test_the_reader_imports_lightly() -> None:
    """Before first paint the UI pays for the standard library only, and little of that."""
    heavy = ["numpy", "asyncio", "subprocess", "shutil", "tempfile", "torch", "forkmon.runs"]
    code = f"import sys, forkmon.store.reader; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
