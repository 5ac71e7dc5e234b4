"""The verdict: one word on the whole run, with its strongest reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from forkmon.detect import nonfinite, provenance, runaway, unreadable
from forkmon.detect.evidence import counted
from forkmon.detect.motion import Motion
from forkmon.stats.alert import Alert, Severity

State = Literal["healthy", "converged", "frozen", "diverging", "corrupted", "unknown"]

REASONS = 3
"""Reasons that are told, at most."""

FEWEST = 2
"""Checkpoints that a judgement needs."""

SETTLED = 8
"""Checkpoints over which a run must go nowhere to be called converged."""

NOWHERE = 0.1
"""Mean cosine between successive changes up to which they are a random walk."""

CRAWL = 0.01
"""Relative change by unit of log step up to which weights hardly move."""

STILL = 3
"""Checkpoints without any change that make a run frozen."""

RECENT = runaway.REFRACTORY + 1
"""Newest checkpoints at which an explosion of the weights is still news."""

MANY = 0.3
"""Share of the tensors that makes an event one of the run."""

LOST = 0.5
"""Share of unreadable checkpoints above which a run cannot be judged."""

UNMOVED = Motion((), (), ())
"""Nothing is known of the motion."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of a run and why it is called so."""

    state: State
    reasons: tuple[str, ...]


def judge(
    steps: Sequence[int],
    bad_tensors_now: int,
    alerts: Sequence[Alert],
    motion: Motion = UNMOVED,
    tensors: int = 0,
) -> Verdict:
    """Return the verdict on a run with these analysed steps.

    `bad_tensors_now` counts the tensors with non-finite elements at the newest step, `tensors` all
    of the model. The gravest state that has a reason wins; the reasons of lesser states follow it.
    """
    broken = [a for a in alerts if a.kind == unreadable.KIND]
    if not steps:
        if broken:
            return Verdict("corrupted", (f"none of {len(broken)} checkpoints can be read",))
        return Verdict("unknown", ("no checkpoint has been analysed",))
    findings = list(_findings(steps, bad_tensors_now, alerts, motion, tensors))
    reasons = tuple(reason for _, reason in findings)
    states: list[State] = [state for state, _ in findings if state is not None]
    state = states[0] if states else "healthy"
    if state == "healthy" and len(steps) < FEWEST:
        return Verdict("unknown", ("one checkpoint shows no course", *reasons)[:REASONS])
    return Verdict(state, reasons[:REASONS] or ("no alert",))


Finding = tuple[State | None, str]
"""A state that a reason makes, if any, and the reason."""


def _findings(
    steps: Sequence[int],
    bad_tensors_now: int,
    alerts: Sequence[Alert],
    motion: Motion,
    tensors: int,
) -> Iterator[Finding]:
    """Yield the reasons, gravest state first."""
    if bad_tensors_now:
        onsets = [a.onset for a in alerts if a.kind == nonfinite.KIND]
        since = f" since step {min(onsets):,}" if onsets else ""
        yield "diverging", f"{counted(bad_tensors_now, 'tensor')} with NaN or Inf{since}"
    yield from _explosion(steps, alerts, tensors)
    yield from _foreign(steps, alerts)
    yield from _course(motion)
    yield from _rest(alerts)


def _explosion(steps: Sequence[int], alerts: Sequence[Alert], tensors: int) -> Iterator[Finding]:
    recent = set(steps[-RECENT:])
    hit = {a.tensor for a in alerts if a.kind == runaway.KIND and a.step in recent}
    if hit:
        state: State | None = "diverging" if len(hit) >= max(MANY * tensors, 1) else None
        yield state, f"weights of {counted(len(hit), 'tensor')} explode"


def _foreign(steps: Sequence[int], alerts: Sequence[Alert]) -> Iterator[Finding]:
    foreign = [a for a in alerts if a.kind == provenance.KIND and a.severity >= Severity.ERROR]
    if foreign:
        what = "1 checkpoint is" if len(foreign) == 1 else f"{len(foreign):,} checkpoints are"
        where = min(a.onset for a in foreign)
        yield "corrupted", f"{what} not what the step says (step {where:,})"
    broken = sum(a.kind == unreadable.KIND for a in alerts)
    if broken:
        lost = broken > LOST * (broken + len(steps))
        yield ("corrupted" if lost else None), f"{counted(broken, 'unreadable checkpoint')}"


def _course(motion: Motion) -> Iterator[Finding]:
    """Yield what the model's motion says: still, crawling, or going nowhere."""
    speeds = [v for v in motion.speed if v is not None]
    headings = [v for v in motion.heading if v is not None][-SETTLED:]
    if len(speeds) >= STILL and not any(speeds[-STILL:]):
        yield "frozen", f"no weight has moved for {STILL} checkpoints"
        return
    if len(speeds) >= SETTLED and max(speeds[-SETTLED:]) <= CRAWL:
        since = _since(motion)
        yield (
            "converged",
            f"weights move under {CRAWL:.0%}".replace("%", " %")
            + (f" of their norm in e-fold training time since step {since:,}"),
        )
    elif len(headings) == SETTLED and sum(headings) / SETTLED <= NOWHERE:
        yield "converged", f"weights wander without direction since step {_since(motion):,}"


def _since(motion: Motion) -> int:
    return motion.steps[max(0, len(motion.steps) - SETTLED - 1)]


def _rest(alerts: Sequence[Alert]) -> Iterator[Finding]:
    """Yield the other alerts by kind, warnings first and the most frequent kind first."""
    told = {nonfinite.KIND, runaway.KIND, unreadable.KIND}
    counts: dict[str, int] = {}
    for alert in alerts:
        foreign = alert.kind == provenance.KIND and alert.severity >= Severity.ERROR
        if alert.severity >= Severity.WARN and alert.kind not in told and not foreign:
            counts[alert.kind] = counts.get(alert.kind, 0) + 1
    for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield None, counted(count, f"{kind} alert")
