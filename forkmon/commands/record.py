"""`forkmon record`: analyse for ever without a screen, one line a checkpoint on stdout."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from forkmon import wire
from forkmon.commands import setup
from forkmon.config import Settings
from forkmon.errors import Exit
from forkmon.runs.wake import Wake
from forkmon.store.writer import Writer
from forkmon.text import safe
from forkmon.worker.compose import open_session
from forkmon.worker.politeness import be_polite
from forkmon.worker.session import recover
from forkmon.worker.where import KERNEL_VERSION


def run(options: argparse.Namespace) -> NoReturn:
    """Record until a signal comes; a missing directory is waited for."""
    settings = setup.settings(options)
    path = setup.store_of(options, options.path)
    be_polite()
    signal.signal(signal.SIGHUP, _hung_up)
    name = safe(options.path.resolve().name, 60)
    with Writer.open(path, run=options.path.absolute(), name=name, kernel=KERNEL_VERSION) as writer:
        print(f"forkmon: recording {safe(options.path)} into {safe(path)}", flush=True)
        recover(writer, "")
        _record(options.path, writer, settings)


def _hung_up(_number: int, _frame: object) -> NoReturn:
    sys.exit(Exit.TERMINATED)


def _record(root: Path, writer: Writer, settings: Settings) -> NoReturn:
    with ExitStack() as stack:
        wake = Wake(root)
        stack.callback(wake.close)
        means = setup.means(settings)
        session = open_session(root, writer, means, stack, notify=_say, interrupted=writer.beat)
        while True:
            session.look()
            busy = session.analyse_next()
            writer.beat()
            if not busy:
                wake.wait(session.interval)


def _say(event: wire.Event) -> None:
    match event:
        case wire.Stored(step=step, alerts=alerts):
            print(f"stored step {step:,} ({alerts} alerts)", flush=True)
        case wire.Failed(path=path, reason=reason):
            print(f"failed {path}: {reason}", flush=True)
        case wire.Log(text=text):
            print(text, flush=True)
        case wire.Polled(note=note) if note:
            print(note, flush=True)
        case _:
            pass
