"""A session over real files and a real store: what it stores, and what it survives."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from forkmon import wire
from forkmon.engines.local import LocalEngine
from forkmon.runs.order import Placement
from forkmon.runs.poll import Poller
from forkmon.store.writer import Writer
from forkmon.worker.backends import Device, open_engine
from forkmon.worker.session import Session, recover

LONG_AGO = 1_700_000_000
"""A modification time, so old that nothing needs to settle."""

Weights = dict[str, NDArray[np.generic]]


def weights(step: int) -> Weights:
    """Return a small model's weights, different at each step."""
    rng = np.random.default_rng(step)
    return {
        "h.0.attn.weight": (rng.standard_normal((16, 16)) * 0.02).astype(np.float32),
        "h.0.attn.bias": np.full(16, step, np.float32),
        "h.1.mlp.weight": (rng.standard_normal((16, 64)) * 0.02).astype(np.float16),
        "ln.weight": (1 + 0.01 * rng.standard_normal(64)).astype(np.float32),
    }


def land(root: Path, step: int, content: Weights | None = None, *, at: int | None = None) -> Path:
    """Write step N's checkpoint as a trainer of plain files would."""
    path = root / f"step_{step}.safetensors"
    save_file(content or weights(step), path)
    moment = LONG_AGO + 60 * step if at is None else at
    os.utime(path, (moment, moment))
    return path


class Harness:
    """A run directory with its store, and sessions on it that come and go."""

    def __init__(self, base: Path) -> None:
        self.root = base / "run"
        self.root.mkdir()
        self.store = base / "state" / "run.db"
        self.events: list[wire.Event] = []

    def open(self) -> Writer:
        """Return the store's writer."""
        return Writer.open(self.store, run=self.root, name="run", kernel="t")

    def session(
        self, writer: Writer, *, engine: Callable[[], LocalEngine] = open_engine
    ) -> Session:
        """Return a session that settles at once."""
        return Session(
            self.root,
            writer,
            Poller(self.root, interval=0.01, settle=0.01),
            engine=engine,
            device=Device("cpu", "a test"),
            notify=self.events.append,
        )

    def steps(self, writer: Writer) -> list[int]:
        """Return the steps on the timeline."""
        return [row.step for row in writer.reader().timeline()]


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


@pytest.fixture
def writer(harness: Harness) -> Iterator[Writer]:
    with harness.open() as writer:
        yield writer


def drain(session: Session) -> None:
    """Look until nothing waits to settle, and analyse everything."""
    deadline = time.monotonic() + 20
    while session.look().waiting or session.pending:
        while session.analyse_next():
            pass
        assert time.monotonic() < deadline, "something never settles"


def test_every_checkpoint_is_stored_once_in_step_order(harness: Harness, writer: Writer) -> None:
    """Names sort as numbers; a second look stores nothing again."""
    for step in (10, 2, 100):
        land(harness.root, step)
    session = harness.session(writer)
    drain(session)
    drain(session)
    assert harness.steps(writer) == [2, 10, 100]
    assert sum(isinstance(e, wire.Stored) for e in harness.events) == 3


def test_the_newest_waiting_checkpoint_goes_first(harness: Harness, writer: Writer) -> None:
    """Rotation deletes the old ones; a person looks at the new ones."""
    for step in (1, 3, 2):
        land(harness.root, step)
    drain(harness.session(writer))
    assert [e.step for e in harness.events if isinstance(e, wire.Stored)] == [3, 2, 1]


def test_stored_numbers_are_those_of_the_weights(harness: Harness, writer: Writer) -> None:
    """From file to store nothing is lost."""
    land(harness.root, 7)
    drain(harness.session(writer))
    reader = writer.reader()
    row = reader.timeline()[0]
    entry = reader.find("h.0.attn.weight", "tensor")
    assert entry is not None
    stat = reader.stat(entry.id, row.id)
    values = weights(7)["h.0.attn.weight"].astype(np.float64)
    assert stat is not None
    assert stat.n == 256
    assert stat.mean == pytest.approx(values.mean(), rel=1e-12)
    assert stat.std == pytest.approx(values.std(), rel=1e-12)
    assert entry.shape == (16, 16)
    assert entry.dtype == "f32"


