"""Drawings as SVG: the same lines as on the terminal, for documents that a browser opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from xml.sax.saxutils import escape

from forkmon.draw.cells import char_width
from forkmon.draw.cells import width as width_of
from forkmon.draw.ink import Ink, Line, Span

CELL = 8.4
"""Width of a cell, in SVG units; a line is 2 cells high, so that blocks join."""

HEIGHT = 17.0
_BASE = 13.0
_FONT = "14px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"

SHAPES: Mapping[str, tuple[float, float, float]] = {
    **{char: (1 - n / 8, n / 8, 1.0) for n, char in enumerate("▁▂▃▄▅▆▇█", 1)},
    "▀": (0.0, 0.5, 1.0),
    "─": (0.47, 0.06, 1.0),
    **{char: (0.0, 1.0, n / 4) for n, char in enumerate("░▒▓", 1)},
}
"""Blocks as (top, height, opacity) of their cell: exact whatever the browser's font has."""

_UPRIGHT, _ACROSS = (0.44, 0.0, 0.12, 1.0), (0.0, 0.47, 1.0, 0.06)
_DOWN, _UP = (0.44, 0.5, 0.12, 0.5), (0.44, 0.0, 0.12, 0.5)
_LEFT, _RIGHT = (0.0, 0.47, 0.5, 0.06), (0.5, 0.47, 0.5, 0.06)
RULES: Mapping[str, tuple[tuple[float, float, float, float], ...]] = {
    "│": (_UPRIGHT,), "┤": (_UPRIGHT, _LEFT), "├": (_UPRIGHT, _RIGHT), "┬": (_ACROSS, _DOWN),
    "┴": (_ACROSS, _UP), "└": (_UP, _RIGHT), "┘": (_UP, _LEFT), "┌": (_DOWN, _RIGHT),
    "┐": (_DOWN, _LEFT), "┼": (_UPRIGHT, _ACROSS),
}  # fmt: skip
"""Rules as (left, top, width, height) of their cell."""

LIGHT: Mapping[Ink, str] = {
    Ink.TEXT: "#1b1f24", Ink.MUTED: "#6e7781", Ink.ACCENT: "#0072b2", Ink.BASELINE: "#57606a",
    Ink.PREVIOUS: "#cc79a7", Ink.INFO: "#007a5e", Ink.WARN: "#a35200", Ink.ERROR: "#c0182b",
    Ink.AXIS: "#8c959f", Ink.TITLE: "#1b1f24",
}  # fmt: skip
"""Okabe and Ito's colours, darkened where they stand for text on white (contrast 4.5 : 1)."""

DARK: Mapping[Ink, str] = {
    Ink.TEXT: "#d0d7de", Ink.MUTED: "#8b949e", Ink.ACCENT: "#56b4e9", Ink.BASELINE: "#afb8c1",
    Ink.PREVIOUS: "#d197b8", Ink.INFO: "#2fbf97", Ink.WARN: "#e69f00", Ink.ERROR: "#ff7b72",
    Ink.AXIS: "#6e7681", Ink.TITLE: "#f0f6fc",
}  # fmt: skip


def style() -> str:
    """Return the style sheet that drawings need: once in a document, light or dark as it is."""
    return (
        f".fk text{{font:{_FONT};white-space:pre}}.fk .title{{font-weight:600}}"
        f"{_rules(LIGHT)}@media(prefers-color-scheme:dark){{{_rules(DARK)}}}"
    )


def svg(lines: Sequence[Line], *, label: str, styled: bool = False) -> str:
    """Return lines as one `<svg>`; `label` says to a screen reader what it shows.

    `styled` brings the style sheet along, for a file of its own. Words are stretched to their
    cells and blocks are rectangles: whatever font the browser has, columns stand in line.
    """
    columns = max((sum(width_of(s.text) for s in line) for line in lines), default=0)
    wide, high = columns * CELL, len(lines) * HEIGHT
    sheet = f"<style>{style()}</style>" if styled else ""
    body = "".join(_line(line, row) for row, line in enumerate(lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fk" role="img" '
        f'aria-label="{_attribute(label)}" viewBox="0 0 {wide:.0f} {high:.0f}" '
        f'width="{wide:.0f}" height="{high:.0f}">{sheet}{body}</svg>'
    )


def _rules(colours: Mapping[Ink, str]) -> str:
    inks = "".join(f".fk .{ink.value}{{fill:{colour}}}" for ink, colour in colours.items())
    return inks + f".fk .over{{fill:{'#ffffff' if colours is LIGHT else '#0d1117'}}}"


def _line(line: Line, row: int) -> str:
    parts: list[str] = []
    at = 0
    for span in line:
        cells = width_of(span.text)
        if span.text.strip():
            parts += _span(span, at, row, cells)
        at += cells
    return "".join(parts)


def _span(span: Span, at: int, row: int, cells: int) -> list[str]:
    y = row * HEIGHT
    out: list[str] = []
    if span.over is not None:
        out.append(_rect(span.over.value, at * CELL, y, cells * CELL, HEIGHT))
    for char, run in groupby(_placed(span.text, at), key=lambda placed: _kind(placed[1])):
        placed = list(run)
        first = placed[0][0]
        text = "".join(char for _, char in placed)
        if char == " ":
            continue
        x, wide = first * CELL, width_of(text) * CELL
        if char in RULES:
            out += [_part(span.ink.value, column * CELL, y, box) for column, _ in placed
                    for box in RULES[char]]  # fmt: skip
            continue
        shape = SHAPES.get(char)
        if shape is None:
            out.append(
                f'<text class="{span.ink.value}" x="{x:.1f}" y="{y + _BASE:.1f}" '
                f'textLength="{wide:.1f}" lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
            )
        else:
            top, high, opacity = shape
            out.append(
                _rect(span.ink.value, x, y + top * HEIGHT, wide, high * HEIGHT, opacity=opacity)
            )
    return out


def _placed(text: str, at: int) -> Iterator[tuple[int, str]]:
    """Yield each character with its column."""
    for char in text:
        yield at, char
        at += char_width(char)


def _kind(char: str) -> str:
    """Return what runs of equal characters are drawn as one of: a block, a space, or text."""
    return char if char in SHAPES or char in RULES or char == " " else ""


def _part(ink: str, x: float, y: float, box: tuple[float, float, float, float]) -> str:
    left, top, wide, high = box
    return _rect(ink, x + left * CELL, y + top * HEIGHT, wide * CELL, high * HEIGHT)


def _rect(ink: str, x: float, y: float, wide: float, high: float, *, opacity: float = 1) -> str:
    faint = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
    return (
        f'<rect class="{ink}" x="{x:.1f}" y="{y:.2f}" width="{wide:.1f}" '
        f'height="{high:.2f}"{faint}/>'
    )


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;", "'": "&#39;"})
