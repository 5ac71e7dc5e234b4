"""Themes: complete, valid, readable."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "themes"
FILES = sorted(FOLDER.glob("*.toml"))
COLOURS = (
    "background", "surface", "text", "muted", "rule", "accent", "baseline", "previous",
    "info", "warn", "error", "cursor-background", "cursor-text",
)  # fmt: skip
NAMES = {"default", "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"}
HEX = re.compile(r"#[0-9a-f]{6}")


def _theme(path: Path) -> dict[str, str | bool]:
    return tomllib.loads(path.read_text("utf-8"))


def _luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: object, other: object) -> float:
    dark, light = sorted((_luminance(str(one)), _luminance(str(other))))
    return (light + 0.05) / (dark + 0.05)


def test_all_themes_are_there() -> None:
    """The six themes ship."""
    assert [path.stem for path in FILES] == [
        "ansi-16", "colour-blind", "dark", "high-contrast", "light", "mono",
    ]  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_theme_is_complete_and_valid(path: Path) -> None:
    """Every theme has its file's name, a `dark` flag and every colour, and nothing else."""
    theme = _theme(path)
    assert set(theme) == {"name", "dark", *COLOURS}
    assert theme["name"] == path.stem
    assert isinstance(theme["dark"], bool)
    for key in COLOURS:
        colour = str(theme[key])
        name = colour.removeprefix("ansi_").removeprefix("bright_")
        assert HEX.fullmatch(colour) or (colour.startswith("ansi_") and name in NAMES), key


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stem not in ("ansi-16", "mono")], ids=lambda p: p.stem
)
def test_a_theme_is_readable(path: Path) -> None:
    """Words reach 4.5:1 on both backgrounds and on the cursor; data colours too."""
    theme = _theme(path)
    assert theme["dark"] == (_luminance(str(theme["background"])) < 0.2)
    assert _contrast(theme["cursor-text"], theme["cursor-background"]) >= 4.5
    for ground in (theme["background"], theme["surface"]):
        for key in COLOURS[2:4] + COLOURS[5:11]:
            assert _contrast(theme[key], ground) >= 4.5, key


def test_high_contrast_is() -> None:
    """Every colour of the high-contrast theme reaches 7:1."""
    theme = _theme(FOLDER / "high-contrast.toml")
    for key in COLOURS[2:4] + COLOURS[5:11]:
        assert _contrast(theme[key], theme["background"]) >= 7, key
