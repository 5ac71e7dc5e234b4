"""Summary: all that one pass over a tensor yields; `join` for its chunks, Group for blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from forkmon.errors import GridMismatchError
from forkmon.stats import blocks as float_blocks
from forkmon.stats import channels, grids, parts
from forkmon.stats import codes as code_counts
from forkmon.stats import sample as samples
from forkmon.stats.blocks import Blocks
from forkmon.stats.channels import Channels
from forkmon.stats.codes import Codes, Counts
from forkmon.stats.modality import Modality, View
from forkmon.stats.moments import EMPTY, Moments
from forkmon.stats.parts import Part
from forkmon.stats.reduced import Reduced
from forkmon.stats.row import QUANTILES, StatRow
from forkmon.stats.sample import Sample
from forkmon.stats.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of the elements [some set of global indices] of one tensor.

    Exact grids need only `codes`; on the prefix grid `blocks` holds the float parts.
    """

    dtype: str
    codes: Codes
    blocks: Blocks
    parts: tuple[Part, ...] = ()
    """Sketch and channel sums by span of indices."""
    digest: int | None = 0
    """Sum of the hashes of its kilobytes; None where a piece began inside one."""
    sample: Sample = field(default_factory=samples.empty)
    """Elements at fixed places, which engines pick while a chunk is in hand."""

    def join(self, other: Summary) -> Summary:
        """Return the summary of both sets of elements; they must not overlap.

        Identity `empty(dtype)`, commutative, associative. Any split on span borders (`parts.SPAN`)
        gives the same bits as the whole; codes and moments do so for any split on block borders,
        on exact grids for any split at all.
        """
        if self.dtype != other.dtype:
            raise GridMismatchError(f"a summary of {self.dtype} joined with one of {other.dtype}")
        digests = (self.digest, other.digest)
        return Summary(
            self.dtype,
            self.codes.join(other.codes),
            self.blocks.join(other.blocks),
            parts.joined(self.parts, other.parts),
            None if None in digests else sum(d or 0 for d in digests) % 2**64,
            self.sample.join(other.sample),
        )

    def compacted(self) -> Summary:
        """Return the same summary with neighbouring parts added up: it takes less memory."""
        return replace(self, parts=parts.compacted(self.parts))

    def finish(self, rows: int = 0) -> Finished:
        """Return the numbers of these elements; `rows` of a matrix, 0 for a vector."""
        if self.codes.exact:
            n, zeros = int(self.codes.counts.sum()), code_counts.zeros(self.codes)
            nan, inf = code_counts.nonfinite(self.codes)
            moments = code_counts.moments(self.codes)
        else:
            n, zeros, nan, inf = self.blocks.counts()
            moments = self.blocks.total()
        found = _finished(self.codes, moments, n=n, zeros=zeros, nan=nan, inf=inf)
        return replace(
            found,
            sketch=parts.sketch(self.parts),
            channels=self._channels(rows),
            digest=self.digest if n else None,
        )

    def _channels(self, rows: int) -> Channels | None:
        if not rows or not self.parts or not len(self.parts[0].columns):
            return None
        return channels.measure(
            parts.row_squares(self.parts, rows), parts.column_squares(self.parts)
        )


def empty(dtype: str) -> Summary:
    """Return the summary of no elements: the identity of `join`."""
    grid = grids.GRID_OF_DTYPE[dtype]
    return Summary(dtype, code_counts.empty(grid), float_blocks.empty())


