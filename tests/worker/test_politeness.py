"""A polite process is last in every queue of the kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from forkmon.worker.politeness import OOM_SCORE_ADJ

LOOK = """
import ctypes, json, os, resource, sys, threading
from pathlib import Path
from forkmon.worker.politeness import be_polite
if sys.argv[1] == "polite":
    be_polite()
number = {"x86_64": 252, "aarch64": 31}.get(os.uname().machine)
found = {}

def look():
    fields = Path("/proc/thread-self/stat").read_text().rpartition(") ")[2].split()
    found["nice"] = int(fields[16])
    found["policy"] = int(fields[38])
    found["io"] = None if number is None else ctypes.CDLL(None).syscall(number, 1, 0) >> 13

thread = threading.Thread(target=look)
thread.start()
thread.join()
found["oom"] = int(Path("/proc/self/oom_score_adj").read_text())
found["core"] = resource.getrlimit(resource.RLIMIT_CORE)[0]
print(json.dumps(found))
"""
"""Prints what /proc says of a thread that was started after the process became polite."""


def standing(word: str) -> dict[str, int | None]:
    """Return the priorities of a fresh process, as /proc tells them."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, word], capture_output=True, check=True, text=True
    )
    found: dict[str, int | None] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is read")
def test_a_polite_process_is_last_in_every_queue() -> None:
    """Its threads run when nothing else wants to; it is the first to go when memory is short."""
    found = standing("polite")
    assert found["nice"] == 19
    assert found["policy"] == os.SCHED_IDLE
    assert found["io"] in (3, None)
    assert found["oom"] == OOM_SCORE_ADJ
    assert found["core"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is read")
def test_the_priorities_are_its_own_work() -> None:
    """Without being asked a process is not polite: the test above sees something."""
    found = standing("as it is")
    assert found["policy"] == os.SCHED_OTHER
    assert found["io"] != 3
    assert found["oom"] != OOM_SCORE_ADJ


def test_what_the_system_refuses_is_left_as_it_is() -> None:
    """In a sandbox that forbids all of it the worker still starts."""
    refusing = """
import os, resource
from pathlib import Path
def no(*_args, **_named):
    raise PermissionError(1, "no")
os.nice = os.sched_setscheduler = resource.setrlimit = Path.write_text = no
from forkmon.worker.politeness import be_polite
be_polite()
print("started")
"""
    done = subprocess.run([sys.executable, "-c", refusing], capture_output=True, check=True)
    assert done.stdout == b"started\n"
