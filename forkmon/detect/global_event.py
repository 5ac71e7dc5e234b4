"""GLOBAL: much of the model leaves its path at once; that is one event, and told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from forkmon.detect import drift, regime, shape
from forkmon.detect.evidence import evidence
from forkmon.detect.panel import Axis
from forkmon.detect.peers import place_of
from forkmon.detect.settings import Global
from forkmon.stats.alert import Alert, Severity

KIND = "GLOBAL"

KINDS = (regime.KIND, shape.KIND, drift.KIND)
"""Kinds whose alerts are taken together."""


def collapsed(alerts: Iterable[Alert], axis: Axis, tensors: int, rule: Global) -> list[Alert]:
    """Return the alerts with each event of many tensors in place of its members.

    Members told before the event is one stay told: later checkpoints change no past decision.
    The others say in their evidence how many of their peers did the same at about that time.
    """
    kept: list[Alert] = []
    by_place: dict[int, list[Alert]] = {}
    at = {place: i for i, place in enumerate(axis)}
    for alert in alerts:
        if alert.kind in KINDS and alert.tensor is not None:
            by_place.setdefault(at[alert.segment, alert.step], []).append(alert)
        else:
            kept.append(alert)
    needed = max(rule.share * tensors, rule.tensors)
    last = -rule.within - 1
    for place in sorted(by_place):
        recent = [
            alert
            for p in range(place - rule.within + 1, place + 1)
            for alert in by_place.get(p, ())
        ]
        if len({alert.tensor for alert in recent}) >= needed:
            if place - last >= rule.within:
                kept.append(_event(recent, axis[place], tensors, needed, rule))
            last = place
        elif place - last >= rule.within:
            kept += [_with_peers(alert, recent) for alert in by_place[place]]
    return kept


def _event(
    members: Sequence[Alert], at: tuple[int, int], tensors: int, needed: float, rule: Global
) -> Alert:
    segment, step = at
    hit = len({alert.tensor for alert in members})
    kinds = Counter(alert.kind for alert in members)
    what = ", ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items()))
    return Alert(
        kind=KIND,
        severity=Severity.WARN,
        tensor=None,
        onset=min(alert.onset for alert in members),
        step=step,
        message=f"{hit:,} of {tensors:,} tensors leave their path at once ({what}): "
        "a restart, another learning rate, or a transition",
        evidence=evidence(
            "tensors that cross at once",
            hit,
            needed,
            window=rule.within,
            n=tensors,
            expected=0.0,
            kinds=what,
        ),
        segment=segment,
    )


def _with_peers(alert: Alert, recent: Sequence[Alert]) -> Alert:
    place = place_of(alert.tensor or "")
    peers = {
        other.tensor
        for other in recent
        if other.kind == alert.kind
        and other.tensor != alert.tensor
        and place_of(other.tensor or "") == place
    }
    return replace(alert, evidence={**alert.evidence, "peers": len(peers)})
