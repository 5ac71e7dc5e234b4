"""A user's own themes lie beside the config file."""

from __future__ import annotations

from pathlib import Path

import pytest

from forkmon.config import shipped
from forkmon.errors import UsageError
from forkmon.tui import theme


def test_a_theme_of_the_users_own_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is offered beside those that ship, and goes before one of the same name."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = tmp_path / "forkmon" / "themes"
    own.mkdir(parents=True)
    text = (shipped("themes") / "dark.toml").read_text("utf-8")
    (own / "night.toml").write_text(text.replace('"dark"', '"night"'), "utf-8")
    assert {"night", "dark", "light"} <= set(theme.names())
    assert theme.find("night").name == "night"


def test_a_theme_that_is_not_there_names_those_that_are() -> None:
    """The error is a wrong command line."""
    with pytest.raises(UsageError, match="colour-blind"):
        theme.find("no such theme")
