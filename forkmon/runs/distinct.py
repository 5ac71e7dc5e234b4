"""One checkpoint under several names is one checkpoint: links, aliases and final models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forkmon.runs.candidates import Candidate
from forkmon.runs.refs import FilePrint, Fingerprint, Ignored
from forkmon.runs.steps import is_alias
from forkmon.text import safe


@dataclass(frozen=True, slots=True)
class Sighted:
    """A candidate and its files as they are at this poll."""

    candidate: Candidate
    watched: tuple[FilePrint, ...]
    fingerprint: Fingerprint
    """Of the weight files alone."""


def apart(sighted: list[Sighted], root: Path) -> tuple[list[Sighted], list[Ignored]]:
    """Return the checkpoints that are really different, and a word about each of the others."""
    kept: dict[object, Sighted] = {}
    ignored: list[Ignored] = []
    has_steps = any(seen.candidate.named is not None for seen in sighted)
    for seen in sorted(sighted, key=_preference):
        if has_steps and _is_alias(seen, root):
            reason = "the final model or an alias; the checkpoints with a step are read"
            ignored.append(Ignored(_shown(seen, root), reason))
            continue
        first = kept.setdefault(_identity(seen), seen)
        if first is not seen:
            reason = f"the same files as {safe(first.candidate.path.name)}"
            ignored.append(Ignored(seen.candidate.path, reason))
    return list(kept.values()), ignored


def _preference(seen: Sighted) -> tuple[bool, bool, str]:
    """Order the names of one checkpoint: its own directory and its step before any alias."""
    candidate = seen.candidate
    return candidate.is_link, candidate.named is None, str(candidate.path)


def _is_alias(seen: Sighted, root: Path) -> bool:
    candidate = seen.candidate
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
