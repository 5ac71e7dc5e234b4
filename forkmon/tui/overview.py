"""The overview's rows: tensors of one role together, by layer; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.stats.names import natural_key, split_role
from forkmon.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkmon.text import SafeText
    from forkmon.tui.tree_model import Tree

MOST_ROWS = 4_000
"""Tensors in the map; a filter chooses among more."""


@dataclass(frozen=True, slots=True)
class MapRow:
    """One tensor's place in the map."""

    node: int
    """Its row in the tree."""
    entry: int
    """Its id in the store."""
    path: str
    role: SafeText
    """What it has in common with the same tensor of other layers: the name without numbers."""
    layer: SafeText
    """Its numbers, outermost first; its name where it has none."""


def map_rows(tree: Tree, shown: Iterable[int]) -> tuple[MapRow, ...]:
    """Return the tensors among some tree rows, those of one role together, in layer order."""
    rows: list[tuple[object, MapRow]] = []
    for index in shown:
        node = tree.nodes[index]
        if not tree.is_leaf(index) or node.entry is None:
            continue
        role, layer = split_role(node.path)
        key = (natural_key(role), natural_key(layer))
        rows.append((key, MapRow(index, node.entry, node.path, safe(role), safe(layer))))
    rows.sort(key=lambda item: item[0])  # type: ignore[arg-type, return-value]
    return tuple(row for _, row in rows[:MOST_ROWS])


def row_of(rows: Sequence[MapRow], path: str) -> int:
    """Return the row of a tensor, or the first below a block; 0 where there is none."""
    for index, row in enumerate(rows):
        if row.path == path:
            return index
    prefix = f"{path}."
    return next((i for i, row in enumerate(rows) if row.path.startswith(prefix)), 0)
