"""What a look into a directory turned up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from forkmon.runs.candidates import Candidate
from forkmon.runs.refs import Ignored


@dataclass(slots=True)
class Found:
    """Everything a look at a run directory turned up."""

    candidates: list[Candidate] = field(default_factory=list[Candidate])
    ignored: list[Ignored] = field(default_factory=list[Ignored])
    note: str = ""
    runs: tuple[Path, ...] = ()
    """The directories that hold runs of their own, where there are several."""
    error: OSError | None = None
    """Why the run directory itself could not be looked into."""

    def add(self, other: Found) -> None:
        """Take in what another directory held."""
        self.candidates += other.candidates
        self.ignored += other.ignored
        self.note = self.note or other.note
        self.runs = self.runs or other.runs
