"""The help: every action, generated from the table of actions and the user's keymap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.draw.cells import pad
from forkmon.draw.ink import Ink, Line, Span
from forkmon.tui.actions import ACTIONS, GROUPS, shown_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkmon.draw.glyphs import Glyphs

TWO_COLUMNS = 90


def help_lines(overrides: Mapping[str, str], width: int, glyphs: Glyphs) -> list[Line]:
    """Return the help for a width: keys by what they are for, then what the signs mean."""
    blocks = [_group(group, overrides) for group in GROUPS]
    lines: list[Line] = []
    if width >= TWO_COLUMNS:
        half = width // 2
        left, right = _balanced(blocks)
        for i in range(max(len(left), len(right))):
            first = left[i] if i < len(left) else ()
            used = sum(len(span.text) for span in first)
            second = right[i] if i < len(right) else ()
            lines.append((*first, Span(" " * max(1, half - used)), *second))
    else:
        for block in blocks:
            lines += [*block, ()]
    return [*lines, *_legend(glyphs)]


def _group(group: str, overrides: Mapping[str, str]) -> list[Line]:
    lines: list[Line] = [(Span(next(h for g, h in GROUPS.items() if g == group), Ink.TITLE),)]
    for action in ACTIONS:
        if action.group == group:
            keys = pad(shown_keys(action, overrides), 12)
            lines.append((Span(f" {keys}", Ink.ACCENT), Span(action.does)))
    return lines


def _balanced(blocks: list[list[Line]]) -> tuple[list[Line], list[Line]]:
    total = sum(len(block) + 1 for block in blocks)
    left: list[Line] = []
    right: list[Line] = []
    for block in blocks:
        side = left if len(left) + len(block) <= total / 2 + 3 and not right else right
        side += [*block, ()]
    return left, right


def _legend(glyphs: Glyphs) -> list[Line]:
    return [
        (
            Span(f"{glyphs.info} info", Ink.INFO),
            Span(f"   {glyphs.warn} warning", Ink.WARN),
            Span(f"   {glyphs.error} error", Ink.ERROR),
            Span(f"   {glyphs.nothing} nothing", Ink.MUTED),
            Span("   a block shows the worst of what is below it"),
        ),
        (
            Span(f"{glyphs.full} current step", Ink.ACCENT),
            Span(f"   {glyphs.baseline_sign} baseline", Ink.BASELINE),
            Span("   densities are shares per unit of value", Ink.MUTED),
        ),
    ]
