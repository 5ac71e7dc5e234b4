"""safe(): nothing that a terminal obeys or an eye misses comes out."""

from __future__ import annotations

import os
import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forkmon.text import LIMIT, safe

ANY = st.text(st.characters(), max_size=400)
"""Any code points, surrogates, controls and unassigned ones included."""

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=LIMIT)


@given(text=ANY, limit=st.integers(0, 60))
@example("a\x1b[2Jb", 200)
@example("\u202etxt.exe", 200)
@example("e" + "\u0301" * 500, 200)
@example("\ufe0f" * 9, 8)
def test_only_visible_characters_come_out(text: str, limit: int) -> None:
    """No control, format, surrogate, private or unassigned character, within the limit."""
    shown = safe(text, limit)
    assert len(shown) <= limit
    for char in shown:
        assert unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        assert char == " " or unicodedata.category(char) != "Zs"
    assert not shown or unicodedata.category(shown[0])[0] != "M"
    shown.encode("utf-8")


@given(text=PRINTABLE)
def test_printable_ascii_is_unchanged(text: str) -> None:
    """What is harmless is left alone."""
    assert safe(text) == text


@given(text=ANY)
def test_safe_text_is_a_fixed_point(text: str) -> None:
    """Sanitising twice is sanitising once."""
    once = safe(text)
    assert safe(once) == once


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("h.0.attn\x1b[2J", r"h.0.attn\u{1b}[2J"),
        ("\x9b31m", r"\u{9b}31m"),
        ("a\nb\tc\r", r"a\u{a}b\u{9}c\u{d}"),
        ("\u202egnp", r"\u{202e}gnp"),
        ("a\u200bb", r"a\u{200b}b"),
        ("a\u3000b\u00a0c", r"a\u{3000}b\u{a0}c"),
        ("\u3164", r"\u{3164}"),
        ("\u2800", r"\u{2800}"),
        ("\U000e0041", r"\u{e0041}"),
        ("\u0301abc", r"\u{301}abc"),
        ("größe.日本", "größe.日本"),
        ("[@click=app.quit]x[/]", "[@click=app.quit]x[/]"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    """Escapes are visible and name the code point; letters of any script stay."""
    assert safe(text) == shown


def test_file_names_that_are_no_utf8() -> None:
    """A byte that is no UTF-8 in a file name shows as an escape, and the result encodes."""
    assert safe(os.fsdecode(b"run\xff.safetensors")) == r"run\u{dcff}.safetensors"


def test_zalgo_is_cut() -> None:
    """At most four marks stand on one letter."""
    assert safe("Z" + "\u0336" * 90 + "a") == "Z" + "\u0336" * 4 + "a"


@pytest.mark.parametrize("unit", ["x", "é", "\x00", "e\u0301", "\u0301", "日"])
def test_two_million_characters_are_cheap_and_keep_both_ends(unit: str) -> None:
    """The cost of a huge name is bounded by the limit; its start and its end are shown."""
    text = "start." + unit * 2_000_000 + ".end"
    began = time.process_time()
    shown = safe(text)
    assert time.process_time() - began < 1.0
    assert shown.startswith("start.")
    assert shown.endswith(".end")
    assert len(shown) <= LIMIT


def test_cut_names_keep_their_endings_apart() -> None:
    """Long names that end differently look different; an escape is never cut in two."""
    long = "层." * 300
    assert safe(long + "weight") != safe(long + "bias")
    assert safe("\x00" * 9, 12) == r"\u{0}…\u{0}"
