"""Tensors in boxes: any tiling, any strides and any range give what numpy gives."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forkmon.errors import FormatError, IncompleteError, TornError
from forkmon.formats import tiles
from forkmon.formats.logical_layout import Layout
from forkmon.formats.logical_split import split
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import Stripes, TensorRef, Tile, Tiled, View
from forkmon.formats.tiles import boxes_of, in_one_range, read_tiled
from forkmon.formats.tiles_cover import check_cover
from forkmon.formats.tiles_join import joined_tensor, rows_apart
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]
Array = NDArray[np.uint32]
Box = tuple[tuple[int, ...], tuple[int, ...]]
TINY = 64
"""Bytes: limits of bulk reads small enough to be met by small tensors."""


@dataclass(frozen=True, slots=True)
class Laid:
    """An array, and the same elements laid out in files as tiles."""

    array: Array
    tiled: Tiled
    files: dict[Path, bytes]

    def read(self, offset: int, out: memoryview, path: Path) -> None:
        """Fill a buffer as `pread` does; out of the file is an error."""
        raw = self.files[path][offset : offset + len(out)]
        assert len(raw) == len(out)
        out[:] = raw


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(1, 7), min_size=0, max_size=4)))


@st.composite
def tilings(draw: st.DrawFn, shape: tuple[int, ...], cuts: int = 4) -> list[Box]:
    """Cut a box in two, and what comes of it again, along any axis."""
    boxes: list[Box] = [((0,) * len(shape), shape)]
    for _ in range(draw(st.integers(0, cuts)) if shape else 0):
        start, size = boxes.pop(draw(st.integers(0, len(boxes) - 1)))
        axis = draw(st.integers(0, len(shape) - 1))
        at = draw(st.integers(0, size[axis]))
        boxes.append((start, (*size[:axis], at, *size[axis + 1 :])))
        after = (*start[:axis], start[axis] + at, *start[axis + 1 :])
        boxes.append((after, (*size[:axis], size[axis] - at, *size[axis + 1 :])))
    return boxes


@st.composite
def strided(draw: st.DrawFn, part: Array) -> tuple[bytes, tuple[int, ...] | None, int]:
    """Return a part's bytes in C order or another, with gaps, and a stretch of junk before it."""
    ahead = draw(st.integers(0, 5))
    junk = b"\xee\xee\xee\xee" * ahead
    if draw(st.booleans()):
        return junk + part.tobytes(), None, ahead * 4
    order = draw(st.permutations(range(part.ndim)))
    strides = [0] * part.ndim
    step = draw(st.integers(1, 3))
    for axis in reversed(order):
        strides[axis] = step
        step *= max(1, part.shape[axis]) + draw(st.integers(0, 2))
    room = np.full(max(step, 1), 0xEEEEEEEE, np.uint32)
    for index in product(*map(range, part.shape)):
        room[sum(i * s for i, s in zip(index, strides, strict=True))] = part[index]
    return junk + room.tobytes(), tuple(strides), ahead * 4


@st.composite
def laid_out(draw: st.DrawFn) -> Laid:
    shape = draw(shapes())
    array = np.arange(prod(shape), dtype=np.uint32).reshape(shape)
    files: dict[Path, bytes] = {}
    found: list[Tile] = []
    for start, size in draw(tilings(shape)):
        where = tuple(slice(at, at + long) for at, long in zip(start, size, strict=True))
        raw, strides, ahead = draw(strided(np.asarray(array[where])))
        path = Path(f"part-{draw(st.integers(0, 2))}")
        offset = len(files.get(path, b"")) + ahead
        files[path] = files.get(path, b"") + raw
        found.append(Tile(path, offset, start, size, strides))
    return Laid(array, Tiled(shape, tuple(found)), files)


