"""The tree of tensor names: what is a row, what it is called, what a filter finds."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.stats.alert import Alert, Severity
from forkmon.tui import tree_model, tree_view
from forkmon.tui.widgets.layer_tree import window


@dataclass(frozen=True)
class Entry:
    """A tensor or block of the store."""

    id: int
    name: str
    kind: str = "tensor"
    role: str = "model"


def tree_of(*names: str) -> tree_model.Tree:
    """Return the tree of some tensors, ids in the order given."""
    return tree_model.build([Entry(i, name) for i, name in enumerate(names)], "net")


def shown(tree: tree_model.Tree, closed: frozenset[str] = frozenset()) -> list[str]:
    """Return the visible rows as indented labels."""
    rows = tree_view.visible(tree, closed)
    return ["  " * row.depth + tree.nodes[row.node].label for row in rows]


def test_a_transformer_reads_like_the_sketch() -> None:
    """Numbered blocks are rows, what is inside them is flat, a lone weight needs no name."""
    tree = tree_of(
        "blocks.0.attn.q.weight",
        "blocks.0.mlp.in.weight",
        "blocks.0.mlp.in.bias",
        "blocks.10.ln.weight",
        "blocks.2.ln.weight",
        "blocks.2.mlp.weight",
        "embed.weight",
    )
    assert shown(tree) == [
        "net",
        "  blocks",
        "    0",
        "      attn.q",
        "      mlp.in.bias",
        "      mlp.in.weight",
        "    2",
        "      ln",
        "      mlp",
        "    10",
        "      ln",
        "  embed",
    ]


def test_numbered_blocks_are_closed_at_first() -> None:
    """A model opens as its outline: blocks closed, everything else open."""
    tree = tree_of("h.0.a.weight", "h.0.b.weight", "h.1.a.weight", "h.1.b.weight", "e.weight")
    assert shown(tree, tree.initially_closed()) == ["net", "  e", "  h", "    0", "    1"]


def test_a_chain_of_containers_is_one_row() -> None:
    """`model.layers` is one row where `model` holds nothing else."""
    tree = tree_of(*(f"model.layers.{i}.{part}.weight" for i in range(3) for part in "ab"))
    assert shown(tree, tree.initially_closed()) == [
        "net",
        "  model.layers",
        "    0",
        "    1",
        "    2",
    ]


def test_the_filter_reaches_closed_blocks() -> None:
    """Matches show with what holds them, however closed that is."""
    tree = tree_of("h.0.a.weight", "h.0.b.weight", "h.1.a.weight", "h.1.b.weight")
    found = tree_view.pattern(r"1\.b")
    assert found is not None
    rows = tree_view.visible(
        tree, tree.initially_closed(), lambda i: found.matches(tree.nodes[i].path)
    )
    assert [tree.nodes[row.node].label for row in rows] == ["net", "h", "1", "b"]


@pytest.mark.parametrize(
    ("text", "name", "matches"),
    [
        ("attn", "h.0.ATTN.q", True),
        ("!attn", "h.0.attn.q", False),
        ("!attn", "h.0.mlp", True),
        ("~h0q", "h.0.attn.q", True),
        ("~qh", "h.0.attn.q", False),
        ("(", "a(b", True),
        ("(", "ab", False),
    ],
)
def test_filters_are_regex_inverse_fuzzy_or_literal(text: str, name: str, *, matches: bool) -> None:
    """A text that is no regular expression is taken literally."""
    found = tree_view.pattern(text)
    assert found is not None
    assert found.matches(name) is matches


@pytest.mark.parametrize("text", ["", "  ", "!", "~"])
def test_an_empty_filter_is_none(text: str) -> None:
    """A sign alone filters nothing."""
    assert tree_view.pattern(text) is None


def test_severity_bubbles_up() -> None:
    """A row shows the worst of what is below it."""
    tree = tree_of("h.0.a.weight", "h.0.b.weight", "h.1.a.weight", "h.1.b.weight")
    worst = tree_view.severities(
        tree,
        [
            Alert("A", Severity.INFO, "h.0.a.weight", 1, 1, ""),
            Alert("B", Severity.ERROR, "h.1.b.weight", 1, 1, ""),
            Alert("C", Severity.WARN, None, 1, 1, ""),
            Alert("D", Severity.WARN, "no.such.tensor", 1, 1, ""),
        ],
    )
    by_label = {tree.nodes[i].path: severity for i, severity in worst.items()}
    assert by_label == {
        "h.0.a.weight": Severity.INFO,
        "h.0": Severity.INFO,
        "h.1.b.weight": Severity.ERROR,
        "h.1": Severity.ERROR,
        "h": Severity.ERROR,
        "": Severity.ERROR,
    }


def test_ranking_is_flat_and_puts_missing_numbers_last() -> None:
    """Sorting by a number lists tensors only, largest first; reversed, smallest first."""
    tree = tree_of("a.weight", "b.weight", "c.weight")
    rank = {0: 1.0, 1: None, 2: 3.0}
    order = [tree.nodes[r.node].path for r in tree_view.ranked(tree, rank, reverse=False)]
    assert order == ["c.weight", "a.weight", "b.weight"]
    order = [tree.nodes[r.node].path for r in tree_view.ranked(tree, rank, reverse=True)]
    assert order == ["a.weight", "c.weight", "b.weight"]


NAME = st.text(alphabet="ab01.\x1b[/]", max_size=12)


@given(names=st.lists(NAME, max_size=20, unique=True), closed=st.sets(NAME))
def test_any_names_make_a_tree(names: list[str], closed: set[str]) -> None:
    """Every tensor has exactly one row; subtrees are contiguous; labels hold no controls."""
    tree = tree_model.build([Entry(i, name) for i, name in enumerate(names)], "net")
    leaves = [tree.nodes[i].entry for i in range(len(tree.nodes)) if tree.is_leaf(i)]
    assert sorted(entry for entry in leaves if entry is not None) == list(range(len(names)))
    for i, node in enumerate(tree.nodes):
        assert i < node.end <= len(tree.nodes)
        assert node.label.isprintable()
        assert node.full.isprintable()
        if node.parent >= 0:
            assert node.parent < i < tree.nodes[node.parent].end
            assert tree.nodes[node.parent].depth == node.depth - 1
    rows = tree_view.visible(tree, frozenset(closed))
    assert [row.node for row in rows] == sorted({row.node for row in rows})


@given(
    total=st.integers(0, 500),
    top=st.integers(-5, 600),
    cursor=st.integers(0, 499),
    height=st.integers(0, 60),
)
def test_the_window_always_shows_the_cursor(total: int, top: int, cursor: int, height: int) -> None:
    """Whatever was on screen, the cursor's row is, and no more rows than there is room for."""
    cursor = min(cursor, max(0, total - 1))
    first, shown_rows = window(total, top, cursor, height)
    assert first >= 0
    assert first + shown_rows <= total
    more = 1 if first + shown_rows < total and height > 1 else 0
    assert shown_rows + more <= height
    if total and height:
        assert first <= cursor < first + shown_rows
