"""One line for one event: alerts of one kind that many tensors raise at the same step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forkmon.stats.alert import Alert

FEWEST = 3
"""Tensors from which on their alerts are shown as one."""

NAMED = 3
"""Tensors whose own messages the group's message quotes, at most."""


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
    quoted = "; ".join(f"{a.tensor}: {a.message}" for a in members[:NAMED])
    return replace(
        first,
        severity=max(alert.severity for alert in members),
        tensor=block,
        step=max(alert.step for alert in members),
        message=f"{len(members):,} tensors: {quoted}",
        evidence={"tensors": len(members), **_totals(members)},
    )


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
