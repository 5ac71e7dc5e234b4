"""Tensor names as the rows of a tree: natural order, numbered blocks, short labels; pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

from forkmon.stats.names import ROOT, natural_key
from forkmon.text import SafeText, safe

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

LARGE_CONTAINER = 16
"""A container of more tensors than this gets a row of its own, numbered or not."""


class Entry(Protocol):
    """What the tree needs to know of a tensor or block; the store's entries are of this kind."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def role(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Node:
    """One row of the tree when everything is open."""

    path: str
    label: SafeText
    full: SafeText
    """The whole name, for flat lists and titles."""
    depth: int
    parent: int
    """Index of the parent; -1 for the root."""
    end: int
    """Index after the last row below this one; a leaf's is its own index + 1."""
    entry: int | None
    """Id of the tensor or block in the store."""
    numbered: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """Every row in display order, each subtree one contiguous run."""

    nodes: tuple[Node, ...]
    index: Mapping[str, int]
    """Path -> row, also of containers that were flattened away (their nearest shown ancestor)."""
    tensors: int

    def is_leaf(self, index: int) -> bool:
        """Tell whether a row is a tensor."""
        return self.nodes[index].end == index + 1

    def initially_closed(self) -> frozenset[str]:
        """Return the paths of numbered blocks: a model opens with these closed."""
        return frozenset(n.path for i, n in enumerate(self.nodes) if n.numbered and n.end > i + 1)

    def ancestors(self, index: int) -> Iterable[int]:
        """Yield the rows above a row, nearest first."""
        parent = self.nodes[index].parent
        while parent >= 0:
            yield parent
            parent = self.nodes[parent].parent


EMPTY = Tree(nodes=(), index={}, tensors=0)


def branches(entries: Iterable[Entry]) -> dict[str, str]:
    """Return the path under which each role's tensors stand; the model's stand at the root.

    It is the role's name, unless a part of the model is called so too.
    """
    roles = {entry.role for entry in entries} - {"model"}
    taken = {entry.name.partition(".")[0] for entry in entries if entry.role == "model"}
    return {role: f"({role})" if role in taken else role for role in sorted(roles)}


def key_of(entry: Entry, branch: Mapping[str, str]) -> str:
    """Return the path of an entry: its name, under the branch of its role."""
    if entry.role not in branch:
        return entry.name
    return f"{branch[entry.role]}.{entry.name}" if entry.name else branch[entry.role]


def build(entries: Sequence[Entry], title: str) -> Tree:
    """Return the tree of the tensors among `entries`; blocks lend their ids to inner rows."""
    branch = branches(entries)
    blocks = {key_of(e, branch): e.id for e in entries if e.kind == "block"}
    tensors = {key_of(e, branch): e.id for e in entries if e.kind != "block"}
    if not tensors:
        return EMPTY
    extra = {key_of(e, branch) for e in entries if e.kind != "block" and e.role in branch}
    part_key = cache(natural_key)  # few parts make many names
    names = sorted(
        tensors, key=lambda name: (name in extra, [part_key(part) for part in name.split(".")])
    )
    shown = _shown_containers(names)
    if len(extra) < len(names):
        shown |= set(branch.values())
    drafts = _drafts(names, shown, tensors, blocks, title)
    for draft in drafts:
        draft.numbered |= draft.path in branch.values()  # another role's tensors open closed
    nodes = _with_ends(drafts)
    index: dict[str, int] = {}
    for i, node in enumerate(nodes):
        index.setdefault(node.path, i)  # a tensor without a name must not hide the root
    for path in blocks:
        index.setdefault(path, _nearest(path, index))
    return Tree(nodes=tuple(nodes), index=index, tensors=len(names))


