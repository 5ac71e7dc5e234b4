"""How the screen is divided at a size; pure."""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST = (60, 15)
"""Below this many columns or rows there is a notice instead of a screen."""

TALL = 30
"""From this many rows on, the alerts get a list with a title instead of one line."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Cells given to each part; 0 hides it."""

    tree: int
    """Columns of the layer tree; the panel has what is left."""
    alerts: int
    """Rows of the alerts pane."""
    alerts_titled: bool
    details: int
    """Rows of numbers under the panel."""
    compact: bool
    """Few columns: short words, narrow numbers."""


def fits(width: int, height: int) -> bool:
    """Tell whether the screen can be drawn at all."""
    return width >= SMALLEST[0] and height >= SMALLEST[1]


def divide(width: int, height: int, *, alerts: int, zoom: bool, metrics: bool) -> Plan:
    """Return the division of a screen of `width` x `height` cells with so many alerts to list."""
    tall = height >= TALL
    listed = 1 + max(1, min(alerts, max(2, height // 8))) if tall else 1
    details = (4 if metrics else 3) if tall else 2 if height >= 20 else 1
    return Plan(
        tree=0 if zoom else _tree_width(width),
        alerts=0 if zoom else listed,
        alerts_titled=tall,
        details=details,
        compact=width < 100,
    )


def _tree_width(width: int) -> int:
    """Return 28 columns at 60, 36 at 80, 44 at 120, never more than 46: the panel gets the rest."""
    if width < 80:
        return max(28, 36 - 2 * (80 - width) // 5)
    return min(46, 36 + (width - 80) // 5)
