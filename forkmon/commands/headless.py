"""Follow a replay to its end without a screen: what `forkmon demo` does in a batch job."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from forkmon import wire
from forkmon.commands import report, triage
from forkmon.commands.replay import Replay
from forkmon.config import Settings
from forkmon.errors import Exit
from forkmon.runs.poll import Poller
from forkmon.store.writer import Writer
from forkmon.worker.backends import KERNEL_VERSION, choose_device, open_engine
from forkmon.worker.session import Session


def follow(target: Path, replay: Replay, settings: Settings, *, settle: float) -> int:
    """Analyse the replay to its end, one line a checkpoint, then print the triage report."""
    print(f"no terminal here: replaying {target.name} without a screen", flush=True)
    wanted = len(replay.checkpoints)
    with ExitStack() as stack:
        writer = stack.enter_context(
            Writer.open(None, run=target, name=target.name, kernel=KERNEL_VERSION)
        )
        session = Session(
            target,
            writer,
            Poller(target, interval=0.05, settle=settle),
            engine=lambda: stack.enter_context(
                open_engine(threads=int(settings.number("threads")))
            ),
            device=choose_device(),
            notify=_say,
        )
        while len(writer.known()) < wanted:
            session.look()
            if not session.analyse_next():
                time.sleep(0.05)
        session.refresh()
        for line in triage.lines(writer.reader(), report.Choice()):
            print(line)
    return Exit.OK


def _say(event: wire.Event) -> None:
    match event:
        case wire.Stored(step=step, alerts=alerts):
            print(f"step {step:,} analysed, {alerts} alerts", flush=True)
        case wire.Failed(path=path, reason=reason):
            print(f"{path}: {reason}", flush=True)
        case _:
            pass