@settings(max_examples=400)
@given(laid_out(), st.data(), st.booleans())
def test_any_range_of_any_tiling_is_what_numpy_has(
    laid: Laid, data: st.DataObject, tiny: bool
) -> None:
    """Boxes of any cut, order, gaps and files: [first, last) is the array's."""
    flat = laid.array.reshape(-1)
    first = data.draw(st.integers(0, flat.size))
    last = data.draw(st.integers(first, flat.size))
    out = np.zeros(last - first, np.uint32)
    with pytest.MonkeyPatch.context() as patch:
        if tiny:
            for limit in ("BULK_BYTES", "RUN_BYTES", "GAP_BYTES"):
                patch.setattr(tiles, limit, TINY)
        read_tiled(laid.read, boxes_of(laid.tiled), 4, first, out.data.cast("B"))
    assert np.array_equal(out, flat[first:last])


@settings(max_examples=200)
@given(laid_out())
def test_a_tiling_covers_its_tensor_and_less_or_more_does_not(laid: Laid) -> None:
    """Each box taken away leaves a hole, each one doubled overlaps."""
    boxes = [(tile.start, tile.shape) for tile in laid.tiled.tiles]
    check_cover(laid.tiled.shape, boxes, "w")
    full = [index for index, (_, size) in enumerate(boxes) if prod(size)]
    for index in full:
        with pytest.raises(IncompleteError, match="w: "):
            check_cover(laid.tiled.shape, boxes[:index] + boxes[index + 1 :], "w")
        with pytest.raises(FormatError, match="w: two of its parts overlap"):
            check_cover(laid.tiled.shape, [*boxes, boxes[index]], "w")


@settings(max_examples=200)
@given(st.data())
def test_the_check_agrees_with_counting_every_element(data: st.DataObject) -> None:
    """Any set of boxes passes exactly where each element lies in one of them."""
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple))
    box = st.tuples(*(st.tuples(st.integers(0, n - 1), st.integers(1, n)) for n in shape))
    drawn = data.draw(st.lists(box, max_size=4))
    boxes = [(tuple(a for a, _ in one), tuple(b for _, b in one)) for one in drawn]
    counted = np.zeros(shape, int)
    for start, size in boxes:
        counted[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] += 1
    inside = all(a + n <= s for one in boxes for a, n, s in zip(*one, shape, strict=True))
    try:
        check_cover(shape, boxes, "w")
        passed = True
    except (FormatError, IncompleteError):
        passed = False
    assert passed == (inside and bool((counted == 1).all()))


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ((4, 4), ((0,), (4,))),
        ((4, 4), ((0, 1), (4, 4))),
        ((4, 4), ((-1, 0), (5, 4))),
        ((1 << 62, 4), ((0, 0), (1 << 62, 4))),
        ((2,) * 70, ((0,) * 70, (2,) * 70)),
        ((-1, 4), ((0, 0), (1, 4))),
    ],
)
def test_nonsense_is_refused(shape: tuple[int, ...], box: Box) -> None:
    """Boxes out of their tensor, and tensors that cannot be, are errors that name the tensor."""
    with pytest.raises(FormatError, match="layer"):
        check_cover(shape, [box], "layer")


def test_parts_too_irregular_to_check_are_refused_soon() -> None:
    """A tiling made to be slow ends in an error: work is bounded."""
    many = 3000
    boxes = [((i, i, 0), (many - i, 1, 1)) for i in range(many)]
    with pytest.raises((FormatError, IncompleteError)):
        check_cover((many, many, many), boxes, "w")


def in_files(directory: Path, array: NDArray[np.float32], cuts: list[Box]) -> TensorRef:
    """Write each box of an array to a file of its own, and return the tensor they make."""
    found: list[Tile] = []
    for number, (start, size) in enumerate(cuts):
        path = directory / f"part-{number}"
        where = tuple(slice(at, at + long) for at, long in zip(start, size, strict=True))
        path.write_bytes(b"head" + array[where].tobytes())
        found.append(Tile(path, 4, start, size))
    tensor = TensorRef("w.qkv.weight", "f32", array.shape, found[0].file, 0)
    return joined_tensor(tensor, found, "w")


