"""Asking SQLite for many things at once, within its limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from forkmon.store.records import Row

Query = Callable[[str, Sequence[object]], list[Row]]
"""Runs one SELECT and returns all its rows."""

_BATCH = 400
"""Values in one IN list; two lists fit the limit of every SQLite."""


def batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield numbers in lists that fit one SELECT."""
    for first in range(0, len(numbers), _BATCH):
        yield numbers[first : first + _BATCH]


def marks(values: Sequence[int]) -> str:
    """Return a question mark for each value."""
    return ",".join("?" * len(values))
