"""A cap on the read rate: a token bucket that the reading threads share."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

MEGABYTE = 1_000_000

BURST_SECONDS = 0.25
"""How much of the rate may pass at once after a pause."""


class Pace:
    """Lets bytes pass at a given mean rate; thread-safe."""

    def __init__(
        self,
        bytes_per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if bytes_per_second <= 0:
            raise ValueError(f"a rate above 0 is needed, not {bytes_per_second}")
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = Lock()
        self._free_at = clock() - BURST_SECONDS

    def take(self, size: int) -> None:
        """Return once `size` more bytes may be read.

        Each caller books its time behind those before it and then sleeps outside the lock, so a
        chunk larger than the burst only waits longer.
        """
        with self._lock:
            now = self._clock()
            start = max(self._free_at, now - BURST_SECONDS)
            self._free_at = start + size / self._rate
            wait = self._free_at - now
        if wait > 0:
            self._sleep(wait)


def pace_of(megabytes_per_second: float) -> Pace | None:
    """Return the pace that the setting `read_rate` asks for; None for 0: as fast as it goes."""
    if megabytes_per_second <= 0:
        return None
    return Pace(megabytes_per_second * MEGABYTE)
