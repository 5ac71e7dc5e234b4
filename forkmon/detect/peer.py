"""PEER: one layer leaves the others of its kind behind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forkmon.detect.crowd import Crowd
from forkmon.detect.evidence import evidence, percent
from forkmon.detect.peers import places_of
from forkmon.detect.robust import Array, standing
from forkmon.detect.settings import Among
from forkmon.detect.streak import share_of_recent
from forkmon.stats.alert import Alert, Severity

KIND = "PEER"

FALSE_ALARMS = 0.12
"""Expected in a healthy run of 300 tensors and 150 checkpoints: 7 in 60 such runs."""

_FLOOR = 0.03
"""Least spread of a crowd, in log RMS: layers are never the same to the last digit."""


def peer(crowd: Crowd, rule: Among) -> Iterator[Alert]:
    """Yield an alert where a layer's growth since the start stands off its peers' for good.

    Each layer is told once. Growth, not scale: layers may begin at different scales by design.
    """
    for rows in places_of(crowd.names).values():
        if len(rows) >= rule.peers:
            yield from _place(crowd, np.array(rows), rule)


def _place(
    crowd: Crowd, rows: np.ndarray[tuple[int], np.dtype[np.int64]], rule: Among
) -> Iterator[Alert]:
    grown = growth(crowd.columns["log_rms"][rows])
    places = np.flatnonzero(np.isfinite(grown).sum(axis=0) >= rule.peers)
    grown = grown[:, places]
    if not len(places):
        return
    z = standing(grown, _FLOOR)
    off = grown - np.nanmedian(grown, axis=0)
    with np.errstate(invalid="ignore"):
        odd = (np.abs(z) >= rule.standing) & (np.abs(off) >= rule.effect)
    lasting = share_of_recent(odd, rule.lasting) >= rule.lasting
    for i in np.flatnonzero(lasting.any(axis=1)):
        at = int(lasting[i].argmax())
        recent = np.arange(max(0, at - rule.lasting + 1), at + 1)
        onset = int(recent[odd[i, recent]][0])
        segment, step = crowd.axis[int(places[at])]
        row = int(rows[i])
        yield Alert(
            kind=KIND,
            severity=Severity.INFO,
            tensor=crowd.names[row],
            onset=crowd.steps[int(places[onset])],
            step=step,
            message=f"scale {percent(float(off[i, at]))} off the same place in other layers",
            evidence=evidence(
                "growth of log RMS against its peers", float(z[i, at]), rule.standing,
                window=rule.lasting, n=len(rows), expected=FALSE_ALARMS, off=float(off[i, at]),
            ),
            segment=segment,
        )  # fmt: skip


def growth(levels: Array) -> Array:
    """Return the levels since each row's first known one."""
    known = np.isfinite(levels)
    first = np.take_along_axis(levels, known.argmax(axis=1)[:, None], axis=1)
    return np.asarray(levels - first)
