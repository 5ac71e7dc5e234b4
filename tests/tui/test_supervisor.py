"""The supervisor over real processes: whatever a worker does, the UI goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from forkmon import wire
from forkmon.tui.supervisor import Supervisor, Timing, WorkerState

HELLO = (
    "import json, os, sys\n"
    "hello = dict(e='hello', pid=os.getpid(), version='0', store='s', device='cpu', why='w')\n"
    "print(json.dumps(hello), flush=True)\n"
)
SAY = "def say(text): print(json.dumps(dict(e='log', text=text)), flush=True)\n"
OBEY = HELLO + "sys.stdin.read()\n"
QUICK = Timing(first_delay=0.01, longest_delay=0.05, good=30.0, stop=2.0, terminate=1.0)


class Heard:
    """What a supervisor said."""

    def __init__(self) -> None:
        self.events: list[wire.Event] = []
        self.states: list[WorkerState] = []

    def of(self, kind: type[wire.Event]) -> list[wire.Event]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


def supervise(code: str, timing: Timing = QUICK, *more: str) -> tuple[Supervisor, Heard]:
    """Return a supervisor of a Python snippet, and what it will have said."""
    heard = Heard()
    argv = (sys.executable, "-c", code, *more)
    return (
        Supervisor(argv, said=heard.events.append, changed=heard.states.append, timing=timing),
        heard,
    )


async def wait_for(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait for a condition; fail with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    """Tell whether a process has ended (and was reaped)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_killed_worker_is_replaced_and_told_of_it() -> None:
    """After SIGKILL a new worker runs, and `--died-of SIGKILL` is its argument."""
    code = HELLO + SAY + "say(' '.join(sys.argv[1:]))\nsys.stdin.read()\n"
    supervisor, heard = supervise(code)
    supervisor.start()
    await wait_for(lambda: len(heard.of(wire.Log)) == 1, "the first worker")
    first = supervisor.state.pid
    os.kill(first, signal.SIGKILL)
    await wait_for(lambda: len(heard.of(wire.Log)) == 2, "the second worker")
    texts = [event.text for event in heard.of(wire.Log) if isinstance(event, wire.Log)]
    assert texts == ["", "--died-of SIGKILL"]
    assert "restarting" in [state.phase for state in heard.states]
    assert next(s.why for s in heard.states if s.phase == "restarting") == "SIGKILL"
    assert supervisor.state.phase == "live"
    assert supervisor.state.pid != first
    await supervisor.stop()
    assert gone(first)
    assert gone(supervisor.state.pid)


async def test_garbage_on_the_pipe_is_a_warning() -> None:
    """Lines that are no messages, too long or binary are reported; what follows is heard."""
    code = (
        HELLO + "sys.stdout.buffer.write(b'boom \\x1b[2J\\n\\xff\\xfe\\n[]\\n{}\\n'); "
        "sys.stdout.buffer.write(b'x' * 200000 + b'\\n'); "
        "sys.stdout.buffer.write(b'[' * 30000 + b'\\n'); sys.stdout.flush()\n"
        "print(json.dumps(dict(e='stored', step=7)), flush=True)\nsys.stdin.read()\n"
    )
    supervisor, heard = supervise(code)
    supervisor.start()
    await wait_for(lambda: bool(heard.of(wire.Stored)), "the message after the garbage")
    warnings = [event.text for event in heard.of(wire.Log) if isinstance(event, wire.Log)]
    assert len(warnings) >= 5
    assert all(text.isprintable() for text in warnings)
    assert supervisor.state.phase == "live"
    await supervisor.stop()


async def test_exit_78_stops_for_good_with_the_reason() -> None:
    """A configuration that no restart can mend is shown, not tried again."""
    supervisor, _heard = supervise("import sys; print('bad store', file=sys.stderr); sys.exit(78)")
    supervisor.start()
    await wait_for(lambda: supervisor.state.phase == "stopped", "the stop")
    assert supervisor.state.why == "bad store"
    assert supervisor.state.restarts == 0
    await supervisor.stop()


async def test_a_worker_that_says_bye_is_not_replaced() -> None:
    """Exit 0 is an end on purpose; its reason stays."""
    supervisor, _heard = supervise(
        HELLO + "print(json.dumps(dict(e='bye', reason='all done')), flush=True)\n"
    )
    supervisor.start()
    await wait_for(lambda: supervisor.state.phase == "stopped", "the stop")
    assert supervisor.state.why == "all done"
    await supervisor.stop()


