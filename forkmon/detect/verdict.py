"""The verdict: one word on the whole run, with its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from forkmon.detect import nonfinite, unreadable
from forkmon.stats.alert import Alert

State = Literal["healthy", "converged", "frozen", "diverging", "corrupted", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of a run and why it is called so."""

    state: State
    reasons: tuple[str, ...]


def judge(steps: Sequence[int], bad_tensors_now: int, alerts: Sequence[Alert]) -> Verdict:
    """Return the verdict on a run with these analysed steps.

    `bad_tensors_now` counts the tensors with non-finite elements at the newest step.
    """
    broken = [a for a in alerts if a.kind == unreadable.KIND]
    if not steps:
        if broken:
            return Verdict("corrupted", (f"none of {len(broken)} checkpoints can be read",))
        return Verdict("unknown", ("no checkpoint has been analysed",))
    reasons: list[str] = []
    onsets = [a.onset for a in alerts if a.kind == nonfinite.KIND]
    if bad_tensors_now:
        since = f" since step {min(onsets):,}" if onsets else ""
        reasons.append(f"{_counted(bad_tensors_now, 'tensor')} with NaN or Inf{since}")
    if broken:
        reasons.append(f"{_counted(len(broken), 'unreadable checkpoint')}")
    if bad_tensors_now:
        return Verdict("diverging", tuple(reasons))
    return Verdict("healthy", tuple(reasons) or ("no alert",))


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
