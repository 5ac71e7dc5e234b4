"""Counters of codes: one that miscounts is never used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def probes_of(size: int) -> Iterator[None]:
    """Make the probes of counters small."""
    from forkmon.kernels import torch_count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_count, "PROBE", size)
        yield


def test_a_counter_that_miscounts_is_dropped_with_its_reason() -> None:
    """One count in the wrong place is enough; so is an exception; a right one stays."""
    pytest.importorskip("torch")
    from forkmon.kernels.torch_count import Counter, by_bincount, proven

    def wrong(bits: Any, size: int) -> Any:
        return by_bincount(bits, size).roll(1)

    def failing(bits: Any, size: int) -> Any:
        raise TypeError("unexpected keyword 'sem'")

    with probes_of(1 << 12):
        assert "miscounted spread-out 8-bit codes" in proven(Counter("x", wrong, ""), "cpu").why
        assert "unexpected keyword" in proven(Counter("x", failing, ""), "cpu").why
        assert proven(Counter("x", by_bincount, "right"), "cpu").why == "right"
