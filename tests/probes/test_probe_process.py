"""A probe in its own process: results, limits, cancelling, deaths, and the words between."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from forkmon.errors import UsageError
from forkmon.probes import running
from forkmon.probes.encoding import decode, encode
from forkmon.probes.neuromfa import PROBE
from forkmon.probes.neuromfa_values import Result
from forkmon.probes.outcome import (
    Done,
    Event,
    Failed,
    Job,
    Limits,
    Moved,
    from_json,
    ref_from_json,
    ref_to_json,
    to_json,
)
from forkmon.probes.process import ProbeProcess
from forkmon.probes.protocol import PROBES, find
from forkmon.runs.refs import CheckpointRef

from .conftest import Land


def weights(scale: float = 0.1) -> dict[str, NDArray[np.float32]]:
    """Return two blocks of a Llama-like MLP."""
    rng = np.random.default_rng(0)
    return {
        f"model.layers.{block}.mlp.{name}_proj.weight": (
            rng.standard_normal((64, 64)) * scale
        ).astype(np.float32)
        for block in range(2)
        for name in ("up", "down")
    }


def job(*refs: CheckpointRef, **parameters: object) -> Job:
    """Return NeuroMFA on some checkpoints."""
    return Job("neuromfa", {"s": 16, "samples": 3, **parameters}, refs)


def test_both_ways_give_the_same_result(land: Land) -> None:
    """In its own process or in this one: the same numbers, after progress from 0 on."""
    refs = (land(1, weights()), land(2, weights(0.2)))
    here = list(running.run(job(*refs), Limits(), lambda _: None))
    heard: list[Event] = []
    with ProbeProcess(job(*refs)) as process:
        heard.extend(process.events())
    there = [event for event in heard if isinstance(event, Done)]
    assert [outcome.place for outcome in there] == [0, 1]
    for one, other in zip(here, there, strict=True):
        assert isinstance(one, Done)
        assert one == dataclasses.replace(other, seconds=one.seconds)
        assert isinstance(PROBE.read_result(other.result), Result)
        assert other.bytes_read == one.bytes_read > 0
    moved = [event for event in heard if isinstance(event, Moved)]
    assert (moved[0].place, moved[0].share) == (0, 0.0)
    assert all(0 <= event.share <= 1 for event in moved)


def test_one_bad_checkpoint_does_not_hide_the_others(land: Land) -> None:
    """Changed, unmappable, fine: each has its outcome."""
    torn = land(1, weights())
    torn.path.write_bytes(torn.path.read_bytes()[:-8])
    odd = land(2, {"bias": np.ones(3, np.float32)})
    fine = land(3, weights())
    with ProbeProcess(job(torn, odd, fine)) as process:
        outcomes = [event for event in process.events() if not isinstance(event, Moved)]
    first, second, third = outcomes
    assert isinstance(first, Failed)
    assert (first.why, first.step) == ("unreadable", 1)
    assert isinstance(second, Failed)
    assert (second.why, "looks for" in second.reason) == ("declined", True)
    assert isinstance(third, Done)


def test_time_is_kept(land: Land) -> None:
    """A clock that runs past the limit ends the probe at its next word."""
    ticks = iter(range(0, 10_000, 40))
    outcomes = list(
        running.run(
            job(land(1, weights())), Limits(seconds=60), lambda _: None, clock=lambda: next(ticks)
        )
    )
    assert isinstance(outcomes[0], Failed)
    assert (outcomes[0].why, "60 s" in outcomes[0].reason) == ("time", True)


def test_memory_is_kept(land: Land) -> None:
    """What the address space does not hold ends the probe, not the monitor."""
    shape = (1 << 13, 1 << 13)
    ref = land(1, {"h.0.mlp.up.weight": np.zeros(shape, np.float32)})
    with ProbeProcess(job(ref, s=0), Limits(memory_mb=400)) as process:
        outcome = list(process.events())[-1]
    assert isinstance(outcome, Failed)
    assert outcome.why == "memory"
    assert "400 MB" in outcome.reason


def test_cancelling_ends_it(land: Land) -> None:
    """From a running probe, by its own callback or by closing its stdin: no result, at once."""
    ref = land(1, weights())
    outcomes = list(running.run(job(ref, ref), Limits(), lambda _: None, cancelled=lambda: True))
    assert [(o.why if isinstance(o, Failed) else "") for o in outcomes] == ["cancelled"]
    many = (ref,) * 500
    with ProbeProcess(job(*many)) as process:
        heard: list[Event] = []
        for event in process.events():
            heard.append(event)
            if len(heard) == 1:
                process.cancel()
    assert isinstance(heard[-1], Failed)
    assert heard[-1].why == "cancelled"
    assert sum(isinstance(event, Done) for event in heard) < 500


def test_a_process_that_dies_is_told(land: Land) -> None:
    """Killed from outside: memory, as the system does; a crash: died, with its last words."""
    ref = land(1, weights())
    for number, why in ((signal.SIGKILL, "memory"), (signal.SIGSEGV, "died")):
        process = ProbeProcess(job(ref))
        os.kill(process.pid, number)
        with process:
            outcome = list(process.events())[-1]
        assert isinstance(outcome, Failed)
        assert outcome.why == why


def test_nothing_in_the_run_directory_is_imported(
    land: Land, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A json.py or a forkmon/ in the current directory stays a file."""
    ref = land(1, weights())
    (run / "json.py").write_text("raise SystemExit(9)")
    (run / "forkmon").mkdir()
    (run / "forkmon" / "__init__.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(run)
    with ProbeProcess(job(ref)) as process:
        assert isinstance(list(process.events())[-1], Done)


def test_nobody_is_left_behind(land: Land) -> None:
    """A process whose parent went away ends by itself."""
    code = (
        "import sys, json; from forkmon.probes.process import ProbeProcess; "
        "from forkmon.probes.outcome import Job, ref_from_json; "
        "ref = ref_from_json(json.loads(sys.argv[1])); "
        "p = ProbeProcess(Job('neuromfa', {}, (ref,) * 5000)); p.__enter__(); "
        "next(p.events()); print(p.pid, flush=True); import os; os._exit(0)"
    )
    ref = json.dumps(ref_to_json(land(1, weights())))
    parent = subprocess.run([sys.executable, "-c", code, ref], capture_output=True, check=True)
    pid = int(parent.stdout)
    while True:  # the test's own time limit ends this
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":
            return


def test_what_does_not_exist_is_usage(land: Land) -> None:
    """Unknown probes and parameters are the caller's errors, in either process."""
    ref = land(1, weights())
    with pytest.raises(UsageError, match="neuromfa, pruning, spectrum"):
        find("astrology")
    with pytest.raises(UsageError, match="no parameter 'q'"):
        list(running.run(job(ref, q=1), Limits(), lambda _: None))
    with pytest.raises(UsageError, match="no parameter"), ProbeProcess(job(ref, q=1)) as process:
        list(process.events())
    with pytest.raises(UsageError, match=r"s=x"):
        find("neuromfa").parameters_from(("s=x",))
    with pytest.raises(UsageError, match="paper, robust"):
        find("neuromfa").parameters_from(("mode=other",))
    assert find("neuromfa").parameters_from(("s=5", "surrogate=false"))["s"] == 5


def test_every_probe_is_there_with_defaults() -> None:
    """The registry imports each, under its own name."""
    for name in PROBES:
        probe = find(name)
        assert probe.name == name
        assert probe.version >= 1
        assert probe.parameters_from(())


def test_probes_bring_numpy_alone() -> None:
    """Neither torch nor numba nor scipy nor the UI is imported by any of them."""
    code = (
        "import sys; from forkmon.probes.protocol import PROBES, find; "
        "import forkmon.probes.__main__, forkmon.probes.running; "
        "[find(name) for name in PROBES]; "
        "print(*{'torch', 'numba', 'scipy', 'textual', 'forkmon.worker'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b""


@dataclass(frozen=True, slots=True)
class Inner:
    """A part."""

    values: tuple[float, ...]
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, slots=True)
class Outer:
    """A whole."""

    parts: tuple[Inner, ...]
    number: float | None
    flag: bool = False


def test_results_come_back_as_they_were() -> None:
    """Through JSON and back; NaN is null; defaults fill what is missing."""
    value = Outer((Inner((1.0, 0.1)), Inner((), "b")), 2.5, flag=True)
    assert decode(Outer, json.loads(json.dumps(encode(value), allow_nan=False))) == value
    assert encode(Outer((), float("nan")))["number"] is None
    assert decode(Outer, {"parts": [], "number": None}) == Outer((), None)
    assert decode(Outer, {"parts": [], "number": 3}) == Outer((), 3.0)


@pytest.mark.parametrize(
    "wrong",
    [
        None, [], {"parts": 1, "number": 1.0}, {"number": 1.0}, {"parts": [3], "number": 1.0},
        {"parts": [], "number": "1"}, {"parts": [{"values": ["x"]}], "number": 1.0},
        {"parts": [{"values": [], "kind": "c"}], "number": 1.0},
        {"parts": [], "number": 1.0, "flag": 1},
    ],
)  # fmt: skip
def test_nonsense_is_no_result(wrong: object) -> None:
    """ValueError, never another one."""
    with pytest.raises(ValueError, match=r"Outer|Inner"):
        decode(Outer, wrong)


def test_events_and_references_cross_processes(land: Land) -> None:
    """Each kind of event, and a checkpoint's reference, survive the line."""
    ref = land(7, weights())
    assert ref_from_json(json.loads(json.dumps(ref_to_json(ref)))) == ref
    done = Done(0, "p", 1, {"a": 1}, "/x", 3, "ab", 0.5, 10, {"r": [1.0]})
    for event in (Moved(0, 0.5, "x"), done, Failed(1, "p", "/x", 3, "time", "late")):
        assert from_json(json.loads(json.dumps(to_json(event)))) == event
    for wrong in (None, {}, {"event": "done"}, {"event": "moved", "place": "x"}):
        with pytest.raises(ValueError, match=r"."):
            from_json(wrong)
