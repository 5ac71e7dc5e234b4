"""What the worker is at, in a small file beside the store that outlives its death.

A row in the store would cost a page of the log for every tensor, and a sync on a network file
system; the page cache keeps one overwritten block as well as a table through any death of the
process. It is advice, not history: when it cannot be written, only the blame is lost.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

_BLOCK = 4096


class Beacon:
    """The attempt and the tensor being worked on, as the next worker will find them."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._fd = -1

    def show(self, attempt: int, tensor: str) -> None:
        """Say that the attempt is at this tensor now."""
        if self._path is None:
            return
        record = json.dumps({"attempt": attempt, "tensor": tensor}).encode("ascii")
        with suppress(OSError):
            if self._fd < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._fd = os.open(self._path, flags, 0o600)
            os.pwrite(self._fd, record[:_BLOCK].ljust(_BLOCK), 0)

    def seen(self) -> tuple[int, str] | None:
        """Return the attempt and the tensor last shown; None if there is nothing readable."""
        if self._path is None:
            return None
        try:
            record = json.loads(self._path.read_bytes()[:_BLOCK])
            return int(record["attempt"]), str(record["tensor"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def close(self) -> None:
        """Forget: nothing is being worked on."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def beacon_path(store: Path) -> Path:
    """Return the beacon of a store."""
    return store.with_name(store.name + ".at")
