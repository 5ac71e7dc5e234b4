"""Reads what a painting missed; in a thread, with a connection of its own, after first paint."""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import pairwise
from math import dist
from typing import TYPE_CHECKING

from forkmon.stats import modality
from forkmon.stats.reduced import Reduced, key_of
from forkmon.stats.roles import qualified
from forkmon.stats.row import QUANTILES
from forkmon.tui.fetching import (
    ChannelHistory,
    Difference,
    Differing,
    ForkHistory,
    ForkSlice,
    Overview,
)
from forkmon.tui.model import MAPPED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forkmon.stats.channels import Axis, Channels
    from forkmon.stats.modality import Modality
    from forkmon.store.values import TensorEntry, Timeline, Trace
    from forkmon.tui.fetching import Found, Wanted
    from forkmon.tui.source import Source

MOST_COMPARED = 20_000
"""Tensors whose sketches are compared for a difference; the others are told without distance."""

NORM_POINTS = 400
"""Points that stand for the norms of one axis; many enough for a hundred rows of shade."""


def read(source: Source, wanted: Wanted) -> Found:
    """Read one thing; StoreError says why it cannot be."""
    entry, timeline = wanted.entry, wanted.timeline
    if entry is None:
        return _of_all(source, wanted)
    if wanted.what == "movement":
        return source.movement(entry, timeline)
    if wanted.what == "fork":
        return _fork(source, entry.id, timeline, wanted.statistic)
    return ChannelHistory(tuple(_channels(source.trace(entry.id, c.id)) for c in timeline))


def _of_all(source: Source, wanted: Wanted) -> Found:
    if wanted.what == "difference":
        return _difference(source, wanted.timeline)
    if wanted.what == "path":
        from forkmon.tui.projection import path  # numpy

        return path(source, wanted.timeline)
    if wanted.statistic in MAPPED:
        return _moved(source, wanted)
    checkpoints = [row.id for row in wanted.timeline]
    found = source.sparks(wanted.ids, wanted.statistic, checkpoints)
    return Overview(wanted.timeline, found)


def _moved(source: Source, wanted: Wanted) -> Overview:
    """Return updates or drifts as shares of the norm they started from."""
    name, timeline = wanted.statistic, source.timeline()
    places = {row.id: at for at, row in enumerate(timeline)}
    some = set(wanted.ids)
    shown = {qualified(e.name, e.role): e for e in source.tensors(timeline[-1].id) if e.id in some}
    found: dict[int, tuple[float | None, ...]] = {}
    for series in source.all_series(timeline, (name, "l2"), tuple(shown.values())):
        if series.tensor not in shown:
            continue
        norms = series.values["l2"]
        from_norms = (norms[0], *norms[:-1]) if name == "update" else (norms[0],) * len(norms)
        shares = [
            None if value is None or not norm else value / norm
            for value, norm in zip(series.values[name], from_norms, strict=True)
        ]
        found[shown[series.tensor].id] = tuple(
            shares[places[row.id]] if row.id in places else None for row in wanted.timeline
        )
    return Overview(wanted.timeline, found)


def _fork(source: Source, tensor: int, timeline: Timeline, view: str) -> ForkHistory:
    slices: list[ForkSlice] = []
    for row in timeline:
        trace = source.trace(tensor, row.id)
        if view == "elements":
            reduced = source.reduced(tensor, row.id)
        else:
            found = _channels(trace)
            axis = None if found is None else found.rows if view == "rows" else found.columns
            reduced = None if axis is None else norms(axis)
        slices.append(ForkSlice(row.step, reduced, _modality(trace).get(view)))
    return ForkHistory(tuple(slices), view, coarse=view != "elements")


def _modality(trace: Trace | None) -> Mapping[str, Modality]:
    if trace is None or trace.modality is None:
        return {}
    try:
        return {str(view): found for view, found in modality.decode(trace.modality).items()}
    except ValueError:
        return {}  # of a newer forkmon


def _channels(trace: Trace | None) -> Channels | None:
    from forkmon.stats.channels import decode  # numpy

    if trace is None or trace.channels is None:
        return None
    try:
        return decode(trace.channels)
    except ValueError:
        return None  # of a newer forkmon


def norms(axis: Axis) -> Reduced:
    """Return the norms of one axis as a histogram: even between the stored quantiles."""
    levels = (0.0, *QUANTILES, 1.0)
    values = sorted((axis.low, *axis.quantiles, axis.high))
    pivot = axis.quantiles[len(QUANTILES) // 2]
    many = min(NORM_POINTS, max(1, axis.count))
    keys: Counter[int] = Counter()
    segment = 0
    edges = list(pairwise(levels))
    for index in range(many):
        level = (index + 0.5) / many
        while level > edges[segment][1]:
            segment += 1
        low, high = edges[segment]
        part = (level - low) / (high - low)
        value = values[segment] + part * (values[segment + 1] - values[segment])
        keys[key_of(value - pivot)] += 1
    ordered = sorted(keys)
    return Reduced(pivot, tuple(ordered), tuple(keys[key] for key in ordered))


def _difference(source: Source, ends: Timeline) -> Difference:
    before, after = ends[0].id, ends[-1].id
    known = {e.id: e for end in (before, after) for e in source.tensors(end) if e.kind == "tensor"}
    columns = {
        name: (source.column(before, name), source.column(after, name))
        for name in ("std", "kurtosis", "zeros", "l2")
    }

    def at(name: str, tensor: int) -> tuple[float | None, float | None]:
        one, other = columns[name]
        return one.get(tensor), other.get(tensor)

    rows = [
        Differing(
            tensor,
            _apart(source, tensor, before, after, at("l2", tensor)[0])
            if index < MOST_COMPARED
            else None,
            at("std", tensor),
            at("kurtosis", tensor),
            at("zeros", tensor),
        )
        for index, tensor in enumerate(known)
    ]
    return Difference(tuple(sorted(rows, key=_order)))


def _apart(
    source: Source, tensor: int, before: int, after: int, norm: float | None
) -> float | None:
    """Return the relative distance of a tensor at two checkpoints, from its sketches."""
    traces = (source.trace(tensor, before), source.trace(tensor, after))
    if traces[0] is None or traces[1] is None or not norm:
        return None
    if traces[0].digest is not None and traces[0].digest == traces[1].digest:
        return 0.0
    if traces[0].sketch is None or traces[1].sketch is None:
        return None
    return dist(array("f", traces[0].sketch), array("f", traces[1].sketch)) / norm


def _order(row: Differing) -> tuple[bool, float, float]:
    """Return what sorts the most changed first; those without a distance by their spread."""
    one, other = row.std
    ratio = abs(other / one - 1) if one and other is not None else 0.0
    return row.distance is None, -(row.distance or 0.0), -ratio


def largest(tensors: Iterable[TensorEntry], most: int) -> list[TensorEntry]:
    """Return at most so many of some tensors, those of most elements."""

    def elements(entry: TensorEntry) -> int:
        many = 1
        for size in entry.shape:
            many *= size
        return many

    return sorted(tensors, key=lambda entry: (-elements(entry), entry.id))[: max(1, most)]
