"""Float statistics per block of 65,536 global indices, combined in one fixed tree.

Sums of floats depend on their order. So kernels sum inside blocks whose borders are global
indices, `join` only collects the pieces, and `total` combines them in a tree fixed by the block
index: the same bits for any chunk size, thread count or order of arrival.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forkmon.errors import GridMismatchError
from forkmon.stats.moments import EMPTY, Moments

BLOCK: Final = 65_536
"""Elements a block."""

START, SPAN, N, ZEROS, NAN, INF = range(6)
"""Columns of `whole`: first global index, elements, finite ones, zeros, NaN, infinities."""

MEAN, MU2, MU3, MU4, LO, HI, MEAN_ABS = range(7)
"""Columns of `real`, as in `Moments`."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """One row a block or piece of a block: `whole` (k, 6) int64 and `real` (k, 7) float64."""

    whole: NDArray[np.int64]
    real: NDArray[np.float64]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Blocks):
            return NotImplemented
        return bool(np.array_equal(self.whole, other.whole)) and bool(
            np.array_equal(self.real, other.real)
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def join(self, other: Blocks) -> Blocks:
        """Return the pieces of both in index order; GridMismatchError if they overlap."""
        whole = np.concatenate([self.whole, other.whole])
        real = np.concatenate([self.real, other.real])
        order = np.argsort(whole[:, START], kind="stable")
        whole, real = whole[order], real[order]
        if np.any(whole[:-1, START] + whole[:-1, SPAN] > whole[1:, START]):
            raise GridMismatchError("two pieces of a tensor cover the same elements")
        return Blocks(whole, real)

    def counts(self) -> tuple[int, int, int, int]:
        """Return the numbers of elements, zeros, NaN and infinities."""
        spans, _, zeros, nan, inf = self.whole[:, SPAN:].sum(axis=0).tolist()
        return spans, zeros, nan, inf

    def total(self) -> Moments:
        """Return the moments of all pieces, combined in the fixed tree."""
        leaves = [_leaf(w, r) for w, r in zip(self.whole, self.real, strict=True)]
        level = _whole_blocks(self.whole[:, START] // BLOCK, leaves)
        while len(level) > 1:
            level = _parents(level)
        return next(iter(level.values()), EMPTY)


def empty() -> Blocks:
    """Return no pieces: the identity of `join`."""
    return Blocks(np.zeros((0, 6), np.int64), np.zeros((0, 7), np.float64))


def _leaf(whole: NDArray[np.int64], real: NDArray[np.float64]) -> Moments:
    return Moments(int(whole[N]), *real.tolist()) if whole[N] else EMPTY


def _whole_blocks(index: NDArray[np.int64], leaves: list[Moments]) -> dict[int, Moments]:
    """Merge the pieces of each block from left to right."""
    blocks: dict[int, Moments] = {}
    for i, leaf in zip(index.tolist(), leaves, strict=True):
        blocks[i] = blocks[i].merge(leaf) if i in blocks else leaf
    return blocks


def _parents(level: dict[int, Moments]) -> dict[int, Moments]:
    parents: dict[int, Moments] = {}
    for i, node in level.items():
        parent = i >> 1
        parents[parent] = parents[parent].merge(node) if parent in parents else node
    return parents
