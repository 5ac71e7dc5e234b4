"""`--roles`: from flag, environment and file, down to what is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from forkmon import config
from forkmon.errors import UsageError

from .conftest import Call


def roles(flag: str | None, environment: dict[str, str]) -> tuple[str, str]:
    """Return the value in force and where it came from."""
    setting = config.load({"roles": flag}, environment).settings["roles"]
    return str(setting.value), setting.origin


def test_a_flag_beats_the_environment_and_that_the_file(tmp_path: Path) -> None:
    """As with every other option; by default the optimizer's tensors are left out."""
    file = tmp_path / "config.toml"
    environment = {"FORKMON_CONFIG": str(file)}
    assert roles(None, environment) == ("model,ema", "default")
    file.write_text('roles = "model"\n')
    assert roles(None, environment) == ("model", str(file))
    environment["FORKMON_ROLES"] = "ema"
    assert roles(None, environment) == ("ema", "FORKMON_ROLES")
    assert roles("optimizer", environment) == ("optimizer", "--roles")


@pytest.mark.parametrize("bad", ["", "weights", "model,", "model;ema", "ema,\x1b"])
def test_an_unknown_role_is_a_usage_error(tmp_path: Path, bad: str) -> None:
    """The message says what is possible; a trailing comma is no mistake."""
    environment = {"FORKMON_CONFIG": str(tmp_path / "none")}
    if bad == "model,":
        assert roles(bad, environment)[0] == bad
        return
    with pytest.raises(UsageError, match="of model, ema and optimizer"):
        roles(bad, environment)


def test_show_tells_equal_names_of_two_roles_apart(forkmon: Call, tmp_path: Path) -> None:
    """Both are printed, the second under its role, and either can be asked for alone."""
    weights = {"w": torch.arange(4.0)}
    path = tmp_path / "step_1.pt"
    torch.save({"model": weights, "ema": {"w": weights["w"] * 2}, "step": 1}, path)
    both = forkmon("show", path).out
    assert "\nw   f32 [4]" in both
    assert "\nema:w   f32 [4]" in both
    alone = forkmon("show", path, "ema:w").out
    assert "  mean 3" in alone
    assert "\nw   " not in alone
    model = forkmon("show", path, "--roles", "model").out
    assert "ema:" not in model
