"""Where the store of a run lives."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

_LONGEST_NAME = 60
_STRANGE = re.compile(r"[^A-Za-z0-9._-]+")


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return forkmon's directory for what it keeps: `$XDG_STATE_HOME/forkmon`."""
    base = Path(environ.get("XDG_STATE_HOME", ""))
    if not base.is_absolute():  # the specification: a relative path is to be ignored
        base = Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return base / "forkmon"


def store_path(run: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the default store of a run: one for each real path, named so that people find it."""
    real = Path(os.path.realpath(run))
    digest = hashlib.blake2b(os.fsencode(real), digest_size=8).hexdigest()
    name = _STRANGE.sub("_", real.name).strip("._-")[:_LONGEST_NAME] or "run"
    return state_directory(environ) / f"{name}-{digest}.db"
