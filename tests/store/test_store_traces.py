"""Hashes, sketches and channels in the store, and the motion they tell."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator
from math import hypot, sqrt
from pathlib import Path

import pytest

from forkmon.stats.row import StatRow
from forkmon.store.schema import first_tables, migrate
from forkmon.store.transaction import transaction
from forkmon.store.values import Candidate, TensorKey, Trace
from forkmon.store.writer import Writer

WIDTH = 256


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    """Return an open store."""
    with Writer.open(tmp_path / "s.db", run=tmp_path, name="s", kernel="t") as opened:
        yield opened


def candidate(step: int) -> Candidate:
    """Return a checkpoint's place."""
    return Candidate(
        segment=0, generation=0, parent_segment=None, step=step, version=0, path=f"/r/{step}",
        format="safetensors", digest=f"d{step}", content_digest=f"c{step}", bytes=1, mtime=1.0,
        epoch=None, device="cpu",
    )  # fmt: skip


def stat(norm: float) -> StatRow:
    """Return a row of which only the norm matters."""
    return StatRow(
        n=4, mean=0.0, std=1.0, skew=None, kurtosis=None, min=0.0, max=1.0, l1=1.0, l2=norm,
        zeros=0, nan=0, inf=0, quantiles=(None,) * 9,
    )  # fmt: skip


def sketch(*values: float) -> bytes:
    """Return a stored sketch that begins with the given sums."""
    return array("f", [*values, *[0.0] * (WIDTH - len(values))]).tobytes()


def store(writer: Writer, step: int, tensors: dict[str, tuple[float, bytes | None]]) -> None:
    """Store one checkpoint of tensors with (norm, sketch)."""
    attempt = writer.begin(**candidate(step))
    keys = {name: TensorKey(name, "tensor") for name in tensors}
    blocks = [
        (TensorKey(block, "block"), stat(hypot(*norms)), None)
        for block in ("", "h")
        if (norms := [norm for name, (norm, _) in tensors.items() if name.startswith(block)])
    ]
    rows = [(keys[name], stat(norm), None) for name, (norm, _) in tensors.items()]
    traces = [(keys[name], Trace(step, made, None)) for name, (_, made) in tensors.items()]
    writer.add(attempt, [*rows, *blocks], traces)
    writer.promote(attempt, seconds=0.0)


def test_a_trace_comes_back(writer: Writer) -> None:
    """Hashes use all 64 bits."""
    attempt = writer.begin(**candidate(1))
    key = TensorKey("w", "tensor")
    trace = Trace(2**64 - 1, sketch(1.0), b"channels")
    writer.add(attempt, [(key, stat(1.0), None)], [(key, trace)])
    writer.promote(attempt, seconds=0.0)
    reader = writer.reader()
    entry = reader.find("w", "tensor")
    assert entry is not None
    assert reader.trace(entry.id, reader.timeline()[0].id) == trace


def test_dropping_an_attempt_drops_its_traces(writer: Writer) -> None:
    """Nothing of a dropped attempt stays."""
    attempt = writer.begin(**candidate(1))
    key = TensorKey("w", "tensor")
    writer.add(attempt, [(key, stat(1.0), None)], [(key, Trace(1, None, None))])
    writer.drop(attempt)
    assert writer.connection.execute("SELECT count(*) FROM trace").fetchone() == (0,)


def test_motion_of_a_tensor_follows_from_its_sketches(writer: Writer) -> None:
    """Update from the step before, drift and cosine from the first."""
    for step, value in ((0, 1.0), (1, 1.5), (2, -1.0)):
        store(writer, step, {"h.w": (abs(value), sketch(value))})
    reader = writer.reader()
    entry = reader.find("h.w", "tensor")
    assert entry is not None
    found = reader.movement(entry, reader.timeline())
    assert found.values["update"] == (None, pytest.approx(0.5), pytest.approx(2.5 / 1.5))
    assert found.values["drift"] == (0.0, pytest.approx(0.5), pytest.approx(2.0))
    assert found.values["cosine"] == (1.0, pytest.approx(1.0), pytest.approx(-1.0))


def test_a_block_moves_by_its_tensors_in_quadrature(writer: Writer) -> None:
    """Only tensors inside the block count."""
    store(writer, 0, {"h.a": (1.0, sketch(1.0)), "h.b": (1.0, sketch(1.0)), "x": (1, sketch(9.0))})
    store(writer, 1, {"h.a": (1.0, sketch(4.0)), "h.b": (1.0, sketch(5.0)), "x": (1, sketch(0.0))})
    reader = writer.reader()
    entry = reader.find("h", "block")
    assert entry is not None
    drift = reader.movement(entry, reader.timeline()).values["drift"]
    assert drift[1] == pytest.approx(5 / sqrt(2))


def test_a_missing_sketch_is_a_missing_number(writer: Writer) -> None:
    """No distance is invented."""
    store(writer, 0, {"w": (1.0, None)})
    store(writer, 1, {"w": (1.0, sketch(1.0))})
    reader = writer.reader()
    entry = reader.find("w", "tensor")
    assert entry is not None
    assert reader.movement(entry, reader.timeline()).values["update"] == (None, None)


def test_a_store_of_schema_1_gains_the_table(tmp_path: Path) -> None:
    """The second migration leaves the first's rows alone."""
    connection = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    with transaction(connection, "old"):
        connection.execute("PRAGMA application_id = 1179340110")
        connection.execute("CREATE TABLE migration (version INTEGER PRIMARY KEY, name, applied)")
        first_tables(connection)
        connection.execute("INSERT INTO migration VALUES (1, 'first_tables', 0)")
        connection.execute("INSERT INTO meta VALUES ('name', 'old')")
    migrate(connection, "old")
    assert connection.execute("SELECT count(*) FROM trace").fetchone() == (0,)
    assert connection.execute("SELECT value FROM meta WHERE key = 'name'").fetchone() == ("old",)
    connection.close()


def test_notes_on_tensors_are_replaced_as_a_whole(writer: Writer) -> None:
    """What is no longer said is gone; saying the same again writes nothing."""
    writer.set_notes([("a", "part of ab"), ("b", "tied")])
    writer.set_notes([("a", "part of ab")])
    version = writer.reader().version()
    writer.set_notes([("a", "part of ab")])
    assert writer.reader().version() == version
    assert writer.reader().note("a") == "part of ab"
    assert writer.reader().note("b") == ""
