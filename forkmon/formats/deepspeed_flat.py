"""ZeRO's flat partitions: which stretches of which rank files are which parameter.

ZeRO-1 and 2 lay the parameters of a group end to end in one vector and give each rank one stretch
of it. ZeRO-3 cuts each parameter into as many equal parts as there are ranks, the last one padded,
and lays a rank's parts end to end. Only the order and the shapes of the parameters tell them apart
(deepspeed/utils/zero_to_fp32.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from pathlib import Path

from forkmon.errors import FormatError
from forkmon.formats.refs import ITEM_BYTES, Role, TensorRef, Tile
from forkmon.formats.tiles_join import joined_tensor
from forkmon.text import safe

Shapes = Mapping[str, tuple[int, ...]]
"""In the order in which the parameters lie in a vector."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run of consecutive elements of a vector, and where a file holds it."""

    file: Path
    offset: int
    """In bytes."""
    at: int
    """Index of its first element in the vector."""
    size: int


def end_to_end(vectors: Sequence[TensorRef]) -> tuple[Stretch, ...]:
    """Return flat tensors as one vector."""
    starts = accumulate((vector.size for vector in vectors), initial=0)
    return tuple(
        Stretch(vector.file, vector.offset, at, vector.size)
        for vector, at in zip(vectors, starts, strict=False)
    )


def length(stretches: Sequence[Stretch]) -> int:
    """Return how many elements stretches have together."""
    return sum(stretch.size for stretch in stretches)


def taken(stretches: Sequence[Stretch], first: int, size: int, item: int) -> list[Stretch]:
    """Return what a vector holds from index `first` on, counted from there."""
    found: list[Stretch] = []
    begin = bisect_right(stretches, first, key=lambda stretch: stretch.at) - 1
    for stretch in stretches[max(0, begin) :]:
        if stretch.at >= first + size:
            break
        low = max(first, stretch.at)
        high = min(first + size, stretch.at + stretch.size)
        if low < high:
            ahead = (low - stretch.at) * item
            found.append(Stretch(stretch.file, stretch.offset + ahead, low - first, high - low))
    return found


def one_vector(
    shapes: Shapes, paddings: Sequence[int], ranks: Sequence[TensorRef], role: Role
) -> Iterator[TensorRef]:
    """Yield the parameters of a group whose vector is cut among the ranks (ZeRO-1, ZeRO-2).

    `paddings`, one a parameter or none at all, are the elements left free after each. Raises
    FormatError where the vector has another length than the parameters make.
    """
    if not shapes:
        return
    vector = end_to_end(ranks)
    gaps = [0] * len(shapes) if not paddings else list(paddings)
    if len(gaps) != len(shapes):
        raise FormatError(f"{len(gaps):,} paddings for {len(shapes):,} parameters")
    needed = sum(map(prod, shapes.values())) + sum(gaps)
    # Both lengths may miss the padding at the end, which is below two elements a rank.
    unit = 2 * len(ranks)
    if -(-needed // unit) != -(-length(vector) // unit) or needed - gaps[-1] > length(vector):
        raise _other_length(needed, length(vector))
    dtype, at = ranks[0].dtype, 0
    for (name, shape), gap in zip(shapes.items(), gaps, strict=True):
        size = prod(shape)
        whole = TensorRef(name, dtype, shape, ranks[0].file, 0, role)
        yield _parameter(whole, taken(vector, at, size, ITEM_BYTES[dtype]))
        at += size + gap


def part_of_each(
    shapes: Shapes, ranks: Sequence[Sequence[TensorRef]], role: Role
) -> Iterator[TensorRef]:
    """Yield the parameters of which each rank holds one part (ZeRO-3).

    `ranks` are each rank's vectors, one a sub-group. Raises FormatError where a rank's vectors
    have another length than its parts of the parameters make.
    """
    vectors = [end_to_end(vectors) for vectors in ranks]
    world = len(ranks)
    parts = [-(-prod(shape) // world) for shape in shapes.values()]
    for vector in vectors:
        if length(vector) != sum(parts):
            raise _other_length(sum(parts), length(vector))
    dtype, at = ranks[0][0].dtype, 0
    for (name, shape), part in zip(shapes.items(), parts, strict=True):
        found: list[Stretch] = []
        for rank, vector in enumerate(vectors):
            before = rank * part
            own = max(0, min(part, prod(shape) - before))
            found += [
                Stretch(piece.file, piece.offset, piece.at + before, piece.size)
                for piece in taken(vector, at, own, ITEM_BYTES[dtype])
            ]
        yield _parameter(TensorRef(name, dtype, shape, ranks[0][0].file, 0, role), found)
        at += part


def _other_length(needed: int, held: int) -> FormatError:
    return FormatError(
        f"its parameters need {needed:,} elements of the flat partitions, which hold {held:,}"
    )


def _parameter(whole: TensorRef, stretches: Sequence[Stretch]) -> TensorRef:
    tiles = [tile for stretch in stretches for tile in _tiles(whole.shape, whole.dtype, stretch)]
    return joined_tensor(whole, tiles, safe(whole.name))


def _tiles(shape: tuple[int, ...], dtype: str, stretch: Stretch) -> Iterator[Tile]:
    """Yield the boxes that a run of consecutive elements of a tensor is."""
    at = stretch.offset
    for start, size in boxes_of_run(shape, stretch.at, stretch.at + stretch.size):
        yield Tile(stretch.file, at, start, size)
        at += prod(size) * ITEM_BYTES[dtype]


def boxes_of_run(
    shape: tuple[int, ...], first: int, last: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield the boxes, as start and shape, that the elements [first, last) of a tensor make.

    In the order of the elements, and at most two for each axis but the last, which makes one.
    """
    if first >= last:
        return
    if len(shape) < 2:
        yield ((first,), (last - first,)) if shape else ((), ())
        return
    inner = shape[1:]
    slab = prod(inner)
    head, tail = -(-first // slab), last // slab
    if head > tail:  # within one slab
        yield from _under(tail, boxes_of_run(inner, first - tail * slab, last - tail * slab))
        return
    if first < head * slab:
        yield from _under(head - 1, boxes_of_run(inner, first - (head - 1) * slab, slab))
    if head < tail:
        yield (head, *(0 for _ in inner)), (tail - head, *inner)
    yield from _under(tail, boxes_of_run(inner, 0, last - tail * slab))


def _under(
    index: int, boxes: Iterator[tuple[tuple[int, ...], tuple[int, ...]]]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    for start, size in boxes:
        yield (index, *start), (1, *size)
