"""`forkmon doctor`: what this machine, this install and these settings are, for a bug report."""

from __future__ import annotations

import argparse
import locale
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from forkmon import __version__, config
from forkmon.commands import setup
from forkmon.config import Settings
from forkmon.draw.numbers import bytesize
from forkmon.errors import Exit, ForkmonError
from forkmon.runs import filesystem
from forkmon.store.place import state_directory, store_path
from forkmon.text import safe

PACKAGES = (
    "textual", "numpy", "scipy", "torch", "numba", "safetensors", "watchdog", "plotext",
    "nvidia-ml-py",
)  # fmt: skip

Fact = tuple[str, str]
"""A name and what is so; the name is empty where the line goes on from the one before."""


def run(options: argparse.Namespace) -> int:
    """Print everything that a question about this forkmon would be answered with."""
    settings = setup.settings(options)
    sections = (
        ("forkmon", versions()),
        ("device", device(settings)),
        ("terminal", terminal()),
        ("files", files(options.path, options.store)),
        ("settings", origins(settings)),
    )
    for title, facts in sections:
        print(title)
        for name, fact in facts:
            print(f"  {name:<14}{fact}")
    return Exit.OK


def versions() -> Iterator[Fact]:
    """Yield the versions of forkmon and of what it stands on."""
    yield "forkmon", __version__
    yield "python", f"{platform.python_version()} ({safe(sys.executable)})"
    yield "system", safe(f"{platform.system()} {platform.release()} {platform.machine()}")
    yield "sqlite", sqlite3.sqlite_version
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "not installed"


def device(settings: Settings) -> Iterator[Fact]:
    """Yield where statistics would be computed, and why there."""
    from forkmon.engines.threads import usable_threads
    from forkmon.worker.where import choose_device

    try:
        chosen = choose_device(settings.text("device"))
        yield "device", f"{chosen.name}: {chosen.why}" if chosen.why else chosen.name
    except ForkmonError as error:
        yield "device", f"none: {error}"
    asked = int(settings.number("threads"))
    yield "threads", f"{asked or usable_threads()} of {os.cpu_count()} CPUs"


def terminal() -> Iterator[Fact]:
    """Yield what the monitor would be drawn on."""
    size = shutil.get_terminal_size((0, 0))
    yield "TERM", safe(os.environ.get("TERM", "not set"))
    yield "size", f"{size.columns} x {size.lines}" if size.columns else "unknown"
    yield "is a TTY", "yes" if setup.has_terminal() else "no: the monitor needs one"
    yield (
        "encoding",
        safe(f"{sys.stdout.encoding}, {locale.getpreferredencoding(do_setlocale=False)}"),
    )
    for name in ("COLORTERM", "NO_COLOR", "TMUX", "SSH_CONNECTION"):
        if name in os.environ:
            yield name, "set" if name != "COLORTERM" else safe(os.environ[name])


def files(run_path: Path | None, store: Path | None) -> Iterator[Fact]:
    """Yield the places forkmon reads and writes, and the sizes of its stores."""
    yield "config", _place(config.config_file(os.environ))
    yield "cache", _place(config.cache_home())
    state = state_directory()
    yield "state", _place(state)
    if run_path is not None:
        kind = filesystem.kind(run_path)
        how = "network: polled, longer settle windows" if kind.network else "local: events wake it"
        yield "run", _place(run_path)
        yield "", f"{safe(kind.name)}, {how}"
        own = store or store_path(run_path)
        yield "its store", f"{_place(own)}, {bytesize(_size(own))}"
    stores = sorted(state.glob("*.db"), key=_size, reverse=True) if state.is_dir() else []
    total = sum(map(_size, stores))
    yield "all stores", f"{len(stores)}, {bytesize(total)} together"
    for path in stores[:5]:
        yield "", f"{bytesize(_size(path)):>9}  {safe(path.name)}"


def origins(settings: Settings) -> Iterator[Fact]:
    """Yield every setting with its value and where it came from."""
    for name, setting in settings.settings.items():
        value = setting.value
        said = ("yes" if value else "no") if isinstance(value, bool) else safe(value) or "none"
        yield name, f"{said:<24} {safe(setting.origin)}"
    for name in config.TABLES:
        if settings.table(name) is not None:
            yield f"[{name}]", f"{'given':<24} {safe(config.config_file(os.environ))}"


def _place(path: Path) -> str:
    return safe(path) if path.exists() else f"{safe(path)} (not there)"


def _size(path: Path) -> int:
    """Return the bytes of a store, its log included."""
    total = 0
    for name in (path, path.with_name(path.name + "-wal")):
        try:
            total += name.stat().st_size
        except OSError:
            continue
    return total
