"""UNREADABLE: a checkpoint could not be analysed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from forkmon.stats.alert import Alert, Severity

KIND = "UNREADABLE"


@dataclass(frozen=True, slots=True)
class Failure:
    """A checkpoint that failed, and why."""

    segment: int
    step: int
    name: str
    reason: str


def unreadable(failures: Iterable[Failure]) -> Iterator[Alert]:
    """Yield one warning a failed checkpoint; the others go on."""
    for failure in failures:
        yield Alert(
            kind=KIND,
            severity=Severity.WARN,
            tensor=None,
            onset=failure.step,
            step=failure.step,
            message=f"{failure.name}: {failure.reason}",
            evidence={"reason": failure.reason, "checkpoint": failure.name},
            segment=failure.segment,
        )
