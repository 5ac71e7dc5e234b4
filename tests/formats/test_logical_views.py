"""Views: the elements numpy slicing would give, however they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from forkmon.errors import TornError
from forkmon.formats import logical_view
from forkmon.formats.logical_view import Limits, describe, pieces, read_view
from forkmon.formats.reading import OpenFiles, listing
from forkmon.formats.refs import ITEM_BYTES, Stripes, TensorRef, View
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]
WORDS = {1: "u8", 2: "bf16", 4: "f32", 8: "f64"}


def positions(stripes: Stripes) -> NDArray[np.intp]:
    """Return every position that stripes cover, in order."""
    starts = stripes.start + stripes.stride * np.arange(stripes.count)
    return (starts[:, None] + np.arange(stripes.length)).ravel()


def expected(data: NDArray[np.generic], view: View) -> NDArray[np.generic]:
    """Return what numpy makes of a view of a whole tensor's elements."""
    matrix = data.reshape(-1, view.row_length)
    return matrix[np.ix_(positions(view.rows), positions(view.columns))].ravel()


@st.composite
def stripes(draw: st.DrawFn, longest: int = 6) -> Stripes:
    """Return some stripes."""
    length = draw(st.integers(1, longest))
    count = draw(st.integers(1, 5))
    gap = draw(st.integers(0, longest))
    return Stripes(draw(st.integers(0, 4)), length, count, 0 if count == 1 else length + gap)


def reach(some: Stripes) -> int:
    """Return how long an axis has to be to hold the stripes."""
    return some.start + some.stride * (some.count - 1) + some.length


@st.composite
def views(draw: st.DrawFn) -> tuple[View, int]:
    """Return a view and the number of rows of the tensor it is of."""
    rows, columns = draw(stripes()), draw(stripes())
    if draw(st.booleans()):
        columns = Stripes(0, draw(st.integers(1, 8)))
    wide = reach(columns) + draw(st.integers(0, 3))
    return View("w", "why", wide, rows, columns), reach(rows) + draw(st.integers(0, 3))