@pytest.mark.parametrize(
    "cuts",
    [
        [((0, 0), (60, 32)), ((60, 0), (36, 32))],
        [((0, 0), (96, 10)), ((0, 10), (96, 22))],
        [((0, 0), (50, 20)), ((0, 20), (50, 12)), ((50, 0), (46, 32))],
    ],
    ids=["rows", "columns", "both"],
)
def test_threads_read_ranges_and_fused_parts_of_shards(
    tmp_path: Path, ref_of: RefOf, cuts: list[Box]
) -> None:
    """A fused tensor in shards falls apart into the same q, k and v as a whole one."""
    array = np.arange(96 * 32, dtype=np.float32).reshape(96, 32)
    tensor = in_files(tmp_path, array, cuts)
    parts = split(tensor, Layout((("q", 32), ("k", 32), ("v", 32)), 1, "test"))
    ref = ref_of(*(tile.file for tile in (tensor.tiled or Tiled((), ())).tiles), path=tmp_path)
    with OpenFiles(ref) as files, ThreadPoolExecutor(4) as pool:

        def elements(part: TensorRef) -> NDArray[np.float32]:
            out = np.empty(part.shape, np.float32)
            flat = out.reshape(-1).data
            for first in range(0, part.size, 777):
                files.read_into(part, first, flat[first : first + 777])
            return out

        whole, *thirds_of_it = pool.map(elements, (tensor, *parts))
        files.verify()
    assert np.array_equal(whole, array)
    for found, wanted in zip(thirds_of_it, np.split(array, 3), strict=True):
        assert np.array_equal(found, wanted)


def test_columns_of_shards_are_read(tmp_path: Path, ref_of: RefOf) -> None:
    """A view of columns that crosses the border of two tiles is right."""
    array = np.arange(40 * 30, dtype=np.float32).reshape(40, 30)
    tensor = in_files(tmp_path, array, [((0, 0), (40, 13)), ((0, 13), (40, 17))])
    view = View("w", "test", 30, Stripes(5, 20), Stripes(7, 12), transposed=True)
    part = replace(tensor, shape=(20, 12), view=view)
    out = np.empty((20, 12), np.float32)
    with OpenFiles(ref_of(*tmp_path.iterdir(), path=tmp_path)) as files:
        files.read_into(part, 0, out.data)
    assert np.array_equal(out, array[5:25, 7:19])


def test_a_tile_in_a_file_of_no_checkpoint_is_not_opened(tmp_path: Path, ref_of: RefOf) -> None:
    """Only the files of the fingerprint are ever opened."""
    array = np.zeros((4, 4), np.float32)
    tensor = in_files(tmp_path, array, [((0, 0), (2, 4)), ((2, 0), (2, 4))])
    with OpenFiles(ref_of(tmp_path / "part-0")) as files, pytest.raises(TornError, match="part-1"):
        files.read_into(tensor, 0, np.empty(16, np.float32).data)


@given(laid_out(), st.integers(1, 3))
def test_a_stack_falls_apart_into_its_rows(laid: Laid, factor: int) -> None:
    """Slices along the first axis hold what numpy's hold."""
    if laid.array.ndim == 0:
        return
    tensor = TensorRef("w", "u32", laid.array.shape, Path("part-0"), 0, tiled=laid.tiled)
    rows = rows_apart(tensor, laid.array.shape[0])
    for row, wanted in zip(rows, laid.array, strict=True):
        out = np.zeros(wanted.shape, np.uint32)
        raw = out.reshape(-1).data.cast("B")
        if row.tiled is None:
            laid.read(row.offset, raw, row.file)
        else:
            read_tiled(laid.read, boxes_of(row.tiled), 4, 0, raw)
        assert np.array_equal(out, wanted)


def test_one_tile_in_plain_order_is_a_plain_tensor(tmp_path: Path) -> None:
    """A tensor that one file holds whole needs no assembly; one of other strides does."""
    path = tmp_path / "part"
    plain = TensorRef("w", "f32", (3, 1, 4), path, 0)
    tile = Tile(path, 12, (0, 0, 0), (3, 1, 4), (4, 99, 1))
    assert in_one_range((3, 1, 4), [tile]) == tile
    assert joined_tensor(plain, [tile], "w") == replace(plain, offset=12)
    turned = replace(tile, strides=(1, 1, 3))
    assert joined_tensor(plain, [turned], "w").tiled == Tiled((3, 1, 4), (turned,))
