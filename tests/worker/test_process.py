"""The worker as a process: what it says, what it obeys, when it ends, who may write."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from forkmon import wire
from forkmon.store.reader import Reader

from .conftest import Land, StartWorker, WorkerProcess


def steps(store: Path) -> list[int]:
    """Return the steps that a store holds."""
    with Reader.open(store) as reader:
        return [row.step for row in reader.timeline()]


def idle(worker: WorkerProcess) -> None:
    """Wait until it has said that nothing is queued and nothing waits."""
    worker.until(wire.Polled, lambda p: p.queued == 0 and p.waiting == 0)


def test_it_introduces_itself_first(start: StartWorker, run: Path, store: Path) -> None:
    """The first line says who it is, where it stores and on what it computes."""
    worker = start()
    hello = worker.next()
    assert isinstance(hello, wire.Hello)
    assert hello.pid == worker.process.pid
    assert hello.store == str(store)
    assert hello.device == "cpu"
    assert hello.why
    assert hello.viewer == ""
    polled = worker.until(wire.Polled)
    assert "empty" in polled.note


def test_each_checkpoint_is_announced_once_it_is_stored(
    start: StartWorker, run: Path, store: Path, land: Land
) -> None:
    """When `stored` is heard, another process already reads the step from the store."""
    for step in (1, 2, 10):
        land(run, step)
    worker = start()
    for many, step in enumerate((10, 2, 1), start=1):
        assert worker.until(wire.Stored).step == step
        assert len(steps(store)) >= many
    assert steps(store) == [1, 2, 10]
    idle(worker)
    land(run, 11)
    assert worker.until(wire.Stored).step == 11
    assert steps(store) == [1, 2, 10, 11]


def test_a_bad_checkpoint_is_told_and_the_good_ones_go_on(
    start: StartWorker, run: Path, store: Path, land: Land
) -> None:
    """`failed` names the file and the reason; `rescan` looks again and changes nothing else."""
    (run / "step_5.safetensors").write_bytes(b"\xff" * 1000)
    os.utime(run / "step_5.safetensors", (1_700_000_000, 1_700_000_000))
    land(run, 6)
    worker = start()
    failed = worker.until(wire.Failed)
    assert failed.path == "step_5.safetensors"
    assert failed.reason
    assert worker.until(wire.Stored).step == 6
    worker.tell(wire.Rescan())
    assert worker.until(wire.Failed) == failed
    land(run, 5)
    assert worker.until(wire.Stored).step == 5
    assert steps(store) == [5, 6]
    with Reader.open(store) as reader:
        assert reader.failed() == ()


def test_what_is_under_the_cursor_is_there_first(
    start: StartWorker, run: Path, store: Path, land: Land
) -> None:
    """`focus` changes the order of the work, not its result."""
    worker = start("--settle", "1")  # time for the wish to arrive
    worker.until(wire.Polled)
    worker.tell(wire.Focus("head.weight"))
    worker.tell(wire.Focus("h.1.mlp.weight"))
    elsewhere = run.with_name("elsewhere")
    elsewhere.mkdir()
    land(elsewhere, 3)
    fresh = elsewhere / "step_3.safetensors"
    os.utime(fresh)  # an old file would settle at once, before the wish arrives
    fresh.rename(run / fresh.name)
    worker.until(wire.Stored)
    with Reader.open(store) as reader:
        row = reader.timeline()[0]
        entries = sorted(reader.tensors(row.id, "tensor"), key=lambda entry: entry.id)
    assert entries[0].name == "h.1.mlp.weight"
    assert row.tensors == len(entries) == 11


def test_stop_ends_it(start: StartWorker, run: Path, land: Land) -> None:
    """`stop` is answered with `bye` and exit code 0."""
    worker = start()
    worker.until(wire.Hello)
    worker.tell(wire.Stop())
    assert worker.ended(5) == 0
    assert worker.events[-1] == wire.Bye("asked to stop")


@pytest.mark.parametrize("busy", [False, True])
def test_the_end_of_stdin_ends_it_within_two_seconds(
    start: StartWorker, run: Path, land: Land, busy: bool
) -> None:
    """A UI that died leaves no worker behind, whether it was idle or at work."""
    if busy:
        for step in range(1, 400):
            os.link(land(run, 0), run / f"step_{step}.safetensors") if step else None
    worker = start()
    worker.until(wire.Stored) if busy else worker.until(wire.Polled)
    began = time.monotonic()
    worker.hang_up()
    assert worker.ended(10) == 0
    assert time.monotonic() - began < 2


def test_garbage_on_stdin_is_ignored(start: StartWorker, run: Path, land: Land) -> None:
    """What is no command changes nothing, and the next command is understood."""
    worker = start()
    worker.until(wire.Polled)
    worker.tell(b"no json\n\xff\xfe\n{}\n[1]\nnull\n" + b'{"e": "launch"}\n{"e": "focus"}\n')
    worker.tell(b"x" * (3 * wire.MAX_LINE) + b"\n")
    worker.tell(b"[" * 30_000 + b"\n")
    worker.tell(b'{"e": "stored", "step": 1}\n')
    land(run, 1)
    assert worker.until(wire.Stored).step == 1
    worker.tell(wire.Stop())
    assert worker.ended(5) == 0


def test_a_second_worker_waits_and_takes_over(
    start: StartWorker, run: Path, store: Path, land: Land
) -> None:
    """It says who writes; when that one is killed it becomes the writer and goes on."""
    land(run, 1)
    first = start()
    first.until(wire.Stored)
    second = start()
    hello = second.until(wire.Hello)
    assert str(first.process.pid) in hello.viewer
    first.kill()
    assert first.ended() == -9
    assert second.until(wire.Hello).viewer == ""
    land(run, 2)
    assert second.until(wire.Stored).step == 2
    assert steps(store) == [1, 2]


def test_a_waiting_worker_obeys_too(start: StartWorker, run: Path) -> None:
    """A viewer that nobody needs any more ends, without touching the writer."""
    first, second = start(), None
    first.until(wire.Polled)
    second = start()
    second.until(wire.Hello, lambda hello: bool(hello.viewer))
    second.tell(wire.Stop())
    assert second.ended(5) == 0
    assert first.process.poll() is None


def test_a_store_of_a_newer_forkmon_is_left_alone(start: StartWorker, store: Path) -> None:
    """Exit code 78 tells the supervisor that a restart is of no use; stderr says why."""
    worker = start()
    worker.until(wire.Polled)
    worker.tell(wire.Stop())
    worker.ended(5)
    connection = sqlite3.connect(store)
    connection.execute("INSERT INTO migration VALUES (9999, 'from the future', 0)")
    connection.commit()
    connection.close()
    before = store.read_bytes()
    late = start()
    assert late.ended() == 78
    assert "newer" in late.errors()
    assert store.read_bytes() == before


def test_it_waits_for_a_run_that_is_not_there_yet(
    start: StartWorker, tmp_path: Path, land: Land
) -> None:
    """A missing directory is a note, and its first checkpoint is found when it comes."""
    later = tmp_path / "jobs" / "later"
    worker = start(on=later)
    note = worker.until(wire.Polled).note
    assert "no such directory" in note
    assert "waiting" in note
    later.mkdir(parents=True)
    land(later, 4)
    assert worker.until(wire.Stored).step == 4


def test_a_run_that_vanishes_and_comes_back_keeps_its_history(
    start: StartWorker, run: Path, store: Path, land: Land, tmp_path: Path
) -> None:
    """A file system that is gone for a while is a note; nothing is analysed twice."""
    land(run, 1)
    worker = start()
    worker.until(wire.Stored)
    run.rename(tmp_path / "away")
    worker.until(wire.Polled, lambda p: "no such directory" in p.note)
    assert steps(store) == [1]
    (tmp_path / "away").rename(run)
    worker.until(wire.Polled, lambda p: p.note == "")
    land(run, 2)
    assert worker.until(wire.Stored).step == 2
    assert steps(store) == [1, 2]


def test_the_trainer_goes_first(start: StartWorker, run: Path) -> None:
    """The worker takes the last place in every queue that the system lets it."""
    worker = start()
    worker.until(wire.Hello)
    pid = worker.process.pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert os.sched_getscheduler(pid) == os.SCHED_IDLE
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text("ascii")) >= 900


def test_it_writes_nothing_into_the_run(start: StartWorker, run: Path, land: Land) -> None:
    """The watched directory is read only, its files keep their times, no file stays open."""
    path = land(run, 1)
    before = {p.name: p.stat().st_mtime_ns for p in run.iterdir()}
    held = run.stat().st_mtime_ns
    worker = start()
    worker.until(wire.Stored)
    idle(worker)
    descriptors = Path(f"/proc/{worker.process.pid}/fd")
    assert str(path) not in {os.path.realpath(fd) for fd in descriptors.iterdir()}
    assert {p.name: p.stat().st_mtime_ns for p in run.iterdir()} == before
    assert run.stat().st_mtime_ns == held


def test_a_number_too_wrong_for_an_option_is_a_usage_error(start: StartWorker) -> None:
    """argparse's exit code 2, and nothing on the protocol's stdout."""
    worker = start("--interval", "soon")
    assert worker.ended() == 2
    assert worker.events == []
    assert isinstance(worker.process, subprocess.Popen)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_stop(start: StartWorker, number: signal.Signals) -> None:
    """It says goodbye and ends with 0, its stdin still open: nobody takes it for a crash."""
    worker = start()
    worker.until(wire.Polled)
    worker.process.send_signal(number)
    assert worker.ended(5) == 0
    assert isinstance(worker.events[-1], wire.Bye)


def test_a_first_start_says_that_it_compiles(
    start: StartWorker, run: Path, land: Land, tmp_path: Path
) -> None:
    """Without compiled kernels the first number takes seconds, and the worker says why."""
    land(run, 1)
    progress = start(numba=tmp_path / "cold").until(wire.Progress)
    assert (progress.done, progress.note) == (0, "compiling once")
