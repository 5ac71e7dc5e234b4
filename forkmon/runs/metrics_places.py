"""Where trainers leave their logs: in the run, in usual directories beside its checkpoints."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forkmon.runs.metrics_events import EventLog
from forkmon.runs.metrics_text import TextLog
from forkmon.runs.steps import from_name
from forkmon.stats.names import natural_key

DEEPEST = 4
"""Directories below a place that are looked into."""

MOST_DIRECTORIES = 200
MOST_ENTRIES = 5_000
MOST_FILES = 200
"""A search never costs more than this, whatever the directory."""

_EVENTS = re.compile(r"events\.out\.tfevents\.([0-9]{1,12})")
_TEXTS = re.compile(
    r"(?:.*[-_.])?(?:metrics?|logs?|history|results|summary|progress|loss(?:es)?)\.(?:csv|tsv|jsonl|ndjson)"
    r"|(?:metrics|scalars|log)\.json|.*\.log\.json"
)
_HOLDS_CHECKPOINTS = re.compile(
    r"checkpoints?|ckpts?|weights|models?|snapshots?|model_checkpoints?"
)
_HOLDS_LOGS = re.compile(
    r"runs|logs?|.*lightning_logs|version_[0-9]+|tensorboard(?:_?logs?)?|tb(?:_?logs?)?"
    r"|tf_?(?:events|logs?)|events|summar(?:y|ies)|vis_data|metrics|csv(?:_?logs?)?|[0-9]{8}_[0-9]{6}"
    r"|train(?:ing)?|val(?:id|idation)?|eval(?:uation)?|test|rank_?0"
)
_HOLDS_NONE = re.compile(r"wandb|mlruns|code|configs?|data(?:sets?)?|__pycache__|venv|node_modules")
_WRITER = re.compile(r"train(?:ing)?|val(?:id|idation)?|eval(?:uation)?|test")


@dataclass(frozen=True, slots=True)
class Place:
    """A log, and what tells its numbers from equally named ones of others."""

    path: Path
    prefix: str
    """Before each name: `validation/`, mostly nothing."""
    is_events: bool
    order: tuple[int, ...]
    """Oldest first: a resumed run goes on in a later log."""

    def parser(self) -> EventLog | TextLog:
        """Return what reads it."""
        return EventLog() if self.is_events else TextLog()


def places(root: Path, newest: Path | None) -> list[Place]:
    """Return the logs of a run, the oldest first; a bounded search that follows no links."""
    found: dict[Path, Place] = {}
    budget = _Budget(MOST_DIRECTORIES, MOST_ENTRIES)
    for base in _bases(root, newest):
        _search(base, budget, found)
    return sorted(found.values(), key=lambda place: (place.order, str(place.path)))


def _bases(root: Path, newest: Path | None) -> list[Path]:
    """Return the directories where the search begins: the run's and those of its checkpoints."""
    bases = [root]
    if newest is not None and newest.is_relative_to(root):
        bases += [above for above in newest.parents if above != root and above.is_relative_to(root)]
    if _HOLDS_CHECKPOINTS.fullmatch(root.name.lower()):
        bases.append(root.parent)
    return bases


@dataclass(slots=True)
class _Budget:
    directories: int
    entries: int


def _search(base: Path, budget: _Budget, found: dict[Path, Place]) -> None:
    """Look into a directory and, breadth first, into those below it that usually hold logs."""
    waiting = [(base, 0, "")]
    seen: set[Path] = set()
    while waiting and budget.directories > 0 and len(found) < MOST_FILES:
        directory, depth, prefix = waiting.pop(0)
        if directory in seen:
            continue
        seen.add(directory)
        budget.directories -= 1
        below: list[str] = []
        holds_events = False
        for name, is_directory in _entries(directory, budget):
            if is_directory:
                below.append(name)
                continue
            place = _place(directory / name, prefix)
            if place is not None and len(found) < MOST_FILES:
                found.setdefault(place.path, place)
                holds_events |= place.is_events
        for name in sorted(below, key=natural_key) if depth < DEEPEST else ():
            if _may_hold_logs(name, inside=depth > 0):
                own = _writer_of(name, beside_events=holds_events)
                waiting.append((directory / name, depth + 1, prefix + own))


def _may_hold_logs(name: str, *, inside: bool) -> bool:
    """Return whether to look into a directory: of one with logs, also into unusual names."""
    lower = name.lower()
    if _HOLDS_LOGS.fullmatch(lower):
        return True
    no_logs = _HOLDS_CHECKPOINTS.fullmatch(lower) or _HOLDS_NONE.fullmatch(lower)
    return inside and not no_logs and from_name(name, weak=False) is None


def _writer_of(name: str, *, beside_events: bool) -> str:
    """Return the prefix of a directory that one of several writers of a run has for itself.

    That is one beside an event file (`add_scalars`), or one named after a data set (Keras).
    """
    lower = name.lower()
    own = beside_events and not _HOLDS_LOGS.fullmatch(lower)
    return f"{name}/" if own or _WRITER.fullmatch(lower) else ""


def _entries(directory: Path, budget: _Budget) -> Iterator[tuple[str, bool]]:
    """Yield (name, is it a directory) of the plain files and directories in one."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                budget.entries -= 1
                if budget.entries < 0:
                    return
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield entry.name, True
                elif entry.is_file(follow_symlinks=False):
                    yield entry.name, False
    except (OSError, ValueError):
        return


def _place(path: Path, prefix: str) -> Place | None:
    name = path.name.lower()
    events = _EVENTS.search(name)
    if events is None and not _TEXTS.fullmatch(name):
        return None
    try:
        written = path.lstat().st_mtime_ns
    except (OSError, ValueError):
        return None
    began = int(events[1]) * 10**9 if events is not None else written
    return Place(path, prefix, events is not None, (began, written))
