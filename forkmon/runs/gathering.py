"""The names of everything below a directory, within bounds: some checkpoints are whole trees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forkmon.runs.contents import is_temporary
from forkmon.runs.looking import Look, Looker

DEPTH = 3
"""Levels of directories looked into below a checkpoint's own."""
TREE_DEPTH = 12
"""Levels where a file is saved for each parameter, in directories named after its modules."""
NAME_CAP = 60_000
"""Names gathered of one checkpoint; more than that is none."""
_TREES = frozenset({"model_config.json", "checkpoint_metadata.json"})
"""Nanotron's; either is there while the other is written."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """The names below a directory, relative to it, and the looks that they were told from."""

    names: frozenset[str]
    looks: tuple[tuple[Path, Look], ...]
    capped: bool = False

    def unchanged(self, looker: Looker, *, first: int) -> bool:
        """Return whether the first so many directories still hold what they held."""
        return all(looker.look(path) is look for path, look in self.looks[:first])


def gather(directory: Path, looker: Looker) -> Gathered:
    """Return the names of the files in and below a directory; links in it are not followed."""
    top = looker.look(directory)
    depth = TREE_DEPTH if top.names & _TREES else DEPTH
    names: set[str] = set()
    looks: list[tuple[Path, Look]] = []
    left = [("", directory, 0)]
    for prefix, path, level in left:
        look = looker.look(path)
        looks.append((path, look))
        for entry in look.entries:
            if entry.is_link or is_temporary(entry.name):
                continue
            if entry.is_dir and level < depth:
                left.append((f"{prefix}{entry.name}/", path / entry.name, level + 1))
            elif not entry.is_dir:
                names.add(prefix + entry.name)
        if look.capped or len(names) + len(left) > NAME_CAP:
            return Gathered(frozenset(names), tuple(looks), capped=True)
    return Gathered(frozenset(names), tuple(looks))
