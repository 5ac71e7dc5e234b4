"""What is remembered about one candidate between polls, and what its files proved to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from forkmon.formats.proof import Proof, prove
from forkmon.runs.distinct import Sighted
from forkmon.runs.refs import FilePrint
from forkmon.runs.steps import Named


@dataclass(slots=True)
class Track:
    """What is remembered about one candidate between polls."""

    prints: tuple[FilePrint, ...]
    since: float
    looks: int = 0
    first_sight: bool = True
    proofs: tuple[Proof, ...] = ()
    proved: dict[Path, tuple[FilePrint, Proof]] = field(
        default_factory=dict[Path, tuple[FilePrint, Proof]]
    )
    """Of each file as it was when it was looked into: only what changed is looked into again."""
    is_judged: bool = False
    """Ready or broken was said about exactly these prints."""
    reported: str = ""
    """Digest of the weights last reported as ready."""
    named: Named | None = None


def proofs_of(seen: Sighted, track: Track) -> tuple[Proof, ...]:
    """Look into the files that changed since they were last looked into."""
    candidate = seen.candidate
    if candidate.layout and candidate.directory is not None:
        from forkmon.formats import layouts  # numpy: only where there is such a directory

        names = [weight.name for weight in candidate.files]
        return (layouts.prove(candidate.layout, candidate.directory, names),)
    for weight, now in zip(candidate.files, seen.fingerprint.files, strict=True):
        known = track.proved.get(weight.real)
        if known is None or known[0] != now:
            track.proved[weight.real] = (now, prove(weight.real))
    return tuple(track.proved[weight.real][1] for weight in candidate.files)
