"""Flat partitions: whatever the shapes and the number of ranks, every element finds its place."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from forkmon.errors import FormatError
from forkmon.formats.deepspeed_flat import boxes_of_run, one_vector, part_of_each
from forkmon.formats.refs import TensorRef
from forkmon.formats.tiles import boxes_of, read_tiled

Floats = NDArray[np.float32]
SHAPES = st.lists(
    st.lists(st.integers(1, 5), min_size=0, max_size=3).map(tuple), min_size=1, max_size=4
)


def read(tensor: TensorRef, files: list[Floats]) -> Floats:
    """Return the values of a tensor whose rank files are arrays."""
    raw = [each.tobytes() for each in files]

    def fill(offset: int, out: memoryview, path: Path) -> None:
        out[:] = raw[int(path.name)][offset : offset + len(out)]

    buffer = bytearray(tensor.bytes)
    out = memoryview(buffer)
    if tensor.tiled is None:
        fill(tensor.offset, out, tensor.file)
    else:
        read_tiled(fill, boxes_of(tensor.tiled), 4, 0, out)
    return np.frombuffer(buffer, np.float32).reshape(tensor.shape)


def flat(rank: int, size: int, before: int = 0) -> TensorRef:
    """Return a rank's flat tensor, `before` elements behind the begin of its file."""
    return TensorRef("flat", "f32", (size,), Path(str(rank)), 4 * before, "optimizer")


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple), st.data())
def test_a_run_of_elements_is_boxes(shape: tuple[int, ...], data: st.DataObject) -> None:
    """The boxes of a run hold its elements, each once and in order."""
    first = data.draw(st.integers(0, prod(shape)))
    last = data.draw(st.integers(first, prod(shape)))
    index = np.arange(prod(shape)).reshape(shape)
    found: list[int] = []
    boxes = list(boxes_of_run(shape, first, last))
    for start, size in boxes:
        box = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
        found += index[box].ravel().tolist()
    assert found == list(range(first, last))
    assert len(boxes) <= 2 * len(shape) - 1


@given(SHAPES, st.integers(1, 5), st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_one_vector_round_trips(shapes: list[tuple[int, ...]], world: int, gaps: list[int]) -> None:
    """Parameters laid end to end, padded and cut among ranks come back as they were."""
    values = [np.random.default_rng(i).random(shape, np.float32) for i, shape in enumerate(shapes)]
    pieces = [
        np.concatenate([value.ravel(), np.full(gap, -1, np.float32)])
        for value, gap in zip(values, gaps, strict=False)
    ]
    vector = np.concatenate(pieces)
    vector = np.pad(vector, (0, -len(vector) % (2 * world)))
    files = np.split(vector, world)
    ranks = [flat(rank, len(file)) for rank, file in enumerate(files)]
    named = {str(i): shape for i, shape in enumerate(shapes)}
    found = list(one_vector(named, gaps[: len(shapes)], ranks, "optimizer"))
    for tensor, value in zip(found, values, strict=True):
        assert np.array_equal(read(tensor, files), value)


@given(SHAPES, st.integers(1, 5), st.data())
def test_parts_of_each_round_trip(
    shapes: list[tuple[int, ...]], world: int, data: st.DataObject
) -> None:
    """Parameters cut among ranks one by one, in sub-groups of any size, come back as they were."""
    values = [np.random.default_rng(i).random(shape, np.float32) for i, shape in enumerate(shapes)]
    padded = [np.pad(v.ravel(), (0, -v.size % world)).reshape(world, -1) for v in values]
    files = [np.concatenate([each[rank] for each in padded]) for rank in range(world)]
    at = data.draw(st.integers(0, len(files[0])))
    ranks = [[flat(r, at), flat(r, len(file) - at, at)] for r, file in enumerate(files)]
    named = {str(i): shape for i, shape in enumerate(shapes)}
    found = list(part_of_each(named, ranks, "optimizer"))
    for tensor, value in zip(found, values, strict=True):
        assert np.array_equal(read(tensor, files), value)


@pytest.mark.parametrize("size", [0, 3, 11, 12, 100])
def test_partitions_of_another_length_are_refused(size: int) -> None:
    """Vectors too short or too long for the parameters are never cut up."""
    with pytest.raises(FormatError, match="elements of the flat partitions"):
        list(one_vector({"a": (2, 3)}, (), [flat(0, size)], "optimizer"))
    with pytest.raises(FormatError, match="elements of the flat partitions"):
        list(part_of_each({"a": (2, 3)}, [[flat(0, size)]], "optimizer"))
