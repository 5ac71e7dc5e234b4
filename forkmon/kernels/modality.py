"""Measures modality: a density with its significant peaks, and the dip, from counts by cell.

Gates and figures: "The Garden of Forking Paths" (arXiv 2403.08739) asks where weight distributions
fork; a fork is said to be there where a valley is deep enough to matter (a tenth of the height and
more, both sides of a percent or more, sides at least three rounding cells apart) and clear enough
to be no accident. Weights are not drawn independently: z and p are a calibrated ruler, not an
inference about a population.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forkmon.kernels.density import Estimate, Law, estimate_of, knots, law_of
from forkmon.kernels.dip import dip, p_value
from forkmon.kernels.peaks import Gates, Ridge, Valley, ridge
from forkmon.stats import cells as of
from forkmon.stats import parts, sample
from forkmon.stats.cells import Cells
from forkmon.stats.codes import Codes
from forkmon.stats.modality import LARGEST_SAMPLE, Modality, Peak, State, View
from forkmon.stats.summary import Finished, Summary

Floats = NDArray[np.float64]

ENTER: Final = Gates(depth=0.15, z=4.0, mass=0.01, elements=24)
"""Among 3,000 samples each of eleven unimodal laws and n = 256, 512, 2048, one reached z = 4 (a
spike on a slab); of an even mixture 4 deviations apart 99.7 % did at n = 512."""

LEAVE: Final = Gates(depth=0.08, z=2.5, mass=0.005, elements=12)
"""Looser, so that a fork at the edge of being seen does not come and go."""

CERTAIN_P: Final = 1e-6
"""A dip as improbable as this is evidence of two modes without a clear valley."""

APART: Final = 3.0
"""Rounding cells between two peaks at least: neighbours on a grid are no modes."""

FEW_VALUES: Final = 8
MOST_OF_THEM: Final = 0.98
"""Where fewer than 8 values carry 98 % of the elements, their shape cannot be told."""

MIDDLE_CELLS: Final = 32
"""Cells that hold the middle 90 % of the values at least, for their shape to be told by cell."""

_NO_SPREAD: Final = 1e-12
"""Relative range below which values are one value."""


_NUMBERS: Final = frozenset({"f16", "bf16", "f8_e4m3", "f8_e5m2", "f32", "f64", "i8", "i16"})
"""Types of weights; the others hold masks, indices and packed bits, whose peaks mean nothing."""


def views(whole: Summary, finished: Finished, rows: int) -> dict[View, Modality]:
    """Return the peaks of a tensor's elements and, of a matrix, of its row and column norms."""
    if whole.dtype not in _NUMBERS or not finished.moments.n:
        return {}
    values = whole.sample.values.astype(np.float64)
    found: dict[View, Modality] = {"elements": measure(cells_of(whole, finished), values)}
    if rows and finished.channels is not None:
        found["rows"] = of_values(np.sqrt(parts.row_squares(whole.parts, rows)))
        found["columns"] = of_values(np.sqrt(parts.column_squares(whole.parts)))
    return found


def cells_of(whole: Summary, finished: Finished) -> Cells:
    """Return the cells in which a tensor's elements are counted, fine enough for their spread.

    Prefixes of float32 are too coarse around a norm gain, hence the counts around its pivot; where
    those are too coarse as well, the sample. Where the values were rounded to a coarser type
    before, that type's own cells.
    """
    if whole.codes.exact:
        return of.of_codes(whole.codes)
    bits = of.mantissa_bits(whole.sample.values)
    if bits == of.BRAIN_BITS:
        return of.of_codes(Codes("bf16", whole.codes.prefixes()))
    if bits <= of.COARSE_BITS and _is_half(whole.sample.values):
        return of.on_grid(whole.sample.values.astype(np.float64), "f16")
    counted = of.of_codes(whole.codes)
    if finished.shifted is not None:
        counted = of.of_reduced(finished.shifted)
    if _coarse(counted) and len(whole.sample.values):
        return of.of_values(whole.sample.values.astype(np.float64))
    return counted


def measure(found: Cells, elements: Floats | None = None) -> Modality:
    """Return the peaks of values counted by cell.

    `elements`: some of the values in a fixed order, whose sides of the clearest valley are kept.
    """
    n = min(found.n, LARGEST_SAMPLE)
    if not _spread(found):
        at = found.origin + 0.5 * float(found.low[0] + found.high[0]) if len(found.low) else 0.0
        peaks = (Peak(at, 1.0, 1.0),) if len(found.low) else ()
        return Modality("flat", 1, 1, peaks, (), 0.0, 0.0, 0.0, 1.0, n, 0.0)
    law = law_of(found)
    estimate = estimate_of(law, n)
    left = ridge(estimate.density, estimate.below, n * estimate.bandwidth, n, LEAVE)
    d = dip(*knots(law))
    p = p_value(d, n)
    modes, kept = _counted(found, estimate, left, p, n)
    qlim = modes == 1 and _few(found)
    return _result(law, estimate, kept, ("qlim" if qlim else "peaks", modes, d, p, n), elements)


def of_values(values: Floats, dtype: str = "f32") -> Modality:
    """Return the peaks of values as they are stored in a type, sides in the order given."""
    if dtype in ("f16", "bf16"):
        rounded = _rounded(values, dtype)
        return measure(of.on_grid(rounded, dtype), rounded[sample.places(len(rounded))])
    return measure(of.of_values(values), values[sample.places(len(values))])