@dataclass(frozen=True, slots=True)
class Finished:
    """The numbers of a whole tensor or block, before they are flattened into a row."""

    codes: Codes
    moments: Moments
    n: int
    zeros: int
    nan: int
    inf: int
    quantiles: tuple[float | None, ...]
    """At `QUANTILES`, from the codes: on the prefix grid good to one cell."""
    shifted: Reduced | None = None
    """Counts around the pivot, where it is not 0 and codes alone cannot give them."""
    sketch: Sketch | None = None
    """None for a block: distances of blocks add up from their tensors'."""
    channels: Channels | None = None
    """None for vectors and blocks."""
    digest: int | None = None
    """64-bit content hash: equal for bit-equal tensors of one dtype."""
    modality: Mapping[View, Modality] = field(default_factory=dict["View", Modality])
    """By view; empty for blocks, and where nobody measured it."""

    def pivot(self) -> float:
        """Return the pivot that these values ask for."""
        low, median, high = (self.quantiles[QUANTILES.index(q)] for q in (0.25, 0.5, 0.75))
        return code_counts.pivot(median, low, high)

    def needs_recount(self) -> bool:
        """Return whether the values must be counted again, around `pivot()`."""
        return not self.codes.exact and self.shifted is None and self.pivot() != 0.0

    def with_shifted(self, counts: Counts, at: float) -> Finished:
        """Return these numbers with the counts around the pivot `at` added."""
        return replace(self, shifted=code_counts.from_shifted(counts, at))

    def reduced(self) -> Reduced:
        """Return the histogram that history keeps."""
        if self.shifted is not None:
            return self.shifted
        at = self.pivot() if self.codes.exact else 0.0
        return code_counts.reduce(self.codes, at)

    def row(self) -> StatRow:
        """Return the numbers that history keeps."""
        m, elements = self.moments, self.modality.get("elements")
        return StatRow(
            n=self.n,
            mean=m.mean if m.n and np.isfinite(m.mean) else None,
            std=m.std,
            skew=m.skew,
            kurtosis=m.kurtosis,
            min=m.lo if m.n else None,
            max=m.hi if m.n else None,
            l1=m.l1,
            l2=m.l2,
            zeros=self.zeros,
            nan=self.nan,
            inf=self.inf,
            quantiles=self._quantiles(),
            distinct=code_counts.distinct(self.codes),
            modes=None if elements is None else elements.modes,
        )

    def _quantiles(self) -> tuple[float | None, ...]:
        m = self.moments
        if self.shifted is not None:
            cells = np.array([c[:2] for c in self.shifted.cells()], np.float64).reshape(-1, 2)
            count = np.array(self.shifted.counts, np.int64)
            found = code_counts.cell_quantiles(
                cells[:, 0], cells[:, 1], count, QUANTILES, exact=False
            )
        else:
            found = self.quantiles
        return tuple(None if q is None else min(max(q, m.lo), m.hi) for q in found)


def _finished(
    codes: Codes, moments: Moments, *, n: int, zeros: int, nan: int, inf: int
) -> Finished:
    quantiles = code_counts.quantiles(codes, QUANTILES)
    return Finished(codes, moments, n, zeros, nan, inf, quantiles)


@dataclass(frozen=True, slots=True)
class Group:
    """A block of the model: its tensors' numbers taken together, on the prefix grid."""

    prefixes: Counts
    moments: Moments = EMPTY
    n: int = 0
    zeros: int = 0
    nan: int = 0
    inf: int = 0

    def merge(self, other: Group) -> Group:
        """Return the group of the tensors of both.

        Identity `empty_group()`. Counts add exactly in any order; the moments do up to rounding,
        so the worker adds tensors in name order.
        """
        return Group(
            prefixes=self.prefixes + other.prefixes,
            moments=self.moments.merge(other.moments),
            n=self.n + other.n,
            zeros=self.zeros + other.zeros,
            nan=self.nan + other.nan,
            inf=self.inf + other.inf,
        )

    def finish(self) -> Finished:
        """Return the group's numbers."""
        codes = Codes(grids.PREFIX, self.prefixes)
        return _finished(
            codes, self.moments, n=self.n, zeros=self.zeros, nan=self.nan, inf=self.inf
        )


def empty_group() -> Group:
    """Return the group of no tensors: the identity of `merge`."""
    return Group(np.zeros(65_536, np.int64))


def group_of(tensor: Finished) -> Group:
    """Return the group of one tensor."""
    return Group(
        prefixes=tensor.codes.prefixes(),
        moments=tensor.moments,
        n=tensor.n,
        zeros=tensor.zeros,
        nan=tensor.nan,
        inf=tensor.inf,
    )
