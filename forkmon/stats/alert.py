"""What forkmon tells a person: a kind, how bad, where, since when, and the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from math import isfinite


class Severity(IntEnum):
    """How much an alert matters; comparable."""

    INFO = 1
    WARN = 2
    ERROR = 3

    @property
    def word(self) -> str:
        """Return the word used in JSON and on the command line."""
        return self.name.lower()


Evidence = Mapping[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class Alert:
    """One event of one tensor (or of the run, when `tensor` is None)."""

    kind: str
    severity: Severity
    tensor: str | None
    onset: int
    """Step at which it began."""
    step: int
    """Step at which it was detected."""
    message: str
    evidence: Evidence = field(default_factory=dict[str, "float | int | str | None"])
    segment: int = 0

    @property
    def key(self) -> tuple[str, str | None, int]:
        """Return what acknowledgements hang on."""
        return (self.kind, self.tensor, self.onset)

    def as_json(self) -> dict[str, object]:
        """Return the alert as the JSON contract has it; numbers that JSON lacks are null."""
        return {
            "kind": self.kind,
            "severity": self.severity.word,
            "tensor": self.tensor,
            "onset": self.onset,
            "step": self.step,
            "message": self.message,
            "evidence": {name: _json_number(value) for name, value in self.evidence.items()},
        }


def _json_number(value: float | str | None) -> float | str | None:
    return None if isinstance(value, float) and not isfinite(value) else value
