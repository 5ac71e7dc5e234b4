"""Drawings as SVG: well-formed, of the right size, hostile text shown and not obeyed."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from forkmon.draw.cells import width as width_of
from forkmon.draw.ink import Ink, Span
from forkmon.draw.svg import CELL, HEIGHT, style, svg
from forkmon.text import safe

NAMES = {"s": "http://www.w3.org/2000/svg"}
SPAN = st.builds(
    Span,
    st.text(st.characters(), max_size=12).map(safe) | st.text("░▒▓█▀▄▁▅─│┤┬└ ab<&", max_size=12),
    st.sampled_from(Ink),
    st.none() | st.sampled_from(Ink),
)


@given(st.lists(st.lists(SPAN, max_size=4).map(tuple), max_size=5), st.text(max_size=20).map(safe))
def test_any_lines_are_well_formed(lines: list[tuple[Span, ...]], label: str) -> None:
    """Any text, markup characters included, gives XML of the size of the lines."""
    root = ET.fromstring(svg(lines, label=label, styled=True))  # noqa: S314 -- our own
    columns = max((sum(width_of(s.text) for s in line) for line in lines), default=0)
    assert root.get("width") == f"{columns * CELL:.0f}"
    assert root.get("height") == f"{len(lines) * HEIGHT:.0f}"
    assert root.get("aria-label") == label


def test_a_block_is_a_rectangle_of_its_height() -> None:
    """Three quarters of a cell stand on the cell's foot, in the colour of their ink."""
    root = ET.fromstring(svg([(Span("  ▆▆", Ink.ACCENT),)], label="x"))  # noqa: S314
    (box,) = root.findall("s:rect", NAMES)
    assert box.get("class") == "accent"
    assert float(box.get("x") or 0) == round(2 * CELL, 1)
    assert float(box.get("width") or 0) == round(2 * CELL, 1)
    assert float(box.get("height") or 0) == round(HEIGHT * 0.75, 2)
    assert float(box.get("y") or 0) == round(HEIGHT * 0.25, 2)


def test_words_stand_in_their_columns() -> None:
    """Each word begins at its own column, whatever came before it."""
    root = ET.fromstring(svg([(Span("a  <b> & "),)], label="x"))  # noqa: S314
    found = [(text.text, float(text.get("x") or 0)) for text in root.findall("s:text", NAMES)]
    assert found == [("a", 0.0), ("<b>", round(3 * CELL, 1)), ("&", round(7 * CELL, 1))]


def test_every_ink_has_a_colour_in_both_lights() -> None:
    """No ink falls back to black on black."""
    assert all(style().count(f".{ink.value}{{fill:") == 2 for ink in Ink)
