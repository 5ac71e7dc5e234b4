"""`forkmon view`: the monitor on a stored history alone; nothing is watched or written."""

from __future__ import annotations

import argparse
import os
from functools import partial

from forkmon.commands import setup
from forkmon.commands.watch import open_reader


def run(options: argparse.Namespace) -> int:
    """Open the monitor on a store."""
    setup.need_terminal()
    settings = setup.settings(options)
    store = setup.existing(options.store)
    keys, complaints = setup.keymap(settings)
    from forkmon.tui.app import run as run_app
    from forkmon.tui.launch import Launch

    return run_app(
        Launch(
            run=store,
            store=store,
            open_source=partial(open_reader, store),
            theme=settings.text("theme"),
            ascii=settings.flag("ascii"),
            no_color="NO_COLOR" in os.environ,
            mouse=settings.flag("mouse"),
            keymap=keys,
            warnings=(*settings.warnings, *complaints),
        )
    )
