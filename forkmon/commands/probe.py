"""`forkmon probe`: a long instrument on one checkpoint, or on every checkpoint of a run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forkmon.commands import probe_found, probe_views, setup
from forkmon.commands.probe_views import View
from forkmon.commands.triage import output_glyphs
from forkmon.draw import cells, numbers
from forkmon.draw.glyphs import Glyphs
from forkmon.errors import Exit, UsageError
from forkmon.probes.outcome import Done, Failed, Job, Limits, Moved, Outcome
from forkmon.probes.process import ProbeProcess
from forkmon.probes.protocol import find
from forkmon.runs.refs import CheckpointRef
from forkmon.text import safe

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    path: Path
    probe: str
    parameters: dict[str, object]
    limits: Limits
    reference: int | None
    """The step that the others are held against; the earliest where None."""


def run(options: argparse.Namespace) -> int:
    """Print what the probe finds: a table over steps, or one checkpoint's panel."""
    asked = _asked(options)
    found = probe_found.checkpoints(setup.existing(options.path), options.last)
    reference = _reference(found.ready, asked.reference)
    view = probe_views.view(asked.probe)
    measured = _measured(asked, view, found.ready, reference)
    outcomes: list[Outcome] = sorted(measured, key=lambda outcome: outcome.place)
    broken = [
        Failed(-1, asked.probe, str(item.path), item.step or 0, "unreadable", item.reason)
        for item in found.broken
    ]
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    base = next((item for item in done if item.place == found.ready.index(reference)), None)
    if options.json:
        print(json.dumps(_json(asked, view, base, [*outcomes, *broken]), allow_nan=False))
    else:
        _print(view, base, [*outcomes, *broken], output_glyphs(bool(options.ascii)))
    return Exit.OK if done else Exit.RUNTIME


def _asked(options: argparse.Namespace) -> Asked:
    probe = find(options.name)
    limits = Limits()
    if options.timeout is not None:
        limits = replace(limits, seconds=options.timeout)
    if options.memory is not None:
        limits = replace(limits, memory_mb=options.memory)
    if limits.seconds <= 0:
        raise UsageError(f"--timeout {limits.seconds:g}: more than 0 seconds")
    parameters = probe.parameters_from(tuple(options.set or ()))
    return Asked(options.path, probe.name, parameters, limits, options.reference)


def _reference(ready: Sequence[CheckpointRef], step: int | None) -> CheckpointRef:
    if step is None:
        return ready[0]
    named = next((ref for ref in ready if ref.step == step), None)
    if named is None:
        steps = f"{ready[0].step:,} to {ready[-1].step:,}"
        raise UsageError(f"--reference {step}: no checkpoint of that step; there are {steps}")
    return named


def _measured(
    asked: Asked, view: View, ready: tuple[CheckpointRef, ...], reference: CheckpointRef
) -> Iterator[Outcome]:
    """Yield what becomes of each checkpoint; the reference comes first where others need it."""
    places = {ref.path: place for place, ref in enumerate(ready)}
    parameters = asked.parameters
    rest = ready
    if len(ready) > 1 and view.needs_reference(parameters):
        rest = tuple(ref for ref in ready if ref is not reference)
        for outcome in _answers(asked, parameters, (reference,)):
            yield replace(outcome, place=places[reference.path])
            if isinstance(outcome, Done):
                parameters = view.following(parameters, outcome)
    for outcome in _answers(asked, parameters, rest):
        yield replace(outcome, place=places[rest[outcome.place].path])


def _answers(
    asked: Asked, parameters: dict[str, object], refs: tuple[CheckpointRef, ...]
) -> Iterator[Outcome]:  # fmt: skip
    root = asked.path if asked.path.is_dir() else asked.path.parent
    begin = 0
    while begin < len(refs):
        job = Job(asked.probe, parameters, refs[begin:], root)
        with ProbeProcess(job, asked.limits) as process:
            for event in process.events():
                if isinstance(event, Moved):
                    _tell(refs[begin + event.place], event)
                    continue
                yield replace(event, place=begin + event.place)
                if isinstance(event, Failed) and event.why in ("died", "memory"):
                    begin += event.place + 1  # its process is gone: the rest gets another one
                    break
            else:
                begin = len(refs)
    _wipe()


def _tell(ref: CheckpointRef, event: Moved) -> None:
    if sys.stderr.isatty():
        text = f"step {ref.step:,}: {event.share:.0%}, {safe(event.what)}"
        sys.stderr.write(f"\r\x1b[K{cells.clip(text, 78)}")
        sys.stderr.flush()


def _wipe() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _json(
    asked: Asked, view: View, base: Done | None, outcomes: Sequence[Outcome]
) -> dict[str, object]:  # fmt: skip
    return {
        "schema": SCHEMA,
        "probe": asked.probe,
        "version": find(asked.probe).version,
        "parameters": asked.parameters,
        "path": str(asked.path),
        "reference": None if base is None else base.step,
        "checkpoints": [_row_json(view, base, outcome) for outcome in outcomes],
    }


def _row_json(view: View, base: Done | None, outcome: Outcome) -> dict[str, object]:
    row: dict[str, object] = {"step": outcome.step, "path": outcome.path}
    if isinstance(outcome, Failed):
        return {**row, "status": "failed", "why": outcome.why, "reason": outcome.reason}
    return {
        **row,
        "status": "complete",
        "parameters": outcome.parameters,
        "digest": outcome.digest,
        "seconds": outcome.seconds,
        "bytes_read": outcome.bytes_read,
        "result": outcome.result,
        **({} if base is None else view.against(outcome, base)),
    }


def _print(view: View, base: Done | None, outcomes: Sequence[Outcome], glyphs: Glyphs) -> None:
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    if done:
        for line in view.table(done, base or done[0], glyphs):
            print(line)
    if len(done) == 1:
        for line in view.panel(done[0], glyphs):
            print(line)
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            print(f"step {outcome.step:,} {safe(outcome.path)}: {safe(outcome.reason, 400)}")
    if done:
        seconds = sum(outcome.seconds for outcome in done)
        read = numbers.bytesize(sum(outcome.bytes_read for outcome in done), glyphs)
        many = "1 checkpoint" if len(done) == 1 else f"{len(done):,} checkpoints"
        print(f"{many}, {read} read, {numbers.duration(seconds, glyphs)}")
