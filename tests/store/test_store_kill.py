"""Whatever kills the writer, the store opens, is whole, and has every acknowledged checkpoint."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from forkmon.store.reader import Reader
from forkmon.store.writer import Writer

KILLS = int(os.environ.get("FORKMON_KILLS", "60"))
TENSORS = 6

WRITE = """
import os, random, signal, sys
from pathlib import Path
from forkmon.errors import StoreError
from forkmon.stats.reduced import Reduced
from forkmon.stats.row import StatRow
from forkmon.store.values import TensorKey
from forkmon.store.writer import Writer

store, seed, tensors = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
row = StatRow(9, 0.5, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0, 0, 0, (0.5,) * 9)
codes = Reduced(0.0, tuple(range(400)), tuple(range(1, 401)))
timed = seed >= 0
if timed and seed % 4 == 3:  # while it opens and recovers, too
    signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0005, 0.02))
writer = Writer.open(store, run=Path("/run"), name="run", kernel="k")
for left in writer.attempts_left():
    writer.drop(left.row.id)
if timed and seed % 4 != 3:
    signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0005, 0.06))
step = max((known.row.step for known in writer.known()), default=0)
try:
    while True:
        step += 1
        attempt = writer.begin(
            segment=0, generation=0, parent_segment=None, step=step, version=0,
            path=f"/run/{step}", format="safetensors", digest=f"d{step}", content_digest="c",
            bytes=1, mtime=1.0, epoch=None, device="cpu",
        )
        if chance.random() < 0.2:
            writer.drop(attempt)
            continue
        for i in range(tensors):
            writer.working_on(attempt, f"t{i}")
            writer.add(attempt, [(TensorKey(f"t{i}", "tensor"), row, codes)])
        writer.promote(attempt, seconds=1.0)
        os.write(1, f"{step}\\n".encode())
except StoreError as error:
    os.write(1, f"full: {error}\\n".encode())
"""
# SIGALRM's default action ends the process in the kernel at any instruction, as SIGKILL does,
# and the process can aim it at itself without a second one.


def acknowledged(output: str) -> set[int]:
    return {int(line) for line in output.splitlines() if line.strip().isdigit()}


def check(store: Path, promised: set[int]) -> None:
    with Reader.open(store) as reader:
        steps = Counter(row.step for row in reader.checkpoints())
        assert promised <= set(steps)
        assert set(steps.values()) <= {1}
        assert [row.step for row in reader.timeline()] == sorted(steps)
        for row in reader.checkpoints():
            assert row.tensors == TENSORS
    connection = sqlite3.connect(store)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    odd = connection.execute(
        "SELECT checkpoint FROM stat JOIN checkpoint AS c ON c.id = checkpoint "
        "WHERE c.status = 'complete' GROUP BY checkpoint HAVING count(*) <> ?",
        (TENSORS,),
    ).fetchall()
    connection.close()
    assert odd == []


@pytest.mark.timeout(120 + KILLS * 2)
def test_a_killed_writer_loses_and_doubles_nothing(store: Path) -> None:
    """At random moments, many times over: integrity, no acknowledged step lost or doubled."""
    promised: set[int] = set()
    for kill in range(KILLS):
        done = subprocess.run(
            [sys.executable, "-c", WRITE, str(store), str(kill), str(TENSORS)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode < 0, done.stderr
        promised |= acknowledged(done.stdout)
        check(store, promised)
    assert promised
    with Writer.open(store, run=Path("/run"), name="run", kernel="k") as writer:
        for left in writer.attempts_left():
            assert left.working_on is None or left.working_on.startswith("t")
            writer.drop(left.row.id)
        assert writer.attempts_left() == []
        assert {known.row.step for known in writer.known()} >= promised


def test_sigkill_leaves_word_of_the_tensor(
    store: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """After SIGKILL the next worker takes over, and the attempts left can be dropped."""
    process = start(WRITE, store, -1, TENSORS)
    assert process.stdout is not None
    promised = {int(process.stdout.readline()) for _ in range(5)}
    process.kill()
    process.wait()
    check(store, promised)
    with Writer.open(store, run=Path("/run"), name="run", kernel="k") as writer:
        for left in writer.attempts_left():
            writer.drop(left.row.id)
        assert promised <= {known.row.step for known in writer.known()}


def test_a_file_size_limit_is_an_error_not_a_loss(store: Path) -> None:
    """EFBIG while writing: one line says so, and all acknowledged steps are there."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))\n"
    done = subprocess.run(
        [sys.executable, "-c", limited + WRITE, str(store), "-1", str(TENSORS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    promised = acknowledged(done.stdout)
    assert promised
    assert "full: store " in done.stdout
    assert done.stdout.count("full:") == 1
    check(store, promised)
