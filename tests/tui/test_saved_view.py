"""What of a view is kept between starts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forkmon.tui.model import View
from forkmon.tui.saved_view import restored, saved

USED = replace(
    View(), panel="fork", sort="abnormal", count_scale="symlog", fork_view="rows", previous=True,
    statistic="kurtosis", filter="mlp", log_steps=False, map_scale="whole model",
)  # fmt: skip


def test_a_kept_view_comes_back() -> None:
    """What is kept of a view makes the same view of a new one."""
    assert restored(View(), saved(USED)) == USED


@pytest.mark.parametrize(
    "kept",
    [
        {"panel": "probes"},
        {"panel": 3, "sort": True, "log_steps": "no"},
        {"statistic": "[/x]", "filter": "a\x1b[2J"},
        {"filter": "x" * 10_000},
        {"pane": "alerts", "current": 7, "unknown": "x"},
        {},
    ],
)
def test_what_is_not_understood_changes_nothing(kept: dict[str, object]) -> None:
    """A file of a newer forkmon, or of a bad day, never makes a view that cannot be."""
    assert restored(View(), kept) == View()