@given(
    views(),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 80),
    st.sampled_from([(8, 8), (16, 8), (64, 16), (64, 1 << 20), (1 << 20, 1 << 20)]),
    st.data(),
)
def test_any_chunk_of_any_view_is_what_numpy_slices(
    made: tuple[View, int], item: int, chunk: int, sizes: tuple[int, int], data: st.DataObject
) -> None:
    """Element by element, for any limits, chunk size and starting point."""
    view, rows = made
    kind = np.dtype(f"u{item}")
    whole = np.random.default_rng(0).integers(0, 255, rows * view.row_length * item, np.uint8)
    stored = whole.tobytes()
    wanted = expected(whole.view(kind), view)
    tensor = TensorRef("v", WORDS[item], (len(wanted),), Path("f"), 3, view=view)

    def read(offset: int, out: memoryview, path: Path) -> None:
        assert offset >= 3
        assert offset - 3 + len(out) <= len(stored)
        out[:] = stored[offset - 3 : offset - 3 + len(out)]

    got = np.zeros_like(wanted)
    first = data.draw(st.integers(0, len(wanted)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logical_view, "BULK_BYTES", sizes[0])
        patch.setattr(logical_view, "RUN_BYTES", sizes[1])
        for start in range(first, len(wanted), chunk):
            raw = memoryview(got[start : start + chunk]).cast("B")
            read_view(read, tensor, view, start, raw)
    assert np.array_equal(got[first:], wanted[first:])


@given(views(), st.integers(1, 40), st.integers(1, 40))
def test_no_piece_reads_more_around_it_than_the_bulk(
    made: tuple[View, int], bulk: int, run: int
) -> None:
    """Pieces follow each other without a gap, and what is not contiguous is small."""
    view, _ = made
    total = view.rows.size * view.columns.size
    found = list(pieces(view, 0, total, Limits(bulk, run)))
    assert sum(piece.size for piece in found) == total
    assert all(piece.contiguous or piece.extent <= bulk for piece in found)


def test_long_runs_are_read_where_they_belong() -> None:
    """The rows of each head are one read; a column slice is read in bulk, not row by row."""
    by_head = View("w", "", 1000, Stripes(64, 64, 12, 192), Stripes(0, 1000))
    assert len(list(pieces(by_head, 0, 64 * 12 * 1000, Limits(1 << 19, 1 << 14)))) == 12
    slices = View("w", "", 3000, Stripes(0, 1000), Stripes(1000, 1000))
    assert len(list(pieces(slices, 0, 1_000_000, Limits(1 << 19, 1 << 14)))) < 10
    whole = View("w", "", 3000, Stripes(0, 1000), Stripes(0, 3000), transposed=True)
    assert len(list(pieces(whole, 0, 3_000_000, Limits(1 << 19, 1 << 14)))) == 1


@pytest.fixture
def fused(tmp_path: Path) -> Path:
    """Return a file of a matrix [96, 40] behind another tensor."""
    path = tmp_path / "step_1.safetensors"
    matrix = np.arange(96 * 40, dtype=np.float32).reshape(96, 40)
    save_file({"a": np.zeros(7, np.float32), "w": matrix}, path)
    return path


def view_of(ref: CheckpointRef, view: View) -> TensorRef:
    """Return a view of the tensor `w` of a checkpoint."""
    whole = next(t for t in listing(ref).tensors if t.name == "w")
    shape = (view.rows.size, view.columns.size)
    return replace(whole, name="part", shape=shape, view=view)


def test_open_files_read_views_from_many_threads(fused: Path, ref_of: RefOf) -> None:
    """Chunks of a view in any order are the numpy slice."""
    ref = ref_of(fused)
    view = View("w", "", 40, Stripes(8, 8, 4, 24), Stripes(10, 5, 3, 10))
    tensor = view_of(ref, view)
    out = np.zeros(tensor.size, np.float32)
    with OpenFiles(ref) as files, ThreadPoolExecutor(4) as pool:

        def read(first: int) -> None:
            files.read_into(tensor, first, memoryview(out)[first : first + 7])

        list(pool.map(read, reversed(range(0, tensor.size, 7))))
        files.verify()
    whole = np.arange(96 * 40, dtype=np.float32)
    assert np.array_equal(out, expected(whole, view))


def test_a_view_has_an_end_and_a_torn_file_is_torn(fused: Path, ref_of: RefOf) -> None:
    """Reading past the part is refused though the file goes on; truncation is no crash."""
    ref = ref_of(fused)
    tensor = view_of(ref, View("w", "", 40, Stripes(0, 8), Stripes(0, 4)))
    out = memoryview(bytearray(tensor.bytes))
    assert tensor.bytes == 8 * 4 * ITEM_BYTES["f32"]
    with OpenFiles(ref) as files:
        with pytest.raises(ValueError, match="ends before"):
            files.read_into(tensor, 1, out)
        fused.write_bytes(b"")
        with pytest.raises(TornError):
            files.read_into(tensor, 0, out)


def test_a_view_is_described_in_one_line() -> None:
    """The provenance says where a part lies and why; what a name holds does no harm."""
    view = View("a\x1b[2J.w", "by head", 10, Stripes(4, 4, 12, 12), Stripes(0, 10))
    assert describe(view) == "of a\\u{1b}[2J.w, rows 4–7 and 11 more every 12 (by head)"
    turned = View("w", "Conv1D", 9, Stripes(0, 1), Stripes(3, 3), transposed=True)
    assert describe(turned) == "of w, row 0, columns 3–5, columns are the output channels (Conv1D)"
    vector = View("b", "thirds", 1, Stripes(5, 5), Stripes(0, 1))
    assert describe(vector) == "of b, elements 5–9 (thirds)"
