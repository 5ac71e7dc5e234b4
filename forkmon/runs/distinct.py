"""One checkpoint under several names is one checkpoint: links, aliases, copies, final models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forkmon.runs.candidates import Candidate
from forkmon.runs.refs import FilePrint, Fingerprint, Ignored
from forkmon.runs.steps import Named, is_alias, is_copy, is_moving_alias
from forkmon.text import safe


@dataclass(frozen=True, slots=True)
class Sighted:
    """A candidate and its files as they are at this poll."""

    candidate: Candidate
    format: str
    watched: tuple[FilePrint, ...]
    fingerprint: Fingerprint
    """Of the files that are read alone."""
    trouble: str = ""
    """Why its files could not be looked at this time; it is not taken for deleted."""


def apart(sighted: Sequence[Sighted], root: Path) -> tuple[list[Sighted], list[Ignored]]:
    """Return the checkpoints that are really different, and a word about each of the others."""
    kept: dict[object, Sighted] = {}
    ignored: list[Ignored] = []
    has_steps = any(seen.candidate.named is not None for seen in sighted)
    originals = {
        seen.candidate.named.step
        for seen in sighted
        if seen.candidate.named is not None and not is_copy(seen.candidate.path.name)
    }
    for seen in sorted(sighted, key=_preference):
        first = kept.get(_identity(seen), seen)
        reason = ""
        if first is not seen:
            reason = f"the same files as {safe(first.candidate.path.name)}"
        if has_steps and _is_alias(seen.candidate, root) and not may_be_its_own(seen.candidate):
            reason = "the final model or an alias; the checkpoints with a step are read"
        named = seen.candidate.named
        if named is not None and named.step in originals and is_copy(seen.candidate.path.name):
            reason = f"a copy of step {named.step}"
        if reason:
            ignored.append(Ignored(_shown(seen, root), reason))
        else:
            kept[_identity(seen)] = seen
    return _one_alias(list(kept.values()), root, ignored), ignored


def may_be_its_own(candidate: Candidate) -> bool:
    """Return whether a name without a step is of the newest checkpoint, saved once more.

    It is a checkpoint of its own where no other has its step.
    """
    name = candidate.path.name
    return candidate.named is None and not candidate.is_link and is_moving_alias(name)


def repeats(named: Named | None, others: Sequence[Named]) -> bool:
    """Return whether an alias of the newest checkpoint holds a step that others hold by name."""
    if named is None:
        return bool(others)
    return any(
        named.step == other.step or (other.unit == "epoch" and named.epoch == other.epoch)
        for other in others
    )


def _one_alias(kept: list[Sighted], root: Path, ignored: list[Ignored]) -> list[Sighted]:
    """Where nothing but aliases is there (last.pt and best.pt), keep the one that moves on."""
    if any(not _is_alias(seen.candidate, root) for seen in kept):
        return kept
    moving = [seen for seen in kept if may_be_its_own(seen.candidate)]
    if not moving:
        return kept
    for seen in kept:
        if seen is not moving[0]:
            reason = f"an alias; {safe(moving[0].candidate.path.name)} is read"
            ignored.append(Ignored(_shown(seen, root), reason))
    return moving[:1]


def _preference(seen: Sighted) -> tuple[bool, bool, str]:
    """Order the names of one checkpoint: its own directory and its step before any alias."""
    candidate = seen.candidate
    return candidate.is_link, candidate.named is None, str(candidate.path)


def _is_alias(candidate: Candidate, root: Path) -> bool:
    if candidate.named is not None:
        return False
    return candidate.path == root or is_alias(candidate.path.name)


def _shown(seen: Sighted, root: Path) -> Path:
    """Name the file where the candidate's path would be the whole run's."""
    candidate = seen.candidate
    if candidate.path == root and candidate.files:
        return root / candidate.files[0].name
    return candidate.path


def _identity(seen: Sighted) -> object:
    files = tuple(sorted((p.device, p.inode) for p in seen.fingerprint.files))
    return files or seen.candidate.path
