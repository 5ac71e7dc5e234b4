"""Names as paths."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forkmon.stats.names import ancestors, natural_key, tree_key

part = st.text(st.sampled_from("ab01.９"), max_size=6)


def test_numbers_inside_names_sort_as_numbers() -> None:
    """Layer 2 comes before layer 10."""
    names = ["h.10.w", "h.2.w", "h.1.w", "h.2.b"]
    assert sorted(names, key=natural_key) == ["h.1.w", "h.2.b", "h.2.w", "h.10.w"]


def test_ancestors_run_from_the_model_inwards() -> None:
    """A tensor is held by the model and by each of its path's prefixes."""
    assert list(ancestors("h.0.attn.weight")) == ["", "h", "h.0", "h.0.attn"]
    assert list(ancestors("weight")) == [""]


@given(st.lists(part, max_size=12))
def test_every_block_stands_together_in_tree_order(names: list[str]) -> None:
    """Sorted by tree key, the tensors of one block are never interrupted by another's."""
    ordered = sorted(names, key=tree_key)
    for block in {b for name in names for b in ancestors(name)}:
        inside = [block in set(ancestors(name)) for name in ordered]
        if True in inside:
            first = inside.index(True)
            last = len(inside) - inside[::-1].index(True)
            assert all(inside[first:last])
