"""Alert settings from a plain table: presets, thresholds, mutes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from forkmon.detect.settings import DEFAULT, PRESETS, from_mapping
from forkmon.errors import UsageError


def test_nothing_said_is_the_default() -> None:
    """An empty table is the default preset."""
    assert from_mapping({}) == DEFAULT
    assert from_mapping({"preset": "quiet"}) == PRESETS["quiet"]
    assert {name: settings.preset for name, settings in PRESETS.items()} == {
        name: name for name in PRESETS
    }


def test_a_table_changes_what_it_names() -> None:
    """Thresholds by kind over a preset; the others stay."""
    table: dict[str, Any] = {
        "preset": "quiet",
        "regime": {"limit": 20, "window": 16},
        "off": ["SHAPE"],
        "mute": ["^SPLIT h\\.0\\."],
    }
    settings = from_mapping(table)
    assert (settings.regime.limit, settings.regime.window) == (20.0, 16)
    assert settings.regime.effect == PRESETS["quiet"].regime.effect
    assert settings.off == PRESETS["quiet"].off | {"SHAPE"}
    assert settings.mute[0].search("SPLIT h.0.w")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"preset": "loud"}, "quiet, default, paranoid"),
        ({"preset": 3}, "no alert preset"),
        ({"regim": {"limit": 3}}, "alerts.regim"),
        ({"regime": 3}, "alerts.regime"),
        ({"regime": {"limits": 3}}, "alerts.regime.limits is none of: limit"),
        ({"regime": {"limit": "3"}}, "must be a number"),
        ({"regime": {"limit": True}}, "must be a number"),
        ({"regime": {"limit": float("nan")}}, "must be a number"),
        ({"regime": {"limit": -1}}, "must be a number"),
        ({"regime": {"window": 2.5}}, "whole number"),
        ({"regime": {"window": float("inf")}}, "number"),
        ({"regime": {"window": 0}}, "whole number"),
        ({"off": "SPLIT"}, "list of strings"),
        ({"mute": ["("]}, "is no pattern"),
        ({"mute": ["a" * 300]}, "longer than"),
        ({"mu\x1bte": 1}, "\\u{1b}"),
    ],
)
def test_what_is_unknown_is_refused(table: dict[str, Any], words: str) -> None:
    """The message names the place, and what is allowed there."""
    with pytest.raises(UsageError) as error:
        from_mapping(table)
    assert words in str(error.value)
