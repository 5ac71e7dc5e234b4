"""`forkmon show`: one checkpoint's statistics on stdout, without a store."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from forkmon.store.place import state_directory

from .conftest import Call, Land


def test_it_shows_every_tensor(forkmon: Call, run: Path, land: Land) -> None:
    """Name, type, shape, moments and a histogram each; nothing is stored."""
    path = land(run, 5)
    answer = forkmon("show", path)
    assert answer.code == 0
    assert answer.err == ""
    assert "step 5, 4 tensors" in answer.out.splitlines()[0]
    for words in ("h.0.attn.weight   f32 [16 x 16]", "h.1.mlp.weight   f16 [16 x 64]", "scalar",
                  "ex.kurtosis", "NaN 0", "0.5:"):  # fmt: skip
        assert words in answer.out
    assert "\x1b" not in answer.out
    assert not state_directory().exists()


def test_it_shows_one_tensor(forkmon: Call, run: Path, land: Land) -> None:
    """A name chooses; a part of a name is answered with what it may have meant."""
    path = land(run, 5)
    answer = forkmon("show", path, "h.1.scale")
    assert answer.code == 0
    assert "h.1.scale" in answer.out
    assert "mlp" not in answer.out
    answer = forkmon("show", path, "mlp")
    assert answer.code == 2
    assert "did you mean h.1.mlp.weight?" in answer.err
    assert forkmon("show", path, "nonsense").code == 2


def test_ascii_and_no_color_are_kept_to(
    forkmon: Call, run: Path, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal there is colour, unless NO_COLOR is set; --ascii draws with ASCII alone."""
    path = land(run, 5)
    assert forkmon("show", path, "--ascii").out.isascii()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b[" in forkmon("show", path).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in forkmon("show", path).out


def test_what_is_no_checkpoint_gets_its_reason(forkmon: Call, tmp_path: Path) -> None:
    """Exit code 1 and one line."""
    wrong = tmp_path / "step_1.safetensors"
    wrong.write_bytes(b"\xff" * 200)
    for path in (wrong, tmp_path, tmp_path / "none"):
        answer = forkmon("show", path)
        assert answer.code == 1
        assert answer.out == ""
        assert answer.err.startswith("forkmon: error: ")
        assert answer.err.count("\n") == 1
