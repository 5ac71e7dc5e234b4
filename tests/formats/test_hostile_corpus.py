"""Hundreds of crafted runs in a process with an audit hook: nothing runs, nothing leads outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CHILD = Path(__file__).with_name("hostile_child.py")
CPU_SECONDS = 3.0
"""A third of it is spent where this was written; slower machines have room."""
MEMORY_MB = 300

SCANNED = (
    "run_", "bare_", "old_", "odd_", "tensor_", "zip_n", "legacy_", "npz_", "gguf_n", "gguf_g",
    "st_n", "st_meta", "st_good", "torch_", "in_", "dcp_", "zero_", "nanotron_", "index_l",
    "index_u", "link_", "fifos", "sockets", "directories", "loops", "names", "hub", "log_",
)  # fmt: skip
"""Parts of the names of the runs that the whole command is held against; the others are slow."""

MUST_READ = {
    "dcp_good": 18, "gguf_good": 1, "hub": 1, "legacy_good": 1, "npz_good": 1, "st_good": 1,
    "link_zero": 1, "fifos": 1, "in_random": 1, "run_os.system": 1, "log_config_deep": 1,
    "st_names": 35, "loops": 1,
}  # fmt: skip
"""Runs that hold good weights too, and how many tensors; the rest of the harm is passed by."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the child said of one run."""

    case: str
    events: list[str]
    error: str
    read: int
    seconds: float
    megabytes: int


def gone_through(mode: str, directory: Path, *texts: str) -> dict[str, Told]:
    """Return what a child said of each run of the corpus."""
    done = subprocess.run(
        [sys.executable, str(CHILD), mode, str(directory), *texts],
        capture_output=True, text=True, timeout=110, check=False,
        stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONWARNINGS": "error::ResourceWarning"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = [Told(**json.loads(line)) for line in done.stdout.splitlines()]
    return {one.case: one for one in told}


def test_no_run_does_anything_or_leads_anywhere(tmp_path: Path) -> None:
    """Found, listed and read, each within its limits: no code runs, no file outside is opened."""
    told = gone_through("read", tmp_path / "runs")
    assert len(told) > 350
    assert {one.case: one.events for one in told.values() if one.events} == {}
    assert {one.case: one.error for one in told.values() if one.error} == {}
    greedy = {one.case: (one.seconds, one.megabytes) for one in told.values()
              if one.seconds > CPU_SECONDS or one.megabytes > MEMORY_MB}  # fmt: skip
    assert greedy == {}
    assert {case: told[case].read for case in MUST_READ} == MUST_READ
    assert not list(tmp_path.rglob("PROOF"))


def test_the_command_is_as_careful(tmp_path: Path) -> None:
    """`forkmon scan --json --no-store` on the same runs: answers, and nothing else."""
    told = gone_through("scan", tmp_path / "runs", *SCANNED)
    assert len(told) > 200
    assert {one.case: one.events for one in told.values() if one.events} == {}
    assert {one.case: one.error for one in told.values() if one.error} == {}
    assert told["st_names"].read > 0
    assert not list(tmp_path.rglob("PROOF"))


def test_the_hook_sees_what_a_careless_reader_does(tmp_path: Path) -> None:
    """The same runs, unpickled: the proofs above are worth something."""
    told = gone_through("bad", tmp_path / "runs", "run_", "bare_evil", "in_megatron", "in_dcp")
    seen = {event.split()[0] for one in told.values() for event in one.events}
    assert {"os.system", "import", "compile", "open", "subprocess.Popen", "ctypes.dlopen",
            "shutil.rmtree"} <= seen  # fmt: skip
    assert len([one for one in told.values() if one.events]) > 30
    assert told["bare_evil"].events
    assert told["in_megatron"].events
    assert told["in_dcp"].events
    assert not list(tmp_path.rglob("PROOF"))
