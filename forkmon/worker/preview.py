"""A first look at a large checkpoint: 1 % of each tensor, until the exact numbers are there.

A preview row is an estimate and says so (`preview=True`). Its distribution (mean to kurtosis,
quantiles, histogram) is that of the elements looked at, `min` and `max` are the extremes among
them. `n` is the tensor's real size; counts and norms are scaled to it: zeros, NaN, Inf and L1 by
n over the elements looked at, L2 by the root of that. What was not seen counts 0, so a preview
can miss a NaN and never invents one. Distinct values are not estimated; there is no sketch, no
channels and no content hash, so nothing can be decided on a preview.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from math import ceil, sqrt

import numpy as np

from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import ITEM_BYTES, TensorRef
from forkmon.kernels.protocol import Kernel
from forkmon.stats.reduced import Reduced
from forkmon.stats.row import StatRow
from forkmon.store.values import TensorKey

Row = tuple[TensorKey, StatRow, Reduced | None]

SHARE = 0.01
"""Part of a large tensor that is looked at."""

PIECE = 16_384
"""Elements of one stretch: small enough to be many, large enough for a disk."""

FEWEST = 4
"""Stretches of a tensor at least: one alone would see only its first rows."""

MOST = 256
"""Stretches of a tensor at most: more would tell no more, and memory is bounded."""

WHOLE = FEWEST * PIECE
"""Tensors up to this size are looked at whole."""

WORTH_SECONDS = 1.0
"""An analysis that takes longer than this is preceded by a preview."""

USUAL_RATE = 1.5e9
"""Bytes a second, before anything was measured."""


def worth_it(size: int, rate: float | None = None) -> bool:
    """Return whether analysing `size` bytes takes so long that a preview should come first.

    `rate`: bytes a second of the checkpoints before, None before the first.
    """
    return size / (rate or USUAL_RATE) > WORTH_SECONDS


def preview_rows(files: OpenFiles, tensors: Iterable[TensorRef], kernel: Kernel) -> Iterator[Row]:
    """Yield an estimated row for each tensor, in the order given; reading errors are raised."""
    for tensor in tensors:
        yield preview_row(files, tensor, kernel)


def preview_row(files: OpenFiles, tensor: TensorRef, kernel: Kernel) -> Row:
    """Return the estimated row of one tensor; of a small one all elements are looked at."""
    stretches = places(tensor.name, tensor.size)
    seen = sum(size for _, size in stretches)
    item = ITEM_BYTES[tensor.dtype]
    data = np.empty(seen * item, np.uint8)
    at = 0
    for first, size in stretches:
        files.read_into(tensor, first, data[at : at + size * item].data)
        at += size * item
    accumulator = kernel.accumulator(tensor.dtype)
    accumulator.add(data, 0)
    finished = accumulator.summary().finish()
    if finished.needs_recount():
        pivot = finished.pivot()
        finished = finished.with_shifted(accumulator.shifted(data, pivot), pivot)
    key = TensorKey(tensor.name, "tensor", tensor.role, tensor.dtype, tensor.shape)
    return key, scaled(finished.row(), tensor.size), finished.reduced()


def places(name: str, size: int) -> list[tuple[int, int]]:
    """Return the stretches (first element, elements) of a tensor that a preview looks at.

    One at a hashed place in each of equal parts: spread evenly, but out of step with whatever
    repeats in the tensor; the same for every checkpoint of it, so that previews compare.
    """
    if size <= WHOLE:
        return [(0, size)]
    count = min(MOST, max(FEWEST, ceil(size * SHARE / PIECE)))
    borders = [size * i // count for i in range(count + 1)]
    choose = random.Random(f"{name}\0{size}")
    return [(choose.randint(first, last - PIECE), PIECE) for first, last in pairwise(borders)]


def scaled(row: StatRow, n: int) -> StatRow:
    """Return the row of some of a tensor's elements as an estimate for all `n` of them."""
    if row.n == n:
        return replace(row, preview=True, distinct=None, modes=None)
    ratio = n / row.n
    return replace(
        row,
        n=n,
        zeros=round(row.zeros * ratio),
        nan=round(row.nan * ratio),
        inf=round(row.inf * ratio),
        l1=None if row.l1 is None else row.l1 * ratio,
        l2=None if row.l2 is None else row.l2 * sqrt(ratio),
        distinct=None,
        modes=None,
        preview=True,
    )
