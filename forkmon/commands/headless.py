"""Follow a replay to its end without a screen: what `forkmon demo` does in a batch job."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from forkmon import wire
from forkmon.commands import as_json, setup, triage
from forkmon.commands.replay import Replay
from forkmon.config import Settings
from forkmon.errors import Exit
from forkmon.store.writer import Writer
from forkmon.worker.compose import open_session
from forkmon.worker.where import KERNEL_VERSION


def follow(target: Path, replay: Replay, settings: Settings, *, settle: float) -> int:
    """Analyse the replay to its end, one line a checkpoint, then print the triage report."""
    print(f"no terminal here: replaying {target.name} without a screen", flush=True)
    wanted = len(replay.checkpoints)
    with ExitStack() as stack:
        writer = stack.enter_context(
            Writer.open(None, run=target, name=target.name, kernel=KERNEL_VERSION)
        )
        means = replace(setup.means(settings), settle=settle)
        session = open_session(target, writer, means, stack, notify=_say, interval=0.05)
        while len(writer.known()) < wanted:
            session.look()
            if not session.analyse_next():
                time.sleep(0.05)
        session.refresh()
        for line in triage.lines(writer.reader(), as_json.Choice(), means.device):
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
