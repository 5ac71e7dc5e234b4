"""How far a tensor moved between steps, from stored sketches: distances of files long gone."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import dist, hypot

from forkmon.stats.series import Series
from forkmon.store.series import Query, batches, marks
from forkmon.store.values import TensorEntry, Timeline

Norms = dict[int, float | None]
Sketches = dict[int, Sequence[float]]


def movement(
    query: Query, tensors: Sequence[TensorEntry], of: TensorEntry, timeline: Timeline
) -> Series:
    """Return the `update`, `drift` and `cosine` of a tensor or block (see `Reader.movement`)."""
    members = [of] if of.kind == "tensor" else [t for t in tensors if _inside(t, of)]
    ids = [row.id for row in timeline]
    steps = [_sketches(query, member.id, ids) for member in members]
    norms = [_norms(query, member.id, ids) for member in members]
    update: list[float | None] = []
    drift: list[float | None] = []
    cosine: list[float | None] = []
    for i, now in enumerate(ids):
        before = ids[i - 1] if i else None
        update.append(None if before is None else _ratio(steps, norms, before, now))
        drift.append(_ratio(steps, norms, ids[0], now))
        cosine.append(_cosine(steps, norms, ids[0], now))
    return Series(
        of.name,
        tuple(row.step for row in timeline),
        {"update": tuple(update), "drift": tuple(drift), "cosine": tuple(cosine)},
    )


def _inside(tensor: TensorEntry, block: TensorEntry) -> bool:
    same_role = tensor.role == block.role
    return same_role and (block.name == "" or tensor.name.startswith(f"{block.name}."))


def _distance(steps: Sequence[Sketches], a: int, b: int) -> float | None:
    """Return the distance of two checkpoints over all members; None if one lacks a sketch."""
    if any(a not in member or b not in member for member in steps) or not steps:
        return None
    return hypot(*(dist(member[a], member[b]) for member in steps))


def _norm(norms: Sequence[Norms], at: int) -> float | None:
    values = [member.get(at) for member in norms]
    return None if None in values else hypot(*(v for v in values if v is not None))


def _ratio(
    steps: Sequence[Sketches], norms: Sequence[Norms], before: int, now: int
) -> float | None:
    distance, norm = _distance(steps, before, now), _norm(norms, before)
    return None if distance is None or not norm else distance / norm


def _cosine(
    steps: Sequence[Sketches], norms: Sequence[Norms], first: int, now: int
) -> float | None:
    distance, a, b = _distance(steps, first, now), _norm(norms, first), _norm(norms, now)
    if distance is None or not a or not b:
        return None
    return max(-1.0, min(1.0, (a * a + b * b - distance * distance) / (2 * a * b)))


def _sketches(query: Query, tensor: int, checkpoints: Sequence[int]) -> Sketches:
    found: Sketches = {}
    for some in batches(checkpoints):
        rows = query(
            "SELECT checkpoint, sketch FROM trace "  # noqa: S608 -- only question marks
            f"WHERE tensor = ? AND sketch IS NOT NULL AND checkpoint IN ({marks(some)})",
            (tensor, *some),
        )
        for checkpoint, blob in rows:
            found[checkpoint] = array("f", blob)
    return found


def _norms(query: Query, tensor: int, checkpoints: Sequence[int]) -> Norms:
    found: Norms = {}
    for some in batches(checkpoints):
        rows = query(
            f"SELECT checkpoint, l2 FROM stat WHERE tensor = ? AND checkpoint IN ({marks(some)})",  # noqa: S608
            (tensor, *some),
        )
        found |= dict(rows)
    return found
