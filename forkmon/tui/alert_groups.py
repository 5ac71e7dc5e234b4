"""One line for one event: alerts of one kind that many tensors raise at the same step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from forkmon.stats.alert import Alert

FEWEST = 3
"""Tensors from which on their alerts are shown as one."""

NAMED = 3
"""Tensors that the group's message names, at most."""

WORDS = {"nan": "NaN", "inf": "Inf"}
"""Counts of the evidence whose totals the message begins with."""


def grouped(alerts: Sequence[Alert]) -> tuple[Alert, ...]:
    """Return the alerts with those of one kind, segment and onset taken together.

    A group stands where its first member stood and points at the innermost block that holds all
    its tensors. Each tensor keeps its own badge in the tree.
    """
    members: dict[tuple[str, int, int], list[Alert]] = {}
    for alert in alerts:
        if alert.tensor is not None:
            members.setdefault((alert.kind, alert.segment, alert.onset), []).append(alert)
    out: list[Alert] = []
    for alert in alerts:
        key = (alert.kind, alert.segment, alert.onset)
        together = members.get(key, []) if alert.tensor is not None else []
        if len(together) < FEWEST:
            out.append(alert)
        elif together[0] is alert:
            out.append(_group(together))
    return tuple(out)


def _group(members: Sequence[Alert]) -> Alert:
    first = members[0]
    block = common_block([alert.tensor or "" for alert in members])
    totals = _totals(members)
    return replace(
        first,
        severity=max(alert.severity for alert in members),
        tensor=block,
        step=max(alert.step for alert in members),
        message=_message(members, totals),
        evidence={"tensors": len(members), **totals},
    )


def _message(members: Sequence[Alert], totals: Mapping[str, int]) -> str:
    """Return how many tensors and how much in all, then the first names (or messages)."""
    many = f"{len(members):,} tensors"
    sums = [f"{totals[name]:,} {word}" for name, word in WORDS.items() if totals.get(name)]
    first = members[:NAMED]
    more = f" and {len(members) - NAMED:,} more" if len(members) > NAMED else ""
    if not sums:
        return f"{many}: " + "; ".join(f"{a.tensor}: {a.message}" for a in first) + more
    return f"{', '.join([many, *sums])}: " + ", ".join(a.tensor or "" for a in first) + more


def _totals(members: Sequence[Alert]) -> dict[str, int]:
    """Return the sums of the counts that every member gives as evidence."""
    totals: dict[str, int] = {}
    for name in members[0].evidence:
        values = [alert.evidence.get(name) for alert in members]
        counts = [value for value in values if type(value) is int]
        if len(counts) == len(values):
            totals[name] = sum(counts)
    return totals


def common_block(names: Sequence[str]) -> str:
    """Return the innermost block that holds all the tensors; the whole model is ``""``."""
    paths = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)
