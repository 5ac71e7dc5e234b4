"""The local engine moves work and never changes results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from forkmon.engines.local import LocalEngine, row_length, spans
from forkmon.formats import reading
from forkmon.formats.refs import TensorRef
from forkmon.kernels.cpu import CpuKernel
from forkmon.runs.poll import Poller
from forkmon.runs.refs import CheckpointRef
from forkmon.stats.parts import SPAN
from forkmon.stats.summary import Finished

Arrays = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """Tensors of several types and sizes, one of two spans, gains, and degenerate ones."""
    rng = np.random.default_rng(0)
    return {
        "big": rng.standard_normal((2100, 8200), np.float32),
        "half": rng.standard_normal((700, 900)).astype(np.float16),
        "double": rng.standard_normal((300, 300)),
        "gain": (1 + 0.01 * rng.standard_normal(512)).astype(np.float32),
        "bad": np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45], np.float32),
        "scalar": np.array(3.0, np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "whole": rng.integers(-100, 100, (40, 40)).astype(np.int64),
    }


@pytest.fixture
def ref(tmp_path: Path, arrays: Arrays) -> CheckpointRef:
    """A settled checkpoint of the arrays."""
    save_file(arrays, tmp_path / "step_1.safetensors")
    poller = Poller(tmp_path, interval=0, settle=0)
    ready = [found for _ in range(3) for found in poller.poll().ready]
    assert len(ready) == 1
    return ready[0]


def analysed(
    ref: CheckpointRef, *, threads: int, chunk_bytes: int, names: list[str] | None = None
) -> dict[str, Finished]:
    """Return every tensor's numbers."""
    tensors = [t for t in reading.listing(ref).tensors if names is None or t.name in names]
    with (
        LocalEngine(CpuKernel(), threads=threads, chunk_bytes=chunk_bytes) as engine,
        reading.OpenFiles(ref) as files,
    ):
        found = list(engine.run(files, tensors))
    assert [t.name for t, _ in found] == [t.name for t in tensors]
    return {t.name: f for t, f in found}


@pytest.mark.parametrize(("threads", "chunk_bytes"), [(1, 1), (4, 1 << 20), (7, 3_000_000)])
def test_threads_and_chunks_change_no_bit(
    ref: CheckpointRef, threads: int, chunk_bytes: int
) -> None:
    """Rows, histograms, sketches, channels and hashes are identical."""
    expected = analysed(ref, threads=2, chunk_bytes=16 << 20)
    found = analysed(ref, threads=threads, chunk_bytes=chunk_bytes)
    for name, value in expected.items():
        assert found[name].row() == value.row()
        assert found[name].reduced() == value.reduced()
        assert found[name].sketch == value.sketch
        assert found[name].channels == value.channels
        assert found[name].digest == value.digest
        assert found[name].modality == value.modality


def test_numbers_are_those_of_the_arrays(ref: CheckpointRef, arrays: Arrays) -> None:
    """Whatever the size and type, the engine's numbers are numpy's."""
    found = analysed(ref, threads=2, chunk_bytes=1 << 20)
    for name in ("big", "half", "double", "gain", "whole"):
        values = arrays[name].astype(np.float64)
        row = found[name].row()
        assert row.n == values.size
        assert row.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-12)
        assert row.std == pytest.approx(values.std(), rel=1e-9)
        assert row.max == values.max()
    bad = found["bad"].row()
    assert (bad.nan, bad.inf, bad.zeros, bad.n) == (1, 2, 2, 6)
    assert found["scalar"].row().mean == 3.0
    assert found["empty"].row().n == 0


def test_modes_are_measured_on_every_weight(ref: CheckpointRef) -> None:
    """Elements of every tensor of floats, rows and columns of matrices; not of whole numbers."""
    found = analysed(ref, threads=2, chunk_bytes=1 << 20)
    assert set(found["big"].modality) == {"elements", "rows", "columns"}
    assert set(found["gain"].modality) == {"elements"}
    assert found["whole"].modality == found["empty"].modality == {}
    assert found["whole"].row().modes is None
    for name in ("big", "half", "double", "gain", "scalar"):
        assert found[name].row().modes == 1
    assert found["scalar"].modality["elements"].state == "flat"
    assert found["big"].modality["elements"].n == 65_536


def test_gains_are_read_twice_and_kept_around_their_pivot(ref: CheckpointRef) -> None:
    """A norm gain's histogram is centred; the whole matrix' is not."""
    found = analysed(ref, threads=2, chunk_bytes=1 << 20, names=["gain", "big"])
    assert found["gain"].reduced().pivot == pytest.approx(1.0, abs=0.01)
    assert found["gain"].reduced().n == 512
    assert found["big"].reduced().pivot == 0.0


def test_a_reading_error_is_raised_and_ends_the_run(
    ref: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing hangs, and no thread goes on reading."""

    def broken(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(reading.OpenFiles, "read_into", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        analysed(ref, threads=2, chunk_bytes=1 << 20)


def make(shape: tuple[int, ...]) -> TensorRef:
    return TensorRef("t", "f32", shape, Path("f"), 0)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), 0), ((5,), 0), ((1, 5), 0), ((5, 1), 0), ((5, 7), 7), ((4, 3, 2), 6), ((0, 4), 0)],
)
def test_only_matrices_have_rows(shape: tuple[int, ...], expected: int) -> None:
    """Vectors and single rows have no channels; more dimensions are (first, all others)."""
    assert row_length(make(shape)) == expected


def test_spans_cover_a_tensor_once_on_fixed_borders() -> None:
    """Borders do not depend on anything but the index."""
    cut: Callable[[int], list[tuple[int, int]]] = lambda n: [  # noqa: E731
        (s.first, s.last) for s in spans(make((n,)))
    ]
    assert cut(0) == [(0, 0)]
    assert cut(5) == [(0, 5)]
    assert cut(2 * SPAN + 1) == [(0, SPAN), (SPAN, 2 * SPAN), (2 * SPAN, 2 * SPAN + 1)]
