"""Numbers from a TensorBoard event file that may still be written."""

from __future__ import annotations

import struct
from pathlib import Path

from forkmon.formats.opening import read_bytes
from forkmon.runs import tfevents
from forkmon.runs.metrics_curves import Curve
from forkmon.runs.metrics_files import curve_of

_WINDOWS = (64 * 1024, 2 * tfevents.LONGEST)
"""Bytes read at once; the larger where a record fills more than the smaller."""


class EventLog:
    """Reads an event file record by record."""

    def __init__(self) -> None:
        self.curves: dict[str, Curve] = {}

    def take(self, fd: int, path: Path, at: int, end: int, size: int) -> int:
        """Read whole records; stop where one is cut off or broken, to try there again."""
        while at + tfevents.HEAD <= size and at < end:
            for window in _WINDOWS:
                raw = read_bytes(fd, at, min(window, size - at), path)
                used = self._records(raw, size - at)
                if used:
                    break
            else:
                break
            at += used
        return at

    def _records(self, raw: bytes, there: int) -> int:
        """Take the records of a window of `there` bytes; return how many bytes they are."""
        at = 0
        while at + tfevents.HEAD <= len(raw):
            found = tfevents.record_at(raw[at : at + tfevents.HEAD], at)
            if isinstance(found, tfevents.Broken):
                break
            stop = found.start + found.length + tfevents.FOOT
            if found.length > tfevents.LONGEST:
                if stop > there:
                    break
                return stop  # maybe far behind the window: what is passed over is not read
            if stop > len(raw):
                break
            body = raw[found.start : found.start + found.length]
            (seen,) = struct.unpack_from("<I", raw, found.start + found.length)
            entries = tfevents.scalars(body, seen)
            if isinstance(entries, tfevents.Broken):
                break
            self._add(entries)
            at = stop
        return at

    def _add(self, entries: list[tfevents.Scalar | tfevents.Restart]) -> None:
        for entry in entries:
            if isinstance(entry, tfevents.Restart):
                if entry.step > 0:
                    for curve in self.curves.values():
                        curve.purge(entry.step)
                continue
            known = curve_of(self.curves, entry.tag)
            if known is not None:
                known.add(entry.step, entry.value)
