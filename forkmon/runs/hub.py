"""Revisions in a hub's cache: `refs/step1000` names the snapshot that is the model of step 1000."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from forkmon.errors import CheckpointError
from forkmon.formats.opening import open_regular
from forkmon.runs.candidates import Candidate
from forkmon.runs.looking import Looker
from forkmon.runs.steps import from_name

SNAPSHOTS = "snapshots"
_REFS = "refs"
_REF_CAP = 1000
"""Revisions looked at; a model has a few hundred at most."""
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


def named_by_revision(
    candidates: Sequence[Candidate], snapshots: Path, looker: Looker
) -> list[Candidate]:
    """Return snapshots with the steps that the names of their revisions give them."""
    refs = snapshots.parent / _REFS
    steps = {
        commit: named
        for name, commit in _revisions(refs, looker)
        if (named := from_name(name, weak=False)) is not None
    }
    return [
        replace(candidate, named=steps.get(candidate.path.name, candidate.named))
        for candidate in candidates
    ]


def _revisions(refs: Path, looker: Looker) -> Iterator[tuple[str, str]]:
    for entry in looker.look(refs).entries[:_REF_CAP]:
        if entry.is_dir or entry.is_link:
            continue
        try:
            fd = open_regular(refs / entry.name)
        except CheckpointError:
            continue
        try:
            commit = os.read(fd, 64).decode("ascii", "replace").strip()
        except OSError:
            continue
        finally:
            os.close(fd)
        if _COMMIT.match(commit):
            yield entry.name, commit
