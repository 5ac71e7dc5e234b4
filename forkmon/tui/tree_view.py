"""Which rows of the tree are to be seen: open blocks, the filter, alerts, sorting; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.stats.alert import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from forkmon.stats.alert import Alert
    from forkmon.tui.tree_model import Tree


@dataclass(frozen=True, slots=True)
class Row:
    """One visible row."""

    node: int
    """Index into the tree's nodes."""
    depth: int
    opened: bool | None
    """None for a tensor, else whether the block is open."""
    full: bool = False
    """Show the whole name: the list is flat."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a person typed after `/`, understood."""

    text: str
    matches: Callable[[str], bool]
    problem: str = ""
    """Why the text is no regular expression; it is then taken literally."""


def pattern(text: str) -> Pattern | None:
    """Return the filter that `text` asks for; None for no text."""
    bare = text.strip()
    if bare in ("", "!", "~"):
        return None
    if bare.startswith("~"):
        return Pattern(text, _fuzzy(bare[1:].strip().lower()))
    inverse = bare.startswith("!")
    wanted = bare[1:].strip() if inverse else bare
    problem = ""
    try:
        search = re.compile(wanted, re.IGNORECASE).search
    except (re.error, RecursionError, OverflowError) as error:
        problem = f"taken literally: {error}"
        search = re.compile(re.escape(wanted), re.IGNORECASE).search
    if inverse:
        return Pattern(text, lambda name: search(name) is None, problem)
    return Pattern(text, lambda name: search(name) is not None, problem)


def _fuzzy(wanted: str) -> Callable[[str], bool]:
    def matches(name: str) -> bool:
        rest = iter(name.lower())
        return all(char in rest for char in wanted)

    return matches


def row_of(tree: Tree, name: str) -> int | None:
    """Return the row of what an alert names: a path, or `role:name` for other roles' tensors."""
    role, colon, rest = name.partition(":")
    ways = (name, f"{role}.{rest}", f"({role}).{rest}") if colon else (name,)
    return next((tree.index[way] for way in ways if way in tree.index), None)


def severities(tree: Tree, alerts: Iterable[Alert]) -> dict[int, Severity]:
    """Return the worst severity of every row, what is below it included."""
    worst: dict[int, Severity] = {}
    for alert in alerts:
        if alert.tensor is None or not tree.nodes:
            continue
        row = row_of(tree, alert.tensor)
        if row is None:
            continue
        for index in (row, *tree.ancestors(row)):
            worst[index] = max(worst.get(index, Severity.INFO), alert.severity)
    return worst


def visible(
    tree: Tree, closed: frozenset[str], keep: Callable[[int], bool] | None = None
) -> list[Row]:
    """Return the rows to show; with `keep`, matching tensors and what holds them, all open."""
    if keep is not None:
        return _kept(tree, keep)
    rows: list[Row] = []
    i = 0
    nodes = tree.nodes
    while i < len(nodes):
        node = nodes[i]
        leaf = node.end == i + 1
        is_open = node.path not in closed
        rows.append(Row(i, node.depth, None if leaf else is_open))
        i = i + 1 if leaf or is_open else node.end
    return rows


def _kept(tree: Tree, keep: Callable[[int], bool]) -> list[Row]:
    wanted: set[int] = set()
    for i in range(len(tree.nodes)):
        if tree.is_leaf(i) and keep(i):
            wanted.add(i)
            for above in tree.ancestors(i):
                if above in wanted:
                    break
                wanted.add(above)
    return [Row(i, tree.nodes[i].depth, None if tree.is_leaf(i) else True) for i in sorted(wanted)]


def ranked(
    tree: Tree,
    rank: Mapping[int, float | None],
    *,
    reverse: bool,
    keep: Callable[[int], bool] | None = None,
) -> list[Row]:
    """Return the tensors as a flat list, largest rank first; those without a number go last."""
    numbered: list[tuple[float, int]] = []
    without: list[int] = []
    for i, node in enumerate(tree.nodes):
        if not tree.is_leaf(i) or node.entry is None or (keep is not None and not keep(i)):
            continue
        value = rank.get(node.entry)
        if value is None:
            without.append(i)
        else:
            numbered.append((value if reverse else -value, i))
    order = [i for _, i in sorted(numbered)] + without
    return [Row(i, 0, None, full=True) for i in order]


def abnormality(
    tree: Tree, worst: Mapping[int, Severity], changes: Mapping[int, float | None]
) -> dict[int, float | None]:
    """Return how much each row is worth a look: its worst alert, then its change; by entry."""
    found: dict[int, float | None] = {}
    for index, node in enumerate(tree.nodes):
        if node.entry is not None:
            change = changes.get(node.entry) or 0.0
            found[node.entry] = int(worst.get(index, 0)) + change / (1.0 + change)
    return found


def reversed_siblings(tree: Tree, rows: Sequence[Row]) -> list[Row]:
    """Return the rows with every block's children in reverse order, each below its parent."""
    below: dict[int, list[Row]] = {}
    for row in rows:
        below.setdefault(tree.nodes[row.node].parent, []).append(row)
    out: list[Row] = []
    pending = list(below.get(-1, ()))
    while pending:
        row = pending.pop()
        out.append(row)
        pending.extend(below.get(row.node, ()))
    return out


def find(rows: Sequence[Row], node: int) -> int | None:
    """Return the position of a node among the rows, if it is visible."""
    return next((i for i, row in enumerate(rows) if row.node == node), None)
