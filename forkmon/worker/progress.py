"""How far an analysis is, how fast it goes and how long it will take, told by bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import exp

from forkmon.draw import numbers
from forkmon.draw.glyphs import UNICODE, Glyphs

MEMORY_SECONDS = 5.0
"""Time constant of the smoothed rate: older speed fades by 1/e in this time."""

SHORTEST = 0.05
"""Seconds between two measurements of the rate: shorter ones are mostly noise."""

BAR_CELLS = 8


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an analysis stands."""

    done: int
    total: int
    """Bytes."""
    rate: float | None
    """Bytes a second, smoothed; None before it is known."""
    seconds_left: float | None
    """None while nobody can tell."""

    @property
    def share(self) -> float:
        """Return the part that is done, from 0 to 1."""
        return self.done / self.total if self.total else 1.0


class Meter:
    """Turns bytes done into rate and time left; the clock is given."""

    def __init__(
        self, total: int, *, rate: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start at 0 of `total` bytes; `rate` is what was last measured, if anything was."""
        self._total = total
        self._clock = clock
        self._rate = rate
        self._done = self._measured = 0
        self._since = self._began = clock()

    @property
    def rate(self) -> float | None:
        """Return the smoothed rate in bytes a second."""
        return self._rate

    def advance(self, size: int) -> Standing:
        """Count `size` more bytes as done and return where that leads."""
        self._done = min(self._total, self._done + size)
        self._measure()
        return self.standing()

    def standing(self) -> Standing:
        """Return where the analysis stands."""
        left = self._total - self._done
        if left == 0:
            return Standing(self._done, self._total, self._rate, 0.0)
        if not self._rate:
            return Standing(self._done, self._total, None, None)
        # Time that passed since the last bytes came counts: a stalled disk shows.
        waited = self._clock() - self._since
        seconds = max(left / self._rate, waited)
        return Standing(self._done, self._total, self._rate, seconds)

    def _measure(self) -> None:
        now = self._clock()
        span = now - self._since
        if span < SHORTEST:
            return
        measured = (self._done - self._measured) / span
        # At the start all time so far weighs in alike; later the last seconds count most.
        weight = 1 - exp(-span / min(MEMORY_SECONDS, now - self._began))
        self._rate = measured if not self._rate else self._rate + weight * (measured - self._rate)
        self._since, self._measured = now, self._done


def line(
    step: int,
    share: float,
    rate: float | None,
    seconds_left: float | None,
    glyphs: Glyphs = UNICODE,
) -> str:
    """Return one line: `step 2,048  ▕█████   ▏ 61 %  1.20 GB/s  3 s left`."""
    words = [f"step {numbers.step(step, glyphs)}", f"{_bar(share, glyphs)} {_percent(share)}"]
    if rate is not None:
        words.append(f"{numbers.bytesize(round(rate), glyphs)}/s")
    if seconds_left is not None and share < 1:
        words.append(numbers.eta(seconds_left, glyphs))
    return "  ".join(words)


def _bar(share: float, glyphs: Glyphs) -> str:
    eighths = int(max(0.0, min(1.0, share)) * BAR_CELLS * 8)
    whole, part = divmod(eighths, 8)
    full, partial = glyphs.horizontal[-1], glyphs.horizontal[part] if part else ""
    left, right = ("▕", "▏") if full == "█" else ("[", "]")
    return f"{left}{(full * whole + partial).ljust(BAR_CELLS)}{right}"


def _percent(share: float) -> str:
    """Return whole per cent, never 100 before the end."""
    return f"{100 if share >= 1 else min(99, int(100 * share)):2d} %"
