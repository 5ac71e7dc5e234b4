"""How a CUSUM is run: its lengths and limits, apart from the arithmetic that uses them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """How a CUSUM is run; lengths in checkpoints, limits in standard deviations."""

    limit: float = 12.0
    """Sum at which it crosses."""
    slack: float = 3.0
    """Taken off each innovation: smaller ones never add up."""
    effect: float = 0.05
    """Smallest change beyond the trend, in the curve's own unit, that is worth telling."""
    window: int = 24
    """Increments that foretell the next."""
    warmup: int = 30
    """Increments before the first innovation."""
    lag: int = 3
    """Increments between that past and the present, at least."""
    renewal: int = 3
    """Increments between renewals of that past."""
    refractory: int = 8
    """Checkpoints of silence after a crossing."""
    bend: float = 0.75
    """Share of the trend of the rates that is foretold to go on."""
    floor: float = 1e-3
    """Least standard deviation, in the curve's own unit."""