async def test_a_program_that_is_not_there_is_a_reason() -> None:
    """A worker that cannot even start does not crash the UI."""
    heard = Heard()
    supervisor = Supervisor(
        ("/no/such/program",), said=heard.events.append, changed=heard.states.append, timing=QUICK
    )
    supervisor.start()
    await wait_for(lambda: supervisor.state.phase == "stopped", "the stop")
    assert "cannot start" in supervisor.state.why
    await supervisor.stop()


async def test_a_crashing_worker_is_tried_again_and_its_last_words_kept() -> None:
    """Exit 1 restarts with back-off; stderr is kept without controls, at most 200 lines."""
    code = (
        "import sys\n"
        "for i in range(300): print('line', i, '\\x1b[31m', file=sys.stderr)\n"
        "sys.exit(1)\n"
    )
    supervisor, _ = supervise(code)
    supervisor.start()
    await wait_for(lambda: supervisor.state.restarts >= 3, "three restarts")
    assert len(supervisor.stderr) == 200
    assert supervisor.stderr[-1] == "line 299 \\u{1b}[31m"
    await supervisor.stop()


async def test_nudge_cuts_the_wait_short() -> None:
    """`r` starts a new worker at once, whatever the back-off."""
    timing = Timing(first_delay=1000.0, longest_delay=1000.0)
    supervisor, _heard = supervise("import sys; sys.exit(1)", timing)
    supervisor.start()
    await wait_for(lambda: supervisor.state.restarts == 1, "the first death")
    supervisor.nudge()
    await wait_for(lambda: supervisor.state.restarts == 2, "the second death")
    await supervisor.stop()


@pytest.mark.parametrize(
    "stubborn",
    [
        OBEY,
        HELLO + "import time\nwhile True: time.sleep(1)\n",
        HELLO + "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "while True: time.sleep(1)\n",
    ],
)
async def test_stop_leaves_no_process_behind(stubborn: str) -> None:
    """Asked, terminated, killed: the worker ends, and soon."""
    supervisor, heard = supervise(stubborn, Timing(stop=0.3, terminate=0.3))
    supervisor.start()
    await wait_for(lambda: bool(heard.of(wire.Hello)), "the worker")
    pid = supervisor.state.pid
    await supervisor.stop()
    assert gone(pid)


async def test_stop_while_starting_leaves_no_process_behind(tmp_path: Path) -> None:
    """Leaving in the first moment is safe too."""
    supervisor, _ = supervise(OBEY)
    supervisor.start()
    await asyncio.sleep(0)
    await supervisor.stop()
    assert supervisor.state.pid == 0 or gone(supervisor.state.pid)


async def test_commands_reach_the_worker() -> None:
    """What the UI sends arrives as lines on the worker's stdin."""
    code = HELLO + SAY + "for line in sys.stdin: say(line.strip())\n"
    supervisor, heard = supervise(code)
    supervisor.start()
    await wait_for(lambda: bool(heard.of(wire.Hello)), "the worker")
    supervisor.send(wire.Focus("h.0"))
    supervisor.send(wire.Rescan())
    await wait_for(lambda: len(heard.of(wire.Log)) == 2, "both answers")
    text = [event.text for event in heard.of(wire.Log) if isinstance(event, wire.Log)]
    assert wire.decode(text[0].encode()) == wire.Focus("h.0")
    assert wire.decode(text[1].encode()) == wire.Rescan()
    await supervisor.stop()


async def test_a_grandchild_that_keeps_the_pipe_does_not_hide_the_death() -> None:
    """A worker's death is noticed although somebody else still holds its stdout."""
    code = HELLO + (
        "import subprocess\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'])\n"
        "print(json.dumps(dict(e='log', text=str(child.pid))), flush=True)\nsys.exit(1)\n"
    )
    supervisor, heard = supervise(code, Timing(first_delay=1000.0))
    supervisor.start()
    await wait_for(lambda: bool(heard.of(wire.Log)), "the child")
    (log,) = heard.of(wire.Log)
    assert isinstance(log, wire.Log)
    try:
        await wait_for(lambda: supervisor.state.phase == "restarting", "the death")
    finally:
        os.kill(int(log.text), signal.SIGKILL)
    await supervisor.stop()
