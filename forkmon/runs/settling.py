"""Is a checkpoint finished? Markers, structure and quiet weighed against each other. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from forkmon.formats.proof import Damaged, Partial, Proof, Whole
from forkmon.runs.refs import Completeness

OLD_SECONDS = 60.0
"""What nobody wrote to for this long is taken as it is, at first sight."""
TRUNCATED_SECONDS = 300.0
"""What lacks bytes and has not changed for this long will not get them."""
UNMARKED_SECONDS = 1800.0
"""What lacks the marker that it cannot be finished without is given up after this long."""
SKEW_NS = 2_000_000_000
"""How much older than the weights a marker may look: clocks and time stamps are coarse."""

Marker = Literal["none", "stale", "fresh", "last"]
"""`last`: not older than the weights even without allowing for skew."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a candidate at one poll."""

    age: float
    """Seconds since its newest file was written; negative where that is in the future."""
    quiet: float
    """Seconds for which forkmon itself saw it unchanged."""
    looks: int
    """Polls in a row that saw it as it is now."""
    first_sight: bool
    """It was never seen otherwise, and no reader found it changing."""
    marker: Marker
    proofs: tuple[Proof, ...]
    held_back: str = ""
    is_strict: bool = False
    """Its marker tells more than quiet: trainers of this layout fall silent while they save."""
    marked_quiet: float = 1.0
    """Seconds of quiet asked of it once it is marked as finished."""


@dataclass(frozen=True, slots=True)
class Ready:
    """It may be read."""

    complete: Completeness


@dataclass(frozen=True, slots=True)
class Wait:
    """It may be ready later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """It will not be ready as it is."""

    reason: str


Verdict = Ready | Wait | Refuse


def judge(seen: Evidence, settle: float) -> Verdict:
    """Return whether a candidate is ready, may be ready later, or never will be."""
    if seen.held_back:
        return Wait(seen.held_back)
    blocked = _damaged(seen, settle) or _partial(seen)
    if blocked is not None:
        return blocked
    is_old = seen.age >= OLD_SECONDS
    if not is_old and seen.marker != "last" and _has_zero_tail(seen):
        return Wait("its last bytes are all zero: it may still be filled")
    if seen.marker == "stale" and seen.age < (UNMARKED_SECONDS if seen.is_strict else OLD_SECONDS):
        return Wait("its weights are newer than its marker: waiting for the save to finish")
    complete: Completeness = "marker" if seen.marker in ("fresh", "last") else "heuristic"
    wanted = min(seen.marked_quiet, settle) if complete == "marker" else settle
    if (is_old and seen.first_sight) or (seen.looks >= 2 and seen.quiet >= wanted):
        return Ready(complete)
    return Wait(f"settling: unchanged for {seen.quiet:.0f} of {wanted:g} s")


def marker_of(newest_ns: int, times: list[int]) -> Marker:
    """Return what markers of these modification times say of weights written at `newest_ns`."""
    if not times:
        return "none"
    if min(times) < newest_ns - SKEW_NS:
        return "stale"
    return "last" if min(times) >= newest_ns else "fresh"


def _damaged(seen: Evidence, settle: float) -> Verdict | None:
    damaged = [proof for proof in seen.proofs if isinstance(proof, Damaged)]
    if not damaged:
        return None
    sure = any(proof.final for proof in damaged) or seen.age >= OLD_SECONDS
    if sure or (seen.looks >= 2 and seen.quiet >= settle):
        return Refuse(damaged[0].reason)
    return Wait(damaged[0].reason)


def _partial(seen: Evidence) -> Verdict | None:
    partial = [proof for proof in seen.proofs if isinstance(proof, Partial)]
    if not partial:
        return None
    unchanged = max(seen.age, seen.quiet)
    if unchanged > (UNMARKED_SECONDS if seen.is_strict else TRUNCATED_SECONDS):
        return Refuse(partial[0].final)
    return Wait(partial[0].growing)


def _has_zero_tail(seen: Evidence) -> bool:
    return any(isinstance(proof, Whole) and proof.zero_tail for proof in seen.proofs)
