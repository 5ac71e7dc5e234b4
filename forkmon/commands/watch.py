"""`forkmon PATH`: the monitor on a run, its worker beside it."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from forkmon.commands import setup
from forkmon.config import Settings
from forkmon.store.reader import Reader


def run(options: argparse.Namespace) -> int:
    """Open the monitor on a run directory that exists."""
    setup.need_terminal(options.path)
    settings = setup.settings(options)
    path = setup.existing(options.path)
    return open_screen(
        path,
        store=setup.store_of(options, path),
        settings=settings,
        settle=settings.number("settle"),
        interval=settings.number("interval"),
    )


def open_screen(
    path: Path,
    *,
    store: Path,
    settings: Settings,
    settle: float,
    interval: float,
    title: str = "",
) -> int:
    """Open the monitor on `path` with a worker, and return its exit code."""
    from forkmon.tui.app import run as run_app
    from forkmon.tui.launch import Launch

    worker = (
        sys.executable, "-m", "forkmon.worker", str(path.absolute()),
        "--store", str(store), "--interval", str(interval), "--settle", str(settle),
        "--threads", str(settings.number("threads")), "--device", settings.text("device"),
        "--read-rate", str(settings.number("read_rate")), "--roles", settings.text("roles"),
        f"--on-alert={settings.text('on_alert')}", f"--webhook={settings.text('webhook')}",
        *preset_flag(settings),
    )  # fmt: skip
    keys, complaints = setup.keymap(settings)
    return run_app(
        Launch(
            run=path,
            store=store,
            open_source=partial(Reader.open, store),
            worker=worker,
            title=title or path.resolve().name,
            theme=settings.text("theme"),
            ascii=settings.flag("ascii") or not _speaks_unicode(),
            no_color="NO_COLOR" in os.environ,
            mouse=settings.flag("mouse"),
            keymap=keys,
            bell=settings.flag("bell"),
            desktop_note=settings.flag("desktop_note"),
            warnings=(*settings.warnings, *complaints),
        )
    )


def preset_flag(settings: Settings) -> tuple[str, ...]:
    """Return the flag of a preset somebody chose: the default would hide the config file's."""
    chosen = settings.settings["preset"]
    return () if chosen.origin == "default" else ("--preset", str(chosen.value))


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