def test_blocks_hold_their_tensors_together(harness: Harness, writer: Writer) -> None:
    """The whole model's row counts every element, h.0's those of two tensors."""
    land(harness.root, 1)
    drain(harness.session(writer))
    reader = writer.reader()
    row = reader.timeline()[0]
    sizes = {}
    for entry in reader.tensors(row.id):
        stat = reader.stat(entry.id, row.id)
        assert stat is not None
        if entry.kind == "block":
            sizes[entry.name] = stat.n
    assert sizes == {
        "": 256 + 16 + 1024 + 64, "h": 256 + 16 + 1024, "h.0": 272, "h.0.attn": 272,
        "h.1": 1024, "h.1.mlp": 1024, "ln": 64,
    }  # fmt: skip


def test_a_restart_computes_nothing_again(harness: Harness) -> None:
    """The second session on an unchanged run never opens its engine."""
    for step in range(3):
        land(harness.root, step)
    with harness.open() as first:
        drain(harness.session(first))

    def no_engine() -> LocalEngine:
        raise AssertionError("an unchanged run was analysed again")

    with harness.open() as second:
        drain(harness.session(second, engine=no_engine))
        assert harness.steps(second) == [0, 1, 2]


def test_history_outlives_the_files(harness: Harness, writer: Writer) -> None:
    """Rotation deletes a file; its step stays, marked as gone."""
    old = land(harness.root, 1)
    session = harness.session(writer)
    drain(session)
    old.unlink()
    land(harness.root, 2)
    drain(session)
    assert [(r.step, r.present) for r in writer.reader().timeline()] == [(1, False), (2, True)]


def test_a_rewritten_step_is_a_new_version(harness: Harness, writer: Writer) -> None:
    """The timeline shows the new weights; the old version stays in the store."""
    session = harness.session(writer)
    land(harness.root, 5)
    drain(session)
    land(harness.root, 5, weights(6), at=LONG_AGO + 10_000)
    drain(session)
    drain(session)
    assert [(r.step, r.version) for r in writer.reader().timeline()] == [(5, 1)]
    assert [(r.step, r.version) for r in writer.reader().checkpoints()] == [(5, 0), (5, 1)]


def test_a_step_that_goes_back_opens_a_segment(harness: Harness, writer: Writer) -> None:
    """A resume from step 1 continues its ancestor's history up to the fork."""
    session = harness.session(writer)
    for step in (1, 2, 3):
        land(harness.root, step)
    drain(session)
    land(harness.root, 2, weights(20), at=LONG_AGO + 99_000)
    drain(session)
    rows = writer.reader().timeline()
    assert [(r.step, r.segment) for r in rows] == [(1, 0), (2, 1)]
    assert len(writer.reader().checkpoints()) == 4


def test_one_bad_file_does_not_hide_the_good_ones(harness: Harness, writer: Writer) -> None:
    """A truncated file becomes one failed row with its reason, and an alert."""
    land(harness.root, 1)
    bad = land(harness.root, 2)
    bad.write_bytes(bad.read_bytes()[:-100])
    os.utime(bad, (LONG_AGO, LONG_AGO))
    drain(harness.session(writer))
    reader = writer.reader()
    assert [r.step for r in reader.timeline()] == [1]
    (failed,) = reader.failed()
    assert "truncated" in (failed.reason or "")
    (alert,) = reader.alerts()
    assert alert.kind == "UNREADABLE"
    assert "step_2.safetensors" in alert.message


def test_a_mended_file_is_analysed(harness: Harness, writer: Writer) -> None:
    """A failure is forgotten when the file changes and can be read."""
    bad = land(harness.root, 2)
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-100])
    os.utime(bad, (LONG_AGO, LONG_AGO))
    session = harness.session(writer)
    drain(session)
    bad.write_bytes(whole)
    os.utime(bad, (LONG_AGO + 5, LONG_AGO + 5))
    drain(session)
    assert harness.steps(writer) == [2]
    assert writer.reader().failed() == ()
    assert writer.reader().alerts() == ()


def test_non_finite_values_raise_one_alert_an_episode(harness: Harness, writer: Writer) -> None:
    """Onset is the first bad step, whatever order the checkpoints arrive in."""
    for step in (1, 2, 3):
        content = weights(step)
        if step >= 2:
            content["ln.weight"][3] = np.nan
        land(harness.root, step, content)
    drain(harness.session(writer))
    (alert,) = writer.reader().alerts()
    assert (alert.kind, alert.tensor, alert.onset) == ("NONFINITE", "ln.weight", 2)
    assert alert.evidence["nan"] == 1


