"""A worker killed at any moment: nothing acknowledged is lost, nothing is stored twice or torn."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forkmon import wire
from forkmon.store.reader import Reader

from .conftest import Land, StartWorker, WorkerProcess, check_integrity, write_checkpoint

KILLS = int(os.environ.get("FORKMON_KILLS", "60"))
"""How many workers die; a campaign takes many more than a usual test."""

STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
LANES = 2
"""Rounds at the same time, each with a store of its own."""

ROWS = """
SELECT c.segment, c.generation, c.step, c.version, c.path, c.format, c.status, c.reason, c.bytes,
       c.mtime, c.tensors, c.skipped, c.digest, c.content_digest, c.kernel,
       t.name, t.kind, t.role, f.dtype, f.shape, s.n, s.mean, s.std, s.skew, s.kurtosis, s.min,
       s.max, s.l1, s.l2, s.zeros, s.nan, s.inf, s.quantiles, s."distinct", s.modes, s.preview,
       k.body
FROM checkpoint c
LEFT JOIN stat s ON s.checkpoint = c.id
LEFT JOIN tensor t ON t.id = s.tensor
LEFT JOIN form f ON f.id = s.form
LEFT JOIN codes k ON k.checkpoint = c.id AND k.tensor = s.tensor
ORDER BY c.segment, c.step, c.version, t.role, t.kind, t.name
"""
"""All that a history says, but for the numbers of its rows and for how long the work took."""


def content(store: Path) -> list[tuple[object, ...]]:
    """Return everything a store says about its checkpoints."""
    connection = sqlite3.connect(store)
    try:
        return connection.execute(ROWS).fetchall()
    finally:
        connection.close()


def tables(store: Path) -> int:
    """Return how many tables a store has: none while its first transaction is not through."""
    connection = sqlite3.connect(store)
    try:
        return int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    finally:
        connection.close()


@dataclass
class Round:
    """One store, from empty to whole, with workers that die on the way."""

    start: StartWorker
    store: Path
    chance: random.Random
    longest: float
    """Seconds a worker needs for the whole run: no later death is of interest."""
    promised: set[int] = field(default_factory=set)
    """Steps that a worker said were stored."""
    kills: int = 0
    deaths: Counter[str] = field(default_factory=Counter)
    """What the last word of each dead worker was."""

    def one_worker(self, *, may_die: bool) -> bool:
        """Let one worker live a while; return whether it finished the run."""
        worker = self.start(into=self.store)
        try:
            if not may_die:
                return self._works(worker, float("inf"), 10**9)
            if self.chance.random() < 0.5:
                done = self._works(worker, self.chance.uniform(0, self.longest), 10**9)
            else:
                done = self._works(worker, float("inf"), self.chance.randint(1, 16))
                self._wait(self.chance.choice((0.0, self.chance.uniform(0, 0.02))))
            return self._stop(worker) if done else self._kill(worker)
        finally:
            worker.close()

    def _works(self, worker: WorkerProcess, seconds: float, words: int) -> bool:
        """Listen for so long or so many words; True when everything was stored by then."""
        until = time.monotonic() + min(seconds, 60)
        while words > 0 and (left := until - time.monotonic()) > 0:
            event = worker.next(left)
            if event is None:
                assert worker.process.poll() is None, "it ended by itself"
                break
            words -= 1
            if isinstance(event, wire.Stored):
                self.promised.add(event.step)
            if isinstance(event, wire.Polled) and event.queued == event.waiting == 0:
                return True
        assert words <= 0 or seconds < 60, "it hangs"
        return False

    def _kill(self, worker: WorkerProcess) -> bool:
        worker.kill()
        assert worker.ended() == -9
        self.kills += 1
        heard = [e for e in worker.events if not isinstance(e, wire.Log)]
        self.deaths[type(heard[-1]).__name__ if heard else "nothing"] += 1
        self.promised |= {e.step for e in heard if isinstance(e, wire.Stored)}
        self._check()
        return False

    def _stop(self, worker: WorkerProcess) -> bool:
        worker.tell(wire.Stop())
        assert worker.ended() == 0
        return True

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass

    def _check(self) -> None:
        """Check a copy, so that the next worker finds just what the dead one left."""
        if not self.store.exists():
            assert not self.promised
            return
        copy = self.store.with_name("copy.db")
        for suffix in ("", "-wal", "-journal"):
            left = self.store.with_name(self.store.name + suffix)
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)
            if left.exists():
                shutil.copyfile(left, copy.with_name(copy.name + suffix))
        check_integrity(copy)
        if not tables(copy):
            assert not self.promised
            return
        with Reader.open(copy) as reader:
            steps = [row.step for row in reader.checkpoints()]
            attempts = reader.attempt()
        assert self.promised <= set(steps), "an acknowledged checkpoint is lost"
        assert len(steps) == len(set(steps)), "a checkpoint is there twice"
        assert attempts is None or attempts.step not in steps


@pytest.fixture
def whole_run(run: Path) -> Path:
    """Return a run of twelve checkpoints, written in step order long ago."""
    for step in STEPS:
        write_checkpoint(run, step)
    return run


def rounds(start: StartWorker, base: Path, longest: float, seed: int) -> Iterator[Round]:
    """Yield finished rounds until this lane has had its share of kills."""
    chance, kills, number = random.Random(seed), 0, 0
    while kills < KILLS / LANES:
        number += 1
        one = Round(start, base / f"lane-{seed}" / f"{number}" / "run.db", chance, longest)
        while not one.one_worker(may_die=kills + one.kills < KILLS / LANES):
            pass
        kills += one.kills
        yield one
        shutil.rmtree(one.store.parent)


@pytest.mark.slow
@pytest.mark.timeout(max(180, 6 * KILLS))
def test_workers_killed_at_any_moment_leave_the_history_that_one_worker_leaves(
    start: StartWorker,
    whole_run: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """However often workers die, in the end all is stored once and bit for bit the same."""
    calm = Round(start, tmp_path / "calm" / "run.db", random.Random(0), 0.0)
    calm.one_worker(may_die=False)  # compiles
    shutil.rmtree(calm.store.parent)
    calm.promised.clear()
    began = time.monotonic()
    calm.one_worker(may_die=False)
    longest = time.monotonic() - began
    expected = content(calm.store)
    assert len({row[2] for row in expected}) == len(STEPS)

    def lane(seed: int) -> tuple[int, Counter[str], int]:
        kills, deaths, many = 0, Counter[str](), 0
        for one in rounds(start, tmp_path, longest, seed):
            assert content(one.store) == expected
            check_integrity(one.store)
            kills, deaths, many = kills + one.kills, deaths + one.deaths, many + 1
        return kills, deaths, many

    with ThreadPoolExecutor(LANES) as pool:
        lanes = list(pool.map(lane, range(1, LANES + 1)))
    deaths = sum((found for _, found, _ in lanes), Counter[str]())
    kills, many = sum(k for k, _, _ in lanes), sum(n for _, _, n in lanes)
    record_property("kills", kills)
    sys.stderr.write(f"{kills} kills in {many} rounds, a calm one in {longest:.2f} s; ")
    sys.stderr.write(f"last words before death: {dict(deaths)}\n")
    assert kills >= KILLS
    assert deaths["Stored"] + deaths["Progress"] >= KILLS // 10, "too few died at work"


def test_a_restart_places_what_was_there_as_the_first_worker_would_have(
    start: StartWorker, run: Path, store: Path, land: Land
) -> None:
    """Files copied in any order are one segment, also when the worker died in the middle."""
    for late, step in enumerate((40, 10, 30, 20)):
        land(run, step, at=1_700_000_000 + 100 * late)
    first = start()
    assert first.until(wire.Stored).step == 40
    first.kill()
    first.ended()
    second = start()
    second.until(wire.Polled, lambda polled: polled.queued == 0)
    with Reader.open(store) as reader:
        rows = reader.checkpoints()
    assert [(row.segment, row.step, row.version) for row in rows] == [
        (0, 10, 0), (0, 20, 0), (0, 30, 0), (0, 40, 0),
    ]  # fmt: skip