def _spread(found: Cells) -> bool:
    if len(found.low) < 2:
        return False
    far = max(abs(float(found.low[0])), abs(float(found.high[-1])))
    return float(found.high[-1] - found.low[0]) > _NO_SPREAD * far


def _counted(found: Cells, estimate: Estimate, left: Ridge, p: float, n: int) -> tuple[int, Ridge]:
    """Return how many peaks pass the gates for entering, and those that pass the looser ones."""
    apart = [
        found.steps_between(estimate.at(a), estimate.at(b)) >= APART
        for a, b in zip(left.peaks, left.peaks[1:], strict=False)
    ]
    if not all(apart):
        left = _without(left, apart, estimate.density)
    least = ENTER.mass_of(n)
    large = [v for v in left.valleys if v.depth >= ENTER.depth and v.mass >= least]
    modes = 1 + sum(v.z >= ENTER.z for v in large)
    if modes == 1 and large and p <= CERTAIN_P:
        modes = 2
    return modes, left


def _without(left: Ridge, keep: list[bool], density: Floats) -> Ridge:
    """Return the peaks with those that stand too close to a higher neighbour taken away."""
    peaks, valleys = list(left.peaks), list(left.valleys)
    for i in reversed(range(len(keep))):
        if not keep[i]:
            lower = i if density[peaks[i]] < density[peaks[i + 1]] else i + 1
            del peaks[lower], valleys[i]
    clearest = max(valleys, key=lambda v: v.z, default=left.clearest)
    return Ridge(tuple(peaks), tuple(valleys), clearest)


def _few(found: Cells) -> bool:
    most, few = MOST_OF_THEM * float(found.count.sum()), FEW_VALUES - 1
    if few * float(found.count.max()) < most:
        return False
    return float(np.sort(found.count)[-few:].sum()) >= most


def _result(
    law: Law,
    estimate: Estimate,
    left: Ridge,
    told: tuple[State, int, float, float, int],
    elements: Floats | None,
) -> Modality:
    state, modes, d, p, n = told
    origin = law.cells.origin
    shares = [0.0, *(float(estimate.below[v.at]) for v in left.valleys), 1.0]
    peaks = tuple(
        Peak(origin + estimate.at(at), shares[i + 1] - shares[i], _prominence(estimate, left, i))
        for i, at in enumerate(left.peaks)
    )
    clear = left.clearest
    measured = Modality(
        state, modes, len(peaks), peaks,
        tuple(origin + estimate.at(v.at) for v in left.valleys),
        clear.depth if clear else 0.0, clear.z if clear else 0.0, d, p, n,
        _separation(law, estimate, left),
    )  # fmt: skip
    if len(peaks) < 2 or clear is None or elements is None:
        return measured
    above = elements - origin > estimate.at(clear.at)
    return replace(
        measured, sides=np.packbits(above, bitorder="little").tobytes(), sampled=len(above)
    )


def _prominence(estimate: Estimate, left: Ridge, i: int) -> float:
    beside: list[Valley] = [*left.valleys[max(0, i - 1) : i], *left.valleys[i : i + 1]]
    height = float(estimate.density[left.peaks[i]])
    lows = [float(estimate.density[v.at]) for v in beside]
    return 1.0 - max(lows) / height if lows else 1.0


def _separation(law: Law, estimate: Estimate, left: Ridge) -> float:
    """Return the distance of the two largest branches in pooled standard deviations."""
    if len(left.peaks) < 2:
        return 0.0
    c = law.cells
    middle, width = 0.5 * (c.low + c.high), c.high - c.low
    cuts = np.searchsorted(middle, [estimate.at(v.at) for v in left.valleys])
    branches: list[tuple[float, float, float]] = []
    for rows in np.split(np.arange(len(middle)), cuts):
        mass = float(c.count[rows].sum())
        if mass > 0:
            mean = float((c.count[rows] * middle[rows]).sum()) / mass
            spread = (middle[rows] - mean) ** 2 + width[rows] ** 2 / 12
            branches.append((mass, mean, float((c.count[rows] * spread).sum())))
    if len(branches) < 2:
        return 0.0
    one, other = sorted(branches, reverse=True)[:2]
    # Atoms have no spread of their own: what cannot be told apart in the picture is the least.
    blur = (estimate.edges[1] - estimate.edges[0]) ** 2 / 12
    pooled = sqrt((one[2] + other[2]) / (one[0] + other[0]) + blur)
    return abs(one[1] - other[1]) / pooled


def _rounded(values: Floats, dtype: str) -> Floats:
    if dtype == "f16":
        return values.astype(np.float16).astype(np.float64)
    bits = values.astype(np.float32).view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    kept = (bits + np.uint32(0x7FFF) + even) & np.uint32(0xFFFF0000)
    return kept.view(np.float32).astype(np.float64)


def _coarse(found: Cells) -> bool:
    """Return whether too few cells hold the middle of the values to show a shape."""
    share = np.cumsum(found.count) / found.count.sum()
    first, last = np.searchsorted(share, (0.05, 0.95))
    return int(last - first) < MIDDLE_CELLS


def _is_half(values: NDArray[np.float32]) -> bool:
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        return bool((finite.astype(np.float16).astype(np.float32) == finite).all())
