"""Fixtures everybody uses: nothing of the machine leaks into a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "forkmon",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("forkmon")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def isolated_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Give every test its own home, XDG directories, locale and terminal."""
    home = tmp_path_factory.mktemp("home")
    for name in ("STATE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TZ", "UTC")
    for name in list(os.environ):
        if name.startswith("FORKMON_") and name != "FORKMON_KILLS":
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "TMUX", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def sample_runs() -> Path:
    """Return the directory of the sample runs."""
    return REPOSITORY / "sample_runs"
