"""Colours: a theme file gives every ink of a drawing a colour, and Textual the rest."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.color import Color, ColorParseError
from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

from forkmon.config import config_file, shipped
from forkmon.draw.ink import Ink
from forkmon.errors import UsageError
from forkmon.text import safe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT = "dark"
MONO = "mono"

COLOURS = (
    "background", "surface", "text", "muted", "rule", "accent", "baseline", "previous",
    "info", "warn", "error", "cursor-background", "cursor-text",
)  # fmt: skip
"""What a theme file names a colour for."""

_INK_COLOUR: dict[Ink, str] = {
    Ink.TEXT: "text",
    Ink.MUTED: "muted",
    Ink.ACCENT: "accent",
    Ink.BASELINE: "baseline",
    Ink.PREVIOUS: "previous",
    Ink.INFO: "info",
    Ink.WARN: "warn",
    Ink.ERROR: "error",
    Ink.AXIS: "rule",
    Ink.TITLE: "text",
}


@dataclass(frozen=True)
class Palette:
    """What inks look like on a terminal."""

    styles: Mapping[Ink, Style] = field(default_factory=dict[Ink, Style])
    base: Style = Style()  # noqa: RUF009 - rich styles are immutable
    cursor: Style = Style(reverse=True)  # noqa: RUF009

    grounds: Mapping[Ink, Style] = field(default_factory=dict[Ink, Style])
    """Text cut out of a bar of an ink: two data colours on each other would not be readable."""

    def style(self, ink: Ink, marked: Style | None = None, over: Ink | None = None) -> Style:
        """Return the style of a stretch of text; `marked` wins over its colours."""
        plain = self.styles.get(ink, self.base)
        if over is not None and over in self.grounds:
            plain += self.grounds[over]
        return plain if marked is None else plain + marked


PLAIN = Palette()
"""No colours at all."""


@dataclass(frozen=True, slots=True)
class Look:
    """One theme file, understood."""

    name: str
    dark: bool
    colours: Mapping[str, str]

    @property
    def ansi(self) -> bool:
        """Tell whether the terminal's own background shows through."""
        return self.colours["background"].startswith("ansi_")

    @property
    def mono(self) -> bool:
        """Tell whether the theme uses no colour for text."""
        return len({self.colours[name] for name in _INK_COLOUR.values()}) == 1

    def palette(self) -> Palette:
        """Return the styles of the inks."""
        styles = {ink: self._style(ink) for ink in Ink}
        if self.mono:
            return Palette(styles, Style(), Style(reverse=True, dim=False))
        cursor = Style(
            color=_rich(self.colours["cursor-text"]),
            bgcolor=_rich(self.colours["cursor-background"]),
        )
        grounds = {ink: Style(color=styles[ink].color, reverse=True) for ink in Ink}
        return Palette(styles, styles[Ink.TEXT], cursor, grounds)

    def _style(self, ink: Ink) -> Style:
        bold = True if ink in (Ink.TITLE, Ink.ERROR) else None
        if self.mono:
            return Style(bold=bold, dim=True if ink in (Ink.MUTED, Ink.AXIS) else None)
        return Style(color=_rich(self.colours[_INK_COLOUR[ink]]), bold=bold)

    def textual(self) -> Theme:
        """Return the theme for Textual's own widgets (the palette, scroll bars)."""
        use = self.colours
        return Theme(
            name=f"forkmon-{self.name}",
            primary=use["accent"],
            secondary=use["baseline"],
            accent=use["accent"],
            warning=use["warn"],
            error=use["error"],
            success=use["info"],
            foreground=use["text"],
            background=use["background"],
            surface=use["surface"],
            panel=use["surface"],
            boost=use["surface"],
            dark=self.dark,
            ansi=self.ansi,
            variables={
                **(_ansi_variables(self.dark) if self.ansi else {}),
                "rule": use["rule"],
                "block-cursor-background": use["cursor-background"],
                "block-cursor-foreground": use["cursor-text"],
                "border": use["rule"],
                "border-blurred": use["rule"],
            },
        )


def _ansi_variables(dark: bool) -> Mapping[str, str]:  # noqa: FBT001
    """Return what Textual's own style sheets refer to when colours are the terminal's."""
    return BUILTIN_THEMES["ansi-dark" if dark else "ansi-light"].variables


def places() -> tuple[Path, ...]:
    """Return where themes lie: the user's own beside the config file, then those that ship."""
    return config_file(os.environ).parent / "themes", shipped("themes")


def find(name: str, directories: tuple[Path, ...] | None = None) -> Look:
    """Return a theme by name; UsageError names the ones there are."""
    for directory in directories or places():
        path = directory / f"{name}.toml"
        if "/" not in name and path.is_file():
            return load(path)
    known = ", ".join(names(directories))
    raise UsageError(f"no theme is called {safe(name)}; there are: {known}")


def names(directories: tuple[Path, ...] | None = None) -> list[str]:
    """Return the names of all themes."""
    found = directories or places()
    return sorted({path.stem for directory in found for path in directory.glob("*.toml")})


def load(path: Path) -> Look:
    """Return the theme of one file; UsageError says what is wrong with it."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"theme {safe(path)}: {safe(error)}; choose another --theme") from None
    colours = {name: str(table.get(name, "")) for name in COLOURS}
    for name, value in colours.items():
        try:
            _rich(value)
        except ColorParseError:
            raise UsageError(
                f"theme {safe(path)}: {name} = {safe(value)!r} is no colour; write #rrggbb"
            ) from None
    return Look(str(table.get("name", path.stem)), bool(table.get("dark", True)), colours)


def _rich(colour: str) -> Color:
    return Color.parse(colour.removeprefix("ansi_"))