def _shown_containers(names: Sequence[str]) -> set[str]:
    """Return the containers that get a row: numbered ones, what holds them, and large ones."""
    sizes: dict[str, int] = {}
    numbered: dict[str, str] = {}
    for name in names:
        parts = name.split(".")
        path = ""
        for depth, part in enumerate(parts[:-1]):
            path = f"{path}.{part}" if depth else part
            sizes[path] = sizes.get(path, 0) + 1
            if part.isdecimal():
                numbered[path] = name
    shown = {path for path, size in sizes.items() if size > LARGE_CONTAINER}
    for path, name in numbered.items():
        if sizes[path] > 1 or name != f"{path}.weight":
            shown.add(path)
        while "." in path:
            path = path.rpartition(".")[0]  # noqa: PLW2901 - climbs to the root
            if path in shown:
                break
            shown.add(path)
    return _without_lone_chains(shown, names)


def _without_lone_chains(shown: set[str], names: Sequence[str]) -> set[str]:
    """Drop a container whose only row would be another container: `model.layers` is one row."""
    below: dict[str, set[str]] = {}
    for name in names:
        path, last = name, name
        while path:
            path = path.rpartition(".")[0]
            if path in shown:
                below.setdefault(path, set()).add(last)
                last = path
    return {p for p in shown if len(below[p]) > 1 or not below[p] <= shown}


@dataclass(slots=True)
class _Draft:
    path: str
    label: str
    depth: int
    parent: int
    entry: int | None
    numbered: bool


def _drafts(
    names: Sequence[str],
    shown: Collection[str],
    tensors: Mapping[str, int],
    blocks: Mapping[str, int],
    title: str,
) -> list[_Draft]:
    siblings = _parameters_of_modules(names)
    drafts = [_Draft(ROOT, title, 0, -1, blocks.get(ROOT), numbered=False)]
    open_rows: list[int] = [0]
    for name in names:
        while len(open_rows) > 1 and not name.startswith(drafts[open_rows[-1]].path + "."):
            open_rows.pop()
        for path in _prefixes(name, drafts[open_rows[-1]].path):
            if path in shown:
                above = drafts[open_rows[-1]]
                label = _below(path, above.path)
                numbered = path.rpartition(".")[2].isdecimal()
                drafts.append(
                    _Draft(path, label, above.depth + 1, open_rows[-1], blocks.get(path), numbered)
                )
                open_rows.append(len(drafts) - 1)
        above = drafts[open_rows[-1]]
        module, _, last = name.rpartition(".")
        lone = last == "weight" and module != above.path and siblings.get(module) == 1
        label = _below(module if lone else name, above.path)
        drafts.append(_Draft(name, label, above.depth + 1, open_rows[-1], tensors[name], False))
    return drafts


def _parameters_of_modules(names: Iterable[str]) -> dict[str, int]:
    """Count what is below each tensor's module, so that a lone `.weight` can be dropped."""
    counts: dict[str, int] = {}
    modules = {name.rpartition(".")[0] for name in names}
    for name in names:
        path = name
        while path:
            path = path.rpartition(".")[0]
            if path in modules:
                counts[path] = counts.get(path, 0) + 1
    return counts


def _prefixes(name: str, above: str) -> Iterable[str]:
    """Yield the containers of a name below `above`, outermost first."""
    end = name.find(".", len(above) + 1 if above else 0)
    while end != -1:
        yield name[:end]
        end = name.find(".", end + 1)


def _below(path: str, above: str) -> str:
    return path[len(above) + 1 :] if above else path


def _with_ends(drafts: Sequence[_Draft]) -> list[Node]:
    ends = list(range(1, len(drafts) + 1))
    for i in range(len(drafts) - 1, 0, -1):
        parent = drafts[i].parent
        ends[parent] = max(ends[parent], ends[i])
    return [
        Node(
            path=d.path,
            label=safe(d.label) or safe("(no name)"),
            full=safe(d.path or d.label),
            depth=d.depth,
            parent=d.parent,
            end=end,
            entry=d.entry,
            numbered=d.numbered,
        )
        for d, end in zip(drafts, ends, strict=True)
    ]


def _nearest(path: str, index: Mapping[str, int]) -> int:
    while path and path not in index:
        path = path.rpartition(".")[0]
    return index.get(path, 0)
