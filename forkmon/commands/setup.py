"""What commands share: settings from flags, the store's place, refusing a missing terminal."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from forkmon import config
from forkmon.config import Settings
from forkmon.errors import ForkmonError, UsageError
from forkmon.store.place import store_path
from forkmon.text import safe

if TYPE_CHECKING:
    from forkmon.worker.compose import Means


def settings(options: argparse.Namespace) -> Settings:
    """Return the settings in force, warnings about the config file said on stderr."""
    flags = {option.name: getattr(options, option.name, None) for option in config.OPTIONS}
    found = config.load(flags, os.environ)
    for warning in found.warnings:
        print(f"forkmon: warning: {warning}", file=sys.stderr)
    return found


def means(settings: Settings) -> Means:
    """Return what an analysis is done with; warnings about layouts are said on stderr."""
    from forkmon.worker.compose import means_of  # the UI process has no use for it

    found, warnings = means_of(settings)
    for warning in warnings:
        print(f"forkmon: warning: {warning}", file=sys.stderr)
    return found


def keymap(settings: Settings) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the user's own keys by action, and a word where the table makes no sense."""
    table = settings.table("keys")
    if table is None:
        return {}, ()
    if not isinstance(table, dict):
        return {}, ('config file: [keys] must be a table: action = "key"',)
    pairs = cast("dict[str, object]", table)
    good = {name: keys for name, keys in pairs.items() if isinstance(keys, str)}
    bad = [f"config file: keys.{safe(name)} must be text" for name in pairs if name not in good]
    return good, tuple(bad)


def existing(path: Path) -> Path:
    """Return the path if something is there, else say so."""
    try:
        path.stat()
    except OSError as error:
        reason = error.strerror or "not readable"
        raise ForkmonError(
            f"{safe(path)}: {reason.lower()}; name a run directory or a checkpoint"
        ) from None
    return path


def store_of(options: argparse.Namespace, run: Path) -> Path:
    """Return the store that the command line or the run's path names."""
    named: Path | None = options.store
    return named or store_path(run)


def need_terminal(path: Path | None = None) -> None:
    """Refuse a screen where there is none, and name what works there."""
    scan = f"forkmon scan {safe(path)}" if path else "forkmon scan PATH"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(f"the monitor needs a terminal; use `{scan}` here")
    if _term() in ("dumb", ""):
        raise UsageError(f"TERM={safe(_term())} cannot show the monitor; use `{scan}` here")


def has_terminal() -> bool:
    """Return whether there is a terminal that can show the monitor."""
    return sys.stdin.isatty() and sys.stdout.isatty() and _term() not in ("dumb", "")


def _term() -> str:
    return os.environ.get("TERM", "")
