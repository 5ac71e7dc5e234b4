"""How far a tensor moved between steps: distances of files long gone.

What the writer measured between neighbours is read as it is; distances between other checkpoints
follow from the stored sketches.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import dist, hypot

from forkmon.stats.series import Series
from forkmon.store.neighbours import holding, neighbours
from forkmon.store.query import Query, batches, marks
from forkmon.store.values import TensorEntry, Timeline

Sketches = dict[int, Sequence[float]]


def movement(
    query: Query, tensors: Sequence[TensorEntry], of: TensorEntry, timeline: Timeline
) -> Series:
    """Return the `update`, `drift` and `cosine` of a tensor or block (see `Reader.movement`)."""
    ids = [row.id for row in timeline]
    norms = _norms(query, of.id, ids)
    update, drift = _known(query, of.id, timeline)
    befores = {now: before for now, (before, _, _) in neighbours(timeline).items()}
    missing = [now for now in ids if now not in update or now not in drift]
    sketches = _Members(query, [of] if of.kind == "tensor" else _inside(tensors, of))
    sketches.read({near for now in missing for near in (now, befores[now], ids[0])})
    for now in missing:
        if now not in update:
            update[now] = sketches.distance(befores[now], now)
        if now not in drift:
            drift[now] = sketches.distance(ids[0], now)
    return Series(
        of.name,
        tuple(row.step for row in timeline),
        {
            "update": tuple(_share(update[now], norms.get(befores[now] or 0)) for now in ids),
            "drift": tuple(_share(drift[now], norms.get(ids[0])) for now in ids),
            "cosine": tuple(_cosine(drift[now], norms.get(ids[0]), norms.get(now)) for now in ids),
        },
    )


def _known(
    query: Query, tensor: int, timeline: Timeline
) -> tuple[dict[int, float | None], dict[int, float | None]]:
    """Return the updates and drifts that were measured between just these neighbours."""
    holds = holding(query, timeline)
    update: dict[int, float | None] = {}
    drift: dict[int, float | None] = {}
    for some in batches(list(holds)):
        rows = query(
            'SELECT checkpoint, "update", drift FROM motion '  # noqa: S608 -- only question marks
            f"WHERE tensor = ? AND checkpoint IN ({marks(some)})",
            (tensor, *some),
        )
        for number, moved, drifted in rows:
            if holds[number][0]:
                update[number] = moved
            if holds[number][1]:
                drift[number] = drifted
    return update, drift


@dataclass(slots=True)
class _Members:
    """The sketches of a tensor, or of all tensors in a block."""

    query: Query
    tensors: Sequence[TensorEntry]
    found: list[Sketches] = field(default_factory=list["Sketches"])

    def read(self, checkpoints: Iterable[int | None]) -> None:
        """Read the sketches at some checkpoints."""
        wanted = sorted(number for number in checkpoints if number is not None)
        self.found = [_sketches(self.query, t.id, wanted) for t in self.tensors] if wanted else []

    def distance(self, a: int | None, b: int) -> float | None:
        """Return the distance of two checkpoints over all members; None if one has no sketch."""
        if a is None or not self.found or any(a not in m or b not in m for m in self.found):
            return None
        return hypot(*(dist(member[a], member[b]) for member in self.found))


def _inside(tensors: Sequence[TensorEntry], block: TensorEntry) -> list[TensorEntry]:
    return [
        t
        for t in tensors
        if t.role == block.role and (block.name == "" or t.name.startswith(f"{block.name}."))
    ]


def _share(distance: float | None, norm: float | None) -> float | None:
    return None if distance is None or not norm else distance / norm


def _cosine(distance: float | None, a: float | None, b: float | None) -> float | None:
    """Return the cosine of the angle between two vectors of known lengths and distance."""
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


def _norms(query: Query, tensor: int, checkpoints: Sequence[int]) -> dict[int, float | None]:
    found: dict[int, float | None] = {}
    for some in batches(checkpoints):
        rows = query(
            f"SELECT checkpoint, l2 FROM stat WHERE tensor = ? AND checkpoint IN ({marks(some)})",  # noqa: S608
            (tensor, *some),
        )
        found |= dict(rows)
    return found
