"""Modality: how many peaks a distribution has, where they are, and how sure that is.

Standard library only: the UI reads it before numpy is there. `kernels.modality` measures it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

State = Literal["flat", "qlim", "peaks"]
"""`flat`: one value; `qlim`: too few distinct values to tell; `peaks`: measured."""

View = Literal["elements", "rows", "columns"]
"""What is looked at: the elements of a tensor, or the norms of its rows or columns."""

LARGEST_SAMPLE = 65_536
"""The sample size at which significance stops growing: no difference counts only for being seen
in billions of elements."""

VIEWS: tuple[View, ...] = ("elements", "rows", "columns")

_STATES: tuple[State, ...] = ("flat", "qlim", "peaks")
_FORMAT = 1
_HEADER = struct.Struct("<BB")
_FIXED = struct.Struct("<BBBBIHBHdffff")
_PEAK = struct.Struct("<dff")
_VALLEY = struct.Struct("<d")


@dataclass(frozen=True, slots=True)
class Peak:
    """One mode of a distribution."""

    position: float
    mass: float
    """Share of the elements between the valleys beside it."""
    prominence: float
    """Height above the higher of the valleys beside it, as a share of its own height; 1 alone."""


@dataclass(frozen=True, slots=True)
class Modality:
    """The peaks of one view of a tensor, measured on a sample of at most 65,536 values.

    Gates and their reasons: reference section on modality in the module that measures it.
    """

    state: State
    modes: int
    """Peaks that pass the entry gates; 1 where the state is not `peaks`."""
    held: int
    """Peaks that pass the looser exit gates: `held` >= `modes`; for hysteresis."""
    peaks: tuple[Peak, ...]
    """All that pass the looser gates, by position."""
    valleys: tuple[float, ...]
    """Positions of the lowest density between neighbouring peaks."""
    depth: float
    """Relative depth of the clearest valley, whether it passes or not; 0 where there is none."""
    z: float
    """Its depth in standard errors."""
    dip: float
    """The dip statistic."""
    p: float
    """Of the dip, under the least favourable unimodal law."""
    n: int
    """Sample size."""
    separation: float
    """Distance of the two largest branches in pooled standard deviations: the order parameter.

    0 where there is one peak.
    """
    sides: bytes = b""
    """A bit for each of a fixed sample of elements: above the clearest valley; empty for one peak.

    Bit i % 8 of byte i // 8, the lowest first, is that of sample element i.
    """
    sampled: int = 0
    """How many of those bits there are; what pads the last byte is 0."""


def encode(views: Mapping[View, Modality]) -> bytes:
    """Return the stored form: about 60 bytes a view with one peak, sides on top for more.

    Shares, depths and scores are kept to float32, positions and p to float64.
    """
    body = b"".join(_encoded(VIEWS.index(view), found) for view, found in views.items())
    return _HEADER.pack(_FORMAT, len(views)) + body


def decode(blob: bytes) -> dict[View, Modality]:
    """Return what `encode` stored; ValueError if the bytes are of another format."""
    try:
        form, count = _HEADER.unpack_from(blob)
        if form != _FORMAT:
            raise ValueError(f"modality of format {form}, this forkmon reads {_FORMAT}")
        found: dict[View, Modality] = {}
        at = _HEADER.size
        for _ in range(count):
            view, one, at = _decoded(blob, at)
            found[view] = one
    except (struct.error, IndexError) as error:
        raise ValueError(f"modality cut short: {error}") from error
    return found


def _encoded(view: int, m: Modality) -> bytes:
    fixed = _FIXED.pack(
        view | _STATES.index(m.state) << 4, min(m.modes, 255), min(m.held, 255), len(m.peaks),
        m.n, m.sampled, len(m.valleys), len(m.sides), m.p, _single(m.depth), _single(m.z),
        _single(m.dip), _single(m.separation),
    )  # fmt: skip
    peaks = (_PEAK.pack(p.position, p.mass, _single(p.prominence)) for p in m.peaks)
    valleys = (_VALLEY.pack(v) for v in m.valleys)
    return b"".join((fixed, *peaks, *valleys, m.sides))


def _decoded(blob: bytes, at: int) -> tuple[View, Modality, int]:
    what, modes, held, peaks, n, sampled, valleys, sides, p, depth, z, dip, separation = (
        _FIXED.unpack_from(blob, at)
    )
    at += _FIXED.size
    after_peaks = at + peaks * _PEAK.size
    after_valleys = after_peaks + valleys * _VALLEY.size
    end = after_valleys + sides
    if end > len(blob):
        raise IndexError(f"{end} bytes expected, {len(blob)} found")
    found = Modality(
        _STATES[int(what) >> 4],
        modes,
        held,
        tuple(Peak(*peak) for peak in _PEAK.iter_unpack(blob[at:after_peaks])),
        tuple(v for (v,) in _VALLEY.iter_unpack(blob[after_peaks:after_valleys])),
        depth,
        z,
        dip,
        p,
        n,
        separation,
        blob[after_valleys:end],
        sampled,
    )
    return VIEWS[int(what) & 15], found, end


def _single(value: float) -> float:
    """Return a number that fits a float32: a separation may be anything."""
    return min(max(value, -3e38), 3e38)
