"""Which neurons are looked at (SNIN), and the edges between them: only their rows are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from forkmon.formats.refs import ITEM_BYTES, TensorRef
from forkmon.kernels.protocol import numpy_dtype
from forkmon.probes.neuromfa_network import Matrix, Role

Ints = NDArray[np.int64]
Codes = NDArray[np.generic]
"""Elements as they are stored: codes of 8 and 16 bits, or floats."""

Site = Literal["stream", "heads", "middle", "hidden", "own"]
"""Where nodes are: a block's input, what attention mixes, its output, the hidden layer."""

SITES: Final[tuple[Site, ...]] = ("stream", "heads", "middle", "hidden", "own")

_FROM: Final[dict[Role, Site]] = {
    "qkv": "stream", "q": "stream", "k": "stream", "v": "stream", "o": "heads", "up": "middle",
    "down": "hidden", "other": "own",
}  # fmt: skip
_TO: Final[dict[Role, Site]] = {
    "qkv": "heads", "q": "heads", "k": "heads", "v": "heads", "o": "middle", "up": "hidden",
    "down": "stream", "other": "own",
}  # fmt: skip


Read = Callable[[TensorRef, int, memoryview], None]
"""Fill a buffer with a tensor's elements from an index on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many neurons of each layer are taken, and how often."""

    s: int
    """0 takes all of them."""
    seeds: int


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """The sampled part of one matrix: elements (outputs, inputs)."""

    site: Site
    node: int
    """Tells the layers of nodes at a site apart: experts, or matrices without a role."""
    values: Codes


def site_of(matrix: Matrix, place: int) -> tuple[Site, int]:
    """Return the layer of nodes that a matrix's edges start at; `place` is its own number."""
    site = _FROM[matrix.role]
    return site, place if site == "own" else matrix.expert if site == "hidden" else 0


@lru_cache(maxsize=65_536)
def pick(seed: int, key: tuple[int, ...], size: int, count: int) -> Ints:
    """Return `count` of `size` positions, ascending, without replacement; all where 0 or too many.

    The same at every step and for every version of numpy: its legacy stream is frozen.
    """
    if not 0 < count < size:
        return np.arange(size)
    draw = np.random.RandomState([seed, *key, size])
    if 3 * count > size:
        return np.sort(draw.permutation(size)[:count])
    taken = dict.fromkeys(draw.randint(0, size, 2 * count).tolist())
    while len(taken) < count:
        taken.update(dict.fromkeys(draw.randint(0, size, count).tolist()))
    return np.sort(np.array(list(taken)[:count]))


def chosen(matrix: Matrix, place: int, seed: int, s: int) -> tuple[Ints, Ints]:
    """Return the outputs and inputs that one sample takes of a matrix.

    2 s nodes of the hidden layer, s of any other; of fused attention the same s in each third.
    """
    site, node = site_of(matrix, place)
    inputs = pick(seed, _key(matrix.block, site, node), matrix.inputs, _count(site, s))
    to = _TO[matrix.role]
    block = matrix.block + (matrix.role == "down")
    node = place if to == "own" else matrix.expert if to == "hidden" else 0
    if matrix.role != "qkv":
        key = _key(block, to, node + (to == "own"))
        return pick(seed, key, matrix.outputs, _count(to, s)), inputs
    third, rest = divmod(matrix.outputs, 3)
    if rest or third != matrix.inputs:  # keys and values are shared by several heads
        return pick(seed, _key(block, to, 1), matrix.outputs, 3 * s), inputs
    one = pick(seed, _key(block, to, 0), third, s)
    return np.concatenate([one, one + third, one + 2 * third]), inputs


def edges(matrix: Matrix, place: int, plan: Plan, read: Read) -> Iterator[Edges]:
    """Yield the edges of each sample, seed by seed; rows that several need are read once."""
    taken = [chosen(matrix, place, seed, plan.s) for seed in range(plan.seeds)]
    lines = [inputs if matrix.turned else outputs for outputs, inputs in taken]
    rows = np.unique(np.concatenate(lines))
    stored = read_rows(matrix.tensor, rows, read)
    site, node = site_of(matrix, place)
    for outputs, inputs in taken:
        first, second = (inputs, outputs) if matrix.turned else (outputs, inputs)
        part = stored[np.searchsorted(rows, first)[:, None], second]
        yield Edges(site, node, part.T if matrix.turned else part)


def read_rows(tensor: TensorRef, rows: Ints, read: Read) -> Codes:
    """Return some rows (ascending) of a matrix; neighbours are read at once, others never."""
    length = tensor.shape[1]
    width = length * ITEM_BYTES[tensor.dtype]
    raw = np.empty(len(rows) * width, np.uint8)
    for first, last in _runs(rows):
        read(tensor, int(rows[first]) * length, raw[first * width : last * width].data)
    return raw.view(numpy_dtype(tensor.dtype)).reshape(len(rows), length)


def _runs(rows: Ints) -> Sequence[tuple[int, int]]:
    """Return (first, last) indexes of stretches of rows that follow one another."""
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    ends = [0, *cuts.tolist(), len(rows)]
    return list(pairwise(ends))


def _key(block: int, site: Site, node: int) -> tuple[int, ...]:
    return block, SITES.index(site), node


def _count(site: Site, s: int) -> int:
    return 2 * s if site == "hidden" else s