def test_alerts_do_not_depend_on_the_order_of_arrival(tmp_path: Path) -> None:
    """Oldest first one by one, or all at once newest first: the same alerts."""
    found = []
    for name, together in (("a", True), ("b", False)):
        (tmp_path / name).mkdir()
        harness = Harness(tmp_path / name)
        with harness.open() as writer:
            session = harness.session(writer)
            for step in (1, 2, 3, 4):
                content = weights(step)
                if step in (2, 4):
                    content["h.0.attn.bias"][0] = np.inf
                land(harness.root, step, content)
                if not together:
                    drain(session)
            drain(session)
            found.append(writer.reader().alerts())
    assert found[0] == found[1]
    assert [a.onset for a in found[0]] == [4, 2]


def test_a_file_that_changes_while_it_is_read_leaves_nothing(
    harness: Harness, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is dropped, and the file is read again when it has settled."""
    path = land(harness.root, 1)
    session = harness.session(writer)
    session.look()
    run = LocalEngine.run

    def meddling(self: LocalEngine, *args: object) -> object:
        land(harness.root, 1, weights(50), at=LONG_AGO + 500)
        yield from run(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(LocalEngine, "run", meddling)
        session.analyse_next()
    assert harness.steps(writer) == []
    assert writer.attempts_left() == []
    drain(session)
    reader = writer.reader()
    entry = reader.find("h.0.attn.weight", "tensor")
    assert entry is not None
    stat = reader.stat(entry.id, reader.timeline()[0].id)
    assert stat is not None
    expected = weights(50)["h.0.attn.weight"].astype(np.float64).mean()
    assert stat.mean == pytest.approx(expected, rel=1e-12)
    assert path.exists()


def test_a_moved_run_keeps_its_history(harness: Harness) -> None:
    """The same files under another path are known by their content's digest."""
    land(harness.root, 1)
    with harness.open() as writer:
        drain(harness.session(writer))
    elsewhere = harness.root.with_name("moved")
    harness.root.rename(elsewhere)
    harness.root = elsewhere

    def no_engine() -> LocalEngine:
        raise AssertionError("a moved run was analysed again")

    with harness.open() as writer:
        drain(harness.session(writer, engine=no_engine))
        assert harness.steps(writer) == [1]


def test_a_tensor_that_kills_two_workers_is_left_out(harness: Harness) -> None:
    """Two crashes at one tensor: the rest of the checkpoint is stored, and it says so."""
    land(harness.root, 1)

    def crash_at(victim: str) -> None:
        """Leave the store as a worker does that dies of SIGSEGV at `victim`."""
        with harness.open() as writer:
            session = harness.session(writer)
            session.look()
            ref = session._queue[next(iter(session._queue))]
            candidate = session._candidate(ref, _first_place())
            attempt = writer.begin(**candidate)
            writer.working_on(attempt, victim)
        with harness.open() as writer:
            recover(writer, "SIGSEGV")

    crash_at("ln.weight")
    crash_at("ln.weight")
    with harness.open() as writer:
        drain(harness.session(writer))
        reader = writer.reader()
        (row,) = reader.timeline()
        assert row.status == "partial"
        assert [s.name for s in reader.skipped(row.id)] == ["ln.weight"]
        names = {e.name for e in reader.tensors(row.id) if e.kind == "tensor"}
        assert names == {"h.0.attn.weight", "h.0.attn.bias", "h.1.mlp.weight"}


def _first_place() -> Placement:
    return Placement(0, 0, 0)


def test_a_worker_killed_from_outside_blames_no_tensor(harness: Harness) -> None:
    """SIGKILL is most often the kernel short of memory: nothing is quarantined."""
    land(harness.root, 1)
    with harness.open() as writer:
        session = harness.session(writer)
        session.look()
        ref = session._queue[next(iter(session._queue))]
        attempt = writer.begin(**session._candidate(ref, _first_place()))
        writer.working_on(attempt, "ln.weight")
    with harness.open() as writer:
        recover(writer, "SIGKILL")
        assert writer.quarantined() == ()
        assert writer.attempts_left() == []


def test_the_focused_tensor_is_stored_first(harness: Harness, writer: Writer) -> None:
    """Whoever looks at a tensor sees it before the rest of the checkpoint."""
    land(harness.root, 1)
    session = harness.session(writer)
    session.focus = "ln.weight"
    order: list[str] = []
    add = writer.add

    def spy(attempt: int, rows: object, traces: object) -> None:
        taken = list(rows)  # type: ignore[call-overload]
        order.extend(key.name for key, _, _ in taken)
        add(attempt, taken, traces)  # type: ignore[arg-type]

    writer.add = spy  # type: ignore[method-assign]
    drain(session)
    assert order[0] == "ln.weight"
    assert order.count("ln.weight") == 2
