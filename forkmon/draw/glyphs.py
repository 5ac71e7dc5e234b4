"""The characters drawings are made of, once in Unicode and once in plain ASCII."""
# ruff: noqa: RUF001 - these characters are the point

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character for each part of a drawing; the ramps run from nothing to full."""

    vertical: str
    """Nine heights of a bar, none to full."""
    horizontal: str
    """Nine lengths of a bar, none to full."""
    spark: str
    """Eight heights of a sparkline, lowest to highest."""
    shades: str
    """Five shades of a map, none to full."""
    halves: str
    """The upper and the lower half of a cell."""
    trace: str
    """Something is here, but too little for the lowest bar."""

    opened: str
    closed: str
    leaf: str
    live: str
    idle: str

    info: str
    warn: str
    error: str
    nothing: str

    rule: str
    divider: str
    corner: str
    y_tick: str
    x_tick: str
    mark: str

    contour: str
    """Six parts of the baseline's outline: across, upright, then the corners of a step: up from
    the left, then right at the top, right then down, and right again at the foot."""
    previous: str

    minus: str
    ellipsis: str
    dash: str
    left: str
    right: str
    delta: str
    norm: str
    """The bars around a vector: its length."""
    times: str
    baseline_sign: str
    curve_markers: tuple[str, ...]
    """The markers plotext draws curves with, first to last, told apart without colour."""
    point: str

    @property
    def full(self) -> str:
        """Return the full block."""
        return self.vertical[-1]

    def severity(self, name: str) -> str:
        """Return the badge of a severity by its name; anything else is nothing."""
        return {"info": self.info, "warn": self.warn, "error": self.error}.get(name, self.nothing)


UNICODE = Glyphs(
    vertical=" ▁▂▃▄▅▆▇█",
    horizontal=" ▏▎▍▌▋▊▉█",
    spark="▁▂▃▄▅▆▇█",
    shades=" ░▒▓█",
    halves="▀▄",
    trace="·",
    opened="▾",
    closed="▸",
    leaf=" ",
    live="●",
    idle="○",
    info="◆",
    warn="▲",
    error="✖",
    nothing="·",
    rule="─",
    divider="│",
    corner="└",
    y_tick="┤",
    x_tick="┬",
    mark="│",
    contour="─│┘┌┐└",
    previous="╌",
    minus="−",
    ellipsis="…",
    dash="—",
    left="‹",
    right="›",
    delta="Δ",
    norm="‖",
    times="×",
    baseline_sign="─",
    curve_markers=("braille", "•", "+", "×"),
    point="•",
)
"""Eighth blocks and box drawing: what every UTF-8 terminal font carries."""

ASCII = Glyphs(
    vertical=" ...:::##",
    horizontal=" ----====",
    spark="_.-:=+*#",
    shades=" .:x#",
    halves="^_",
    trace=".",
    opened="-",
    closed="+",
    leaf=" ",
    live="*",
    idle="o",
    info="i",
    warn="!",
    error="x",
    nothing=".",
    rule="-",
    divider="|",
    corner="+",
    y_tick="|",
    x_tick="+",
    mark="|",
    contour="-|++++",
    previous="~",
    minus="-",
    ellipsis="~",
    dash="-",
    left="<",
    right=">",
    delta="d",
    norm="|",
    times="x",
    baseline_sign="-",
    curve_markers=("*", "+", "o", "x"),
    point="*",
)
"""For consoles without UTF-8 (`--ascii`)."""


def choose(ascii_only: bool) -> Glyphs:  # noqa: FBT001 - choose(args.ascii) reads well
    """Return the ASCII glyphs, or the Unicode ones."""
    return ASCII if ascii_only else UNICODE


_TO_ASCII = str.maketrans(
    {
        "−": "-", "…": "~", "—": "-", "–": "-", "─": "-", "│": "|", "·": ".", "×": "x", "Δ": "d",
        "‹": "<", "›": ">", "▾": "-", "▸": "+", "◆": "i", "▲": "!", "✖": "x", "●": "*", "○": "o",
        "█": "#", "→": ">", "←": "<", "↑": "^", "↓": "v", "≤": "<", "≥": ">", "‖": "|", "√": "v",
        "┤": "|", "├": "|", "┬": "+", "┴": "+", "┼": "+", "└": "+", "┘": "+", "┌": "+", "┐": "+",
        "•": "*", "╌": "~", "’": "'", "‘": "'", "“": '"', "”": '"',
    }
)  # fmt: skip


def to_ascii(text: str) -> str:
    """Return `text` in ASCII, character for character; what has no likeness becomes `?`."""
    if text.isascii():
        return text
    return text.translate(_TO_ASCII).encode("ascii", "replace").decode("ascii")
