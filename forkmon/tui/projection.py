"""A run's path through weight space in two dimensions, from the sketches of its checkpoints.

Classical multidimensional scaling (Torgerson 1952): the two dimensions that keep most of the
squared distances. Needs numpy: only a fetching thread imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forkmon.tui.fetching import Path, Stop
from forkmon.tui.slow_reads import largest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forkmon.store.values import CheckpointRow, TensorEntry, Timeline
    from forkmon.tui.source import Source

MOST_STOPS = 96
"""Checkpoints on the path; evenly spread where there are more."""

MOST_READS = 12_000
"""Sketches read: about a second."""

FEWEST = 3
"""Checkpoints that make a plane."""

FAR = 100.0
"""How many times as far from the first as others a checkpoint must be to be left out."""

TYPICAL = 0.3
"""Of all distances from the first, the quantile that counts as usual."""

_WIDTH = 256


def path(source: Source, timeline: Timeline) -> Path:
    """Return where the checkpoints of all branches lie beside each other.

    Only tensors whose sketch every checkpoint has count; the largest ones where there are many.
    """
    every = _stops(source.checkpoints(), timeline)
    rows = _finite(source, every, timeline)
    if len(rows) < FEWEST:
        return Path()
    known = [e for e in source.tensors(timeline[-1].id) if e.kind == "tensor" and e.role == "model"]
    chosen = largest(known, MOST_READS // len(rows))
    squares, used = _squares(source, chosen, rows)
    if not used:
        return Path(every=len(known))
    near = within_reach(squares)
    places, kept = scaled(squares[np.ix_(near, near)])
    stops = tuple(
        Stop(row.id, row.segment, row.generation, row.step, float(x), float(y))
        for row, (x, y) in zip((rows[i] for i in near), places, strict=True)
    )
    return Path(stops, kept, used, len(known), len(every) - len(near))


def _finite(source: Source, rows: list[CheckpointRow], timeline: Timeline) -> list[CheckpointRow]:
    """Return the checkpoints without NaN or infinities: a sketch leaves those out of the sums."""
    if not timeline:
        return []
    blocks = [e for e in source.tensors(timeline[-1].id) if e.kind == "block"]
    whole = [e.id for e in blocks if not e.name and e.role == "model"]
    bad = [0.0] * len(rows)
    for name in ("nan", "inf"):
        found = source.sparks(whole, name, [row.id for row in rows])
        for values in found.values():
            bad = [a + (b or 0.0) for a, b in zip(bad, values, strict=True)]
    return [row for row, many in zip(rows, bad, strict=True) if not many]


def within_reach(squares: NDArray[np.float64]) -> list[int]:
    """Return the checkpoints that are not absurdly far from the first: a run that blew up."""
    away = np.sqrt(squares[0])
    usual = float(np.quantile(away[1:], TYPICAL))
    if usual <= 0:
        return list(range(len(away)))
    return [i for i, distance in enumerate(away) if distance <= FAR * usual]


def _stops(every: Timeline, timeline: Timeline) -> list[CheckpointRow]:
    """Return the checkpoints on the map: the lineage's in full, as many others as there is room."""
    generation = timeline[-1].generation if timeline else 0
    good = [
        row
        for row in every
        if row.status in ("complete", "partial") and row.generation == generation
    ]
    if len(good) <= MOST_STOPS:
        return good
    last = len(good) - 1
    picked = sorted({round(i * last / (MOST_STOPS - 1)) for i in range(MOST_STOPS)})
    return [good[i] for i in picked]


def _squares(
    source: Source, tensors: list[TensorEntry], rows: list[CheckpointRow]
) -> tuple[NDArray[np.float64], int]:
    """Return the squared distances of all pairs, and how many tensors they are of."""
    squares = np.zeros((len(rows), len(rows)))
    used = 0
    for tensor in tensors:
        found = [source.trace(tensor.id, row.id) for row in rows]
        sketches = [None if trace is None else trace.sketch for trace in found]
        if any(sketch is None or len(sketch) != 4 * _WIDTH for sketch in sketches):
            continue
        raw = b"".join(sketch for sketch in sketches if sketch is not None)
        points = np.frombuffer(raw, "<f4").astype(np.float64).reshape(len(rows), _WIDTH)
        if not np.isfinite(points).all() or np.abs(points).max() > 1e30:
            continue
        norms = (points * points).sum(1)
        squares += np.maximum(norms[:, None] + norms[None, :] - 2 * points @ points.T, 0.0)
        used += 1
    np.fill_diagonal(squares, 0.0)
    return squares, used


def scaled(squares: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the points (n, 2) that keep squared distances (n, n) best, and the share they keep.

    The first point lies left of the last one, and the farthest from the middle line above it.
    """
    n = len(squares)
    centring = np.eye(n) - 1.0 / n
    values, vectors = np.linalg.eigh(-0.5 * centring @ squares @ centring)
    top = np.clip(values[-2:][::-1], 0.0, None)
    places = vectors[:, -2:][:, ::-1] * np.sqrt(top)
    positive = float(values[values > 0].sum())
    kept = float(top.sum()) / positive if positive > 0 else 0.0
    if places[-1, 0] < places[0, 0]:
        places[:, 0] *= -1
    if places[np.abs(places[:, 1]).argmax(), 1] < 0:
        places[:, 1] *= -1
    return places, kept
