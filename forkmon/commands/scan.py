"""`forkmon scan`: analyse what is there, once, headless, and print a triage report."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from forkmon import wire
from forkmon.commands import as_json, setup, triage
from forkmon.errors import Exit, ForkmonError, StoreLockedError, UsageError
from forkmon.runs.poll import Sight
from forkmon.stats.alert import Severity
from forkmon.store.reader import Reader
from forkmon.store.writer import Writer
from forkmon.text import safe
from forkmon.worker.compose import Means, open_session
from forkmon.worker.devices import Device
from forkmon.worker.judge import verdict
from forkmon.worker.progress import line
from forkmon.worker.session import recover
from forkmon.worker.where import KERNEL_VERSION

LONGEST_LOOK_PAUSE = 0.25
"""Seconds between two looks while something young settles."""


def run(options: argparse.Namespace) -> int:
    """Scan a path and return the exit code of the contract."""
    settings = setup.settings(options)
    root = setup.existing(options.path)
    choice = as_json.Choice(_pattern(options.filter), options.last)
    with ExitStack() as stack:
        writer = stack.enter_context(history(options, root))
        reader = writer.reader()
        lines = _LineOutput(reader, choice) if options.jsonl else None
        means = setup.means(settings)
        analyse_all(root, writer, means, told=lines.event if lines else progress())
        if lines:
            lines.close()
        else:
            _print(reader, choice, means.device, wants_json=options.json)
        return _exit_code(reader, choice, options.fail_on)


def analyse_all(
    root: Path, writer: Writer, means: Means, *, told: Callable[[wire.Event], None]
) -> None:
    """Analyse every settled checkpoint; wait one settle window for those younger than it."""
    recover(writer, "")
    interval = min(LONGEST_LOOK_PAUSE, means.settle / 4)
    with ExitStack() as stack:
        session = open_session(root, writer, means, stack, notify=told, interval=interval)
        deadline = time.monotonic() + session.settle + 2 * interval
        while True:
            sight = session.look()
            while session.analyse_next():
                pass
            if not sight.waiting or time.monotonic() > deadline:
                break
            time.sleep(interval)
        session.refresh()
        session.read_all_logs()
        _say_what_waits(sight)


@contextmanager
def history(options: argparse.Namespace, root: Path) -> Generator[Writer]:
    """Yield the run's store; beside a live writer, a copy in memory of what it stored."""
    name = safe(root.resolve().name, 60)
    path = None if options.no_store else setup.store_of(options, root)
    try:
        writer = Writer.open(path, run=root.absolute(), name=name, kernel=KERNEL_VERSION)
    except StoreLockedError:
        assert path is not None  # noqa: S101 -- a store in memory has no lock
        writer = Writer.copy_of(path, run=root.absolute(), name=name, kernel=KERNEL_VERSION)
    with writer:
        yield writer


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise UsageError(
            f"--filter {safe(text)}: {error}; a regular expression is needed"
        ) from None


def progress() -> Callable[[wire.Event], None]:
    """Return what shows progress on a terminal's stderr, and nothing elsewhere."""
    shown = sys.stderr.isatty()

    def told(event: wire.Event) -> None:
        match event:
            case wire.Progress(step=step, share=share, rate=rate, seconds_left=left) if shown:
                said = line(step, share, rate, left)
                print(f"\r\033[K{said}", end="", file=sys.stderr)
            case wire.Stored() | wire.Failed() if shown:
                print("\r\033[K", end="", file=sys.stderr)
            case wire.Log(text=text):
                print(f"forkmon: {text}", file=sys.stderr)
            case _:
                pass

    return told


def _say_what_waits(sight: Sight) -> None:
    for waiting in sight.waiting:
        print(f"forkmon: not ready: {safe(waiting.path.name)}: {safe(waiting.reason)}",
              file=sys.stderr)  # fmt: skip
    if sight.note:
        print(f"forkmon: {sight.note}", file=sys.stderr)


def _print(reader: Reader, choice: as_json.Choice, device: Device, *, wants_json: bool) -> None:
    if wants_json:
        whole = as_json.whole_json(reader, device.name, choice)
        json.dump(whole, sys.stdout, allow_nan=False, separators=(",", ":"))
        print()
        _, left_out = as_json.chosen(reader, choice)
        if left_out:
            print(f"forkmon: the {left_out} oldest checkpoints are left out; --last N chooses",
                  file=sys.stderr)  # fmt: skip
        return
    for text in triage.lines(reader, choice, device):
        print(text)


def _exit_code(reader: Reader, choice: as_json.Choice, fail_on: str | None) -> int:
    checkpoints = reader.checkpoints()
    if not any(row.status != "failed" for row in checkpoints):
        reasons = [f"{safe(Path(r.path).name)}: {safe(r.reason)}" for r in checkpoints]
        ignored = [f"{safe(Path(i.path).name)}: {safe(i.reason)}" for i in reader.ignored()]
        detail = "; ".join((reasons + ignored)[:3]) or "no checkpoint was found"
        raise ForkmonError(f"nothing readable: {detail}")
    if fail_on is None:
        return Exit.OK
    limit = Severity[fail_on.upper()]
    bad = any(alert.severity >= limit for alert in as_json.alerts_of(reader, choice))
    return Exit.ALERTS if bad else Exit.OK


class _LineOutput:
    """One checkpoint, alert or verdict a line, flushed, checkpoints as they are stored."""

    def __init__(self, reader: Reader, choice: as_json.Choice) -> None:
        self._reader = reader
        self._choice = choice
        self._printed: set[int] = set()

    def event(self, event: wire.Event) -> None:
        """Print the checkpoints that an event may have brought."""
        match event:
            case wire.Stored() | wire.Failed():
                self._print_new()
            case wire.Log(text=text):
                print(f"forkmon: {text}", file=sys.stderr)
            case _:
                pass

    def close(self) -> None:
        """Print what is left: stored checkpoints, alerts, ignored things, the verdict."""
        self._print_new()
        for alert in as_json.alerts_of(self._reader, self._choice):
            self._line("alert", alert.as_json())
        for ignored in as_json.ignored_json(self._reader):
            self._line("ignored", ignored)
        metrics = as_json.metrics_json(self._reader)
        if metrics:
            self._line("metrics", {"metrics": metrics})
        self._line("verdict", as_json.verdict_json(verdict(self._reader)))

    def _print_new(self) -> None:
        rows, _ = as_json.chosen(self._reader, self._choice)
        for row in rows:
            if row.id not in self._printed:
                self._printed.add(row.id)
                body = as_json.checkpoint_json(self._reader, row, self._choice)
                self._line("checkpoint", body)

    @staticmethod
    def _line(kind: str, body: as_json.Json) -> None:
        text = json.dumps({"type": kind, "schema": as_json.SCHEMA, **body}, allow_nan=False)
        print(text, flush=True)
