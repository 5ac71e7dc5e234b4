"""A preview estimates, says so, and looks at the same places every time."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from forkmon.formats.opening import file_print
from forkmon.formats.reading import OpenFiles, listing
from forkmon.formats.refs import TensorRef
from forkmon.kernels.cpu import CpuKernel
from forkmon.runs.refs import CheckpointRef, Fingerprint
from forkmon.stats.reduced import Reduced
from forkmon.stats.row import StatRow
from forkmon.worker import preview

LARGE = 3_000_000


class Counted(OpenFiles):
    """Open files that count the bytes read."""

    taken = 0

    def read_into(self, tensor: TensorRef, first: int, out: memoryview) -> None:
        self.taken += len(out)
        super().read_into(tensor, first, out)


def checkpoint(path: Path, **tensors: NDArray[np.generic]) -> CheckpointRef:
    """Write float tensors and return the settled ref of their file."""
    header: dict[str, object] = {}
    body = b""
    for name, values in tensors.items():
        kind = {"float32": "F32", "float16": "F16"}[str(values.dtype)]
        offsets = [len(body), len(body) + values.nbytes]
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": offsets}
        body += values.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    prints = Fingerprint((file_print(path.name, path.stat()),))
    return CheckpointRef(path, 1, "safetensors", (path,), prints, "heuristic")


def preview_of(ref: CheckpointRef) -> tuple[dict[str, tuple[StatRow, Reduced | None]], int]:
    """Return the preview rows of a checkpoint by name, and the bytes read for them."""
    with Counted(ref) as files:
        rows = preview.preview_rows(files, listing(ref).tensors, CpuKernel())
        return {key.name: (row, reduced) for key, row, reduced in rows}, files.taken


@given(st.text(max_size=20), st.integers(0, 10**12))
def test_places_are_apart_inside_and_the_same_every_time(name: str, size: int) -> None:
    """Stretches never overlap nor leave the tensor, and cover about 1 % of a large one."""
    found = preview.places(name, size)
    assert found == preview.places(name, size)
    assert all(first >= 0 and first + count <= size for first, count in found)
    assert all(a + n <= b for (a, n), (b, _) in pairwise(found))
    seen = sum(count for _, count in found)
    if size <= preview.WHOLE:
        assert seen == size
    elif size < preview.MOST * preview.PIECE / preview.SHARE:
        assert preview.SHARE * size <= seen <= max(preview.WHOLE, preview.SHARE * size * 1.25)
    else:
        assert seen == preview.MOST * preview.PIECE


def test_places_are_spread_over_the_whole_tensor() -> None:
    """Each of as many equal parts as there are stretches holds one."""
    size = 100_000_000
    found = preview.places("w", size)
    part = size / len(found)
    assert [int(first // part) for first, _ in found] == list(range(len(found)))
    assert found != preview.places("v", size)


def test_a_preview_is_near_and_labelled(tmp_path: Path) -> None:
    """From a few per cent of the bytes: the right size, and a distribution near the true one."""
    values = np.random.default_rng(3).normal(0.1, 0.5, LARGE).astype(np.float32)
    values[np.random.default_rng(4).random(LARGE) < 0.25] = 0
    rows, taken = preview_of(checkpoint(tmp_path / "a.safetensors", w=values))
    row, reduced = rows["w"]
    assert row.preview
    assert row.n == LARGE
    assert taken < 0.03 * values.nbytes
    assert row.mean == pytest.approx(values.mean(), abs=0.02)
    assert row.std == pytest.approx(values.std(), rel=0.03)
    assert row.zeros == pytest.approx(LARGE / 4, rel=0.05)
    assert row.l1 == pytest.approx(np.abs(values).sum(dtype=np.float64), rel=0.05)
    assert row.l2 == pytest.approx(np.linalg.norm(values.astype(np.float64)), rel=0.05)
    assert row.nan == row.inf == 0
    assert row.distinct is None
    assert row.min is not None
    assert row.min >= values.min()
    assert reduced is not None
    assert reduced.n < 0.03 * LARGE


def test_small_tensors_are_looked_at_whole(tmp_path: Path) -> None:
    """Their numbers are the exact ones; the label stays until the exact row is there."""
    small = np.arange(preview.WHOLE, dtype=np.float32)
    none = np.zeros((0, 4), np.float32)
    scalar = np.array(2.5, np.float16)
    rows, _ = preview_of(checkpoint(tmp_path / "a.safetensors", small=small, none=none, one=scalar))
    assert (rows["small"][0].n, rows["small"][0].mean) == (preview.WHOLE, small.mean(dtype=float))
    assert (rows["none"][0].n, rows["none"][0].mean) == (0, None)
    assert (rows["one"][0].n, rows["one"][0].mean) == (1, 2.5)
    assert all(row.preview for row, _ in rows.values())


def test_nonfinite_values_that_were_seen_are_scaled_and_others_not_invented(
    tmp_path: Path,
) -> None:
    """A tensor of NaN shows as one; numbers that fill it half are about half."""
    broken = np.full(LARGE, np.nan, np.float32)
    half = np.where(np.arange(LARGE) % 2, np.inf, 1.0).astype(np.float32)
    rows, _ = preview_of(checkpoint(tmp_path / "a.safetensors", broken=broken, half=half))
    assert (rows["broken"][0].nan, rows["broken"][0].finite) == (LARGE, 0)
    assert rows["broken"][0].mean is None
    assert rows["broken"][0].l2 in (None, 0.0)
    assert rows["half"][0].inf == LARGE // 2
    assert rows["half"][0].finite == LARGE // 2


def test_a_narrow_tensor_far_from_zero_keeps_its_shape(tmp_path: Path) -> None:
    """Where the exact row counts around a pivot, so does the preview."""
    gains = (1 + 1e-4 * np.random.default_rng(5).standard_normal(LARGE)).astype(np.float32)
    rows, _ = preview_of(checkpoint(tmp_path / "a.safetensors", gain=gains))
    reduced = rows["gain"][1]
    assert reduced is not None
    assert reduced.pivot == pytest.approx(1.0, abs=0.01)
    assert len(reduced.keys) > 50


def test_only_long_analyses_are_worth_a_preview() -> None:
    """More than about a second at the measured rate, or at the usual one before."""
    assert not preview.worth_it(100_000_000)
    assert preview.worth_it(10_000_000_000)
    assert preview.worth_it(100_000_000, rate=1e6)
    assert not preview.worth_it(10_000_000_000, rate=1e11)
    assert not preview.worth_it(0)
