"""What a detector or a curve sees: one tensor's columns over steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Series:
    """Parallel columns of one tensor, oldest step first; a missing number is None."""

    tensor: str
    steps: tuple[int, ...]
    values: Mapping[str, tuple[float | None, ...]]
    """Statistic name (see `row.STATISTICS`, and `n`) -> one value a step."""
