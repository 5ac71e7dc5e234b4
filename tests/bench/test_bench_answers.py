"""The benchmark measures what forkmon does: its answers are right, whatever its times are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from forkmon.cli import main
from forkmon.commands import bench_files, bench_rates, bench_report
from forkmon.commands.bench_files import RECIPES, SCALE, Case, Recipe
from forkmon.commands.bench_rates import CAT, DISTRIBUTION, READ, WHOLE, Benchmark, Rate
from forkmon.errors import Exit, ForkmonError
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import ITEM_BYTES
from forkmon.stats import grids
from forkmon.stats.row import QUANTILES, StatRow
from forkmon.worker.backends import Device

SIZE = 2_000_000
STATISTICS = (DISTRIBUTION, WHOLE)


def values_of(case: Case) -> NDArray[np.float64]:
    """Return one tensor's values, by another road than the kernels'."""
    tensor = case.tensors[0]
    raw = bytearray(tensor.bytes)
    with OpenFiles(case.ref) as files:
        files.read_into(tensor, 0, memoryview(raw))
    if tensor.dtype in ("f32", "f64"):
        return np.frombuffer(raw, f"<f{ITEM_BYTES[tensor.dtype]}").astype(np.float64)
    kind = {"bf16": "<u2", "f16": "<u2"}.get(tensor.dtype, "u1")
    grid = grids.grid(grids.GRID_OF_DTYPE[tensor.dtype])
    out: NDArray[np.float64] = grid.low[np.frombuffer(raw, kind)]
    return out


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Benchmark]:
    """Return a benchmark that measures once."""
    with Benchmark(threads=2, repeat=1, device=Device("cpu", "")) as opened:
        yield opened


def agrees(row: StatRow, x: NDArray[np.float64]) -> None:
    """Compare a row with numpy over the same values."""
    assert (row.n, row.nan, row.inf, row.zeros) == (x.size, 0, 0, int((x == 0).sum()))
    assert (row.min, row.max) == (x.min(), x.max())
    assert row.mean == pytest.approx(x.mean(), abs=1e-12 * np.abs(x).max())
    assert row.std == pytest.approx(x.std(), rel=1e-9)
    assert row.l1 == pytest.approx(np.abs(x).sum(), rel=1e-9)
    assert row.l2 == pytest.approx(np.linalg.norm(x), rel=1e-9)
    wanted = np.quantile(x, QUANTILES, method="inverted_cdf")
    assert row.quantiles == pytest.approx(wanted.tolist(), rel=2**-6, abs=1e-6 * np.abs(x).max())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.label)
def test_what_is_timed_gives_the_right_statistics(
    benchmark: Benchmark, tmp_path: Path, recipe: Recipe
) -> None:
    """Both kinds of statistics of every dtype agree with numpy, tensor by tensor."""
    case = bench_files.make(tmp_path, recipe, SIZE)
    x = values_of(case)
    found = benchmark.measure(case)
    assert set(found.rates) == {CAT, READ, *STATISTICS}
    for what in STATISTICS:
        assert set(found.rows[what]) == {tensor.name for tensor in case.tensors}
        agrees(found.rows[what]["layers.0.weight"], x)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.label)
def test_made_files_have_the_size_and_the_shape_asked_for(tmp_path: Path, recipe: Recipe) -> None:
    """Bell-shaped as trained weights are, or all zero; of about the size."""
    case = bench_files.make(tmp_path, recipe, SIZE)
    x = values_of(case)
    assert case.dtype == recipe.dtype
    assert 0.9 * SIZE < case.bytes <= SIZE
    assert case.ref.path.stat().st_size == pytest.approx(case.bytes, abs=4096)
    if recipe.zeros:
        assert not x.any()
        return
    scale = {"f8_e4m3": 80.0, "i8": 32.0}.get(recipe.dtype, SCALE)
    assert x.std() == pytest.approx(scale, rel=0.02)
    assert abs(((x - x.mean()) ** 4).mean() / x.std() ** 4 - 3) < 0.1


def test_reading_alone_reads_every_byte_once(tmp_path: Path) -> None:
    """The yardstick does the engine's reads: no fewer, no more."""
    case = bench_files.make(tmp_path, RECIPES[0], SIZE)
    with bench_rates.ReadingAlone(2) as reading:
        assert reading.run(case) == case.bytes


