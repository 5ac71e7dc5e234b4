"""`forkmon PATH`: the monitor on a run, its worker beside it."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import forkmon
from forkmon.commands import setup
from forkmon.config import Settings
from forkmon.errors import Exit
from forkmon.store.place import store_path

if TYPE_CHECKING:
    from forkmon.store.reader import Reader
    from forkmon.tui.run_rows import RunRow

_LIKE_A_RUN = re.compile(
    r"(?:checkpoint|step|epoch|iter|ckpt).*[0-9]|^[0-9]+$"
    r"|\.(?:safetensors|pt|pth|bin|ckpt|tar|distcp|npz|gguf|json)$",
    re.IGNORECASE,
)
"""What lies in a run and not in a directory of runs."""


_PLACE = str(Path(forkmon.__file__).resolve().parents[1])
WORKER = (
    sys.executable,
    "-P",
    "-c",
    (
        f"import sys; sys.path.append({_PLACE!r}); "
        "from forkmon.worker.__main__ import main; sys.exit(main())"
    ),
)
"""What `python -m forkmon.worker` does, but for the current directory: it may be the run's, and a
json.py in it must not be imported."""


def run(options: argparse.Namespace) -> int:
    """Open the monitor on a run directory that exists."""
    setup.need_terminal(options.path)
    settings = setup.settings(options)
    path = setup.existing(options.path)
    runs = runs_in(path)
    if runs and options.store is None:
        return choose_run(path, runs, settings)
    return open_screen(
        path,
        store=setup.store_of(options, path),
        settings=settings,
        settle=settings.number("settle"),
        interval=settings.number("interval"),
    )


def open_reader(store: Path) -> Reader:
    """Open a store for reading; SQLite is imported only now, after the first paint."""
    from forkmon.store.reader import Reader

    return Reader.open(store)


def runs_in(path: Path) -> tuple[Path, ...]:
    """Return the runs in a directory of runs; nothing for a run, told from names alone."""
    try:
        entries = list(os.scandir(path)) if path.is_dir() else []
        folders = [entry.name for entry in entries if entry.is_dir()]
    except OSError:
        return ()
    if len(folders) < 2 or any(_LIKE_A_RUN.search(entry.name) for entry in entries):
        return ()
    from forkmon.runs.poll import Poller

    return Poller(path, interval=1.0, settle=1.0).poll().runs


def choose_run(directory: Path, runs: Sequence[Path], settings: Settings) -> int:
    """Show the list of runs; each that is opened comes back to it, until the person leaves."""
    from forkmon.tui.run_rows import summary
    from forkmon.tui.runs_app import RunsLaunch, choose

    def load() -> list[RunRow]:
        return [summary(run, run.name, partial(open_reader, store_path(run))) for run in runs]

    chosen: Path | None = None
    while True:
        code, chosen = choose(
            RunsLaunch(
                directory=directory,
                load=load,
                theme=settings.text("theme"),
                ascii=settings.flag("ascii") or not _speaks_unicode(),
                no_color="NO_COLOR" in os.environ,
                mouse=settings.flag("mouse"),
                chosen=chosen,
            )
        )
        if chosen is None:
            return code
        code = open_screen(
            chosen,
            store=store_path(chosen),
            settings=settings,
            settle=settings.number("settle"),
            interval=settings.number("interval"),
        )
        if code != Exit.OK:
            return code


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
        *WORKER, str(path.absolute()),
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
            open_source=partial(open_reader, store),
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
