"""Answers about files, asked again only for files that changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from forkmon.formats.opening import file_print
from forkmon.runs.looking import Stats
from forkmon.runs.refs import FilePrint

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """A function of a file's content that is evaluated once for each content."""

    def __init__(self, ask: Callable[[Path], Value], stats: Stats) -> None:
        self._ask = ask
        self._stats = stats
        self._known: dict[Path, tuple[FilePrint, Value]] = {}
        self._asked: set[Path] = set()

    def __call__(self, path: Path) -> Value:
        """Return the answer for a file as it is now."""
        self._asked.add(path)
        found = self._stats.of(path)
        if isinstance(found, OSError):
            self._known.pop(path, None)
            return self._ask(path)
        mark = file_print(path.name, found)
        known = self._known.get(path)
        if known is None or known[0] != mark:
            known = self._known[path] = (mark, self._ask(path))
        return known[1]

    def drop_unasked(self) -> None:
        """Forget the files that nobody asked about since the last call: they are gone."""
        for path in self._known.keys() - self._asked:
            del self._known[path]
        self._asked.clear()