class Clock:
    """A clock by which each task takes the next of given times; it is asked before and after."""

    def __init__(self, times: list[int]) -> None:
        self.now = 0.0
        self.running = False
        self.times = iter(times)

    def __call__(self) -> float:
        self.running = not self.running
        if not self.running:
            self.now += next(self.times)
        return self.now


def test_the_best_of_interleaved_runs_counts(tmp_path: Path) -> None:
    """Each turn runs everything once; the warm-up is not timed; the shortest time stays."""
    case = bench_files.make(tmp_path, RECIPES[0], SIZE)
    clock = Clock([10, 3, 5, 7, 4, 6, 2, 9])  # cat, read, distribution, whole; twice
    with Benchmark(threads=1, repeat=2, device=Device("cpu", ""), clock=clock) as opened:
        rates = opened.measure(case).rates
    assert [rates[name].seconds for name in (CAT, READ, *STATISTICS)] == [4, 3, 2, 7]


def test_ratios_are_of_time_for_the_same_bytes() -> None:
    """A file's header, which only cat reads, does not count against anybody."""
    cat = Rate(CAT, 1.0, 2_000, 0)
    half = Rate(WHOLE, 1.0, 1_000, 250)
    assert half.times(cat) == pytest.approx(2.0)
    assert half.gigaelements == pytest.approx(250e-9)


def test_the_command_prints_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two rows a dtype with ratios, the machine above; its files are gone afterwards."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["bench", "--size", "1", "--repeat", "1", "--threads", "2"]) == Exit.OK
    out = capsys.readouterr().out.splitlines()
    assert "2 threads" in out[0]
    assert "numpy" in out[1]
    assert len([line for line in out if DISTRIBUTION in line]) == len(RECIPES)
    assert len([line for line in out if WHOLE in line]) == len(RECIPES)
    assert not list(tmp_path.iterdir())


def test_a_file_of_the_users_is_measured_as_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One case, named by its dtypes; the file stays."""
    case = bench_files.make(tmp_path, RECIPES[3], SIZE)
    path = case.ref.path
    assert main(["bench", str(path), "--json", "--repeat", "1", "--threads", "1"]) == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == bench_report.SCHEMA
    assert found["machine"]["threads"] == 1
    (file,) = found["files"]
    assert (file["label"], file["bytes"], file["tensors"]) == ("f32", case.bytes, 4)
    assert [s["what"] for s in file["statistics"]] == [DISTRIBUTION, WHOLE]
    for statistics in file["statistics"]:
        assert statistics["gb_per_s"] == pytest.approx(case.bytes / statistics["seconds"] / 1e9)
        assert statistics["times_read"] > 0
    assert path.exists()


def test_what_is_no_checkpoint_is_said_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A missing file and a full disk end with a plain sentence."""
    assert main(["bench", str(tmp_path / "none")]) == Exit.RUNTIME
    assert "no such file" in capsys.readouterr().err
    with pytest.raises(ForkmonError, match="--size"):
        bench_files.make(tmp_path, RECIPES[0], 10**18)


def test_the_processors_name_is_data(tmp_path: Path) -> None:
    """It comes from a file: control characters do not reach the screen."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Evil\x1b[2J 9000\n")
    assert "\x1b" not in bench_report.cpu_model(cpuinfo)
    assert bench_report.cpu_model(cpuinfo).endswith("9000")
    assert bench_report.cpu_model(tmp_path / "none")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.label)
def test_statistics_of_resident_bytes_are_those_of_the_file(tmp_path: Path, recipe: Recipe) -> None:
    """The loader that stands in for an upload hands out the right bytes, in slices too."""
    pytest.importorskip("torch")
    from forkmon.commands import bench_resident

    found = bench_resident.measure(recipe, "cpu", size=SIZE // 2, repeat=1)
    codes = bench_files.bell(recipe.dtype, found.elements)
    if codes.dtype.kind == "f" and recipe.dtype != "f16":
        x = codes.astype(np.float64)
    else:
        raw = codes.view(np.uint16 if codes.itemsize == 2 else np.uint8)
        x = grids.grid(grids.GRID_OF_DTYPE[recipe.dtype]).low[raw]
    agrees(found.row, np.zeros_like(x) if recipe.zeros else x)
    assert found.copy > 0
    assert found.of_bandwidth(found.copy) == 0.5
