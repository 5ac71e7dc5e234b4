"""`forkmon demo`: replay a sample run live into a temporary directory, the monitor open on it."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from forkmon import config
from forkmon.commands import setup, watch
from forkmon.commands.replay import Replay
from forkmon.errors import UsageError
from forkmon.text import safe

SETTLE_SECONDS = 0.5
HEADLESS_EVERY = 0.05


def run(options: argparse.Namespace) -> int:
    """Show a sample run as it trained; without a terminal, print what would be seen."""
    settings = setup.settings(options)
    source = _sample(options.run)
    on_screen = setup.has_terminal()
    every = options.every if on_screen else min(options.every, HEADLESS_EVERY)
    with _scratch() as scratch:
        target = scratch / source.name
        target.mkdir()
        replay = Replay(source, target, every=every)
        replay.start()
        try:
            if on_screen:
                return watch.open_screen(
                    target,
                    store=scratch / "history.db",
                    settings=settings,
                    settle=SETTLE_SECONDS,
                    interval=0.5,
                    title=f"{source.name} (demo)",
                )
            from forkmon.commands.headless import follow

            return follow(target, replay, settings, settle=SETTLE_SECONDS)
        finally:
            replay.stop()


def _sample(name: str) -> Path:
    runs = config.shipped("sample_runs")
    names = sorted(p.name for p in runs.iterdir() if p.is_dir() and not p.name.startswith("_"))
    if name not in names:
        raise UsageError(f"no sample run {safe(name)}; there are {', '.join(names)}")
    return runs / name


@contextmanager
def _scratch() -> Generator[Path]:
    path = Path(tempfile.mkdtemp(prefix="forkmon-demo-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
