"""Side by side in one run: forkmon, `lens analyze` of weightlens, torch and numpy.

Run by hand: python tests/bench/peers.py --lens /path/to/venv/bin/lens [--size MB] [--repeat N]
Every program gets the same warm file; forkmon computes its whole Summary, the others what they
offer that is nearest to it. `lens` is timed as a program, less its time on a file of 1 MB.
"""
# ruff: noqa: T201 -- a script prints

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from forkmon.commands import bench_files, bench_report
from forkmon.commands.bench_files import Case, Recipe
from forkmon.engines.protocol import Engine
from forkmon.engines.threads import usable_threads
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import TensorRef
from forkmon.worker.backends import choose_device, open_engine

RECIPES = (Recipe("bf16", "bf16"), Recipe("f32", "f32"))
BINS = 64
DEVIATIONS = 6.0


def main() -> int:
    """Print how long each takes on one bf16 and one f32 file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lens", help="the `lens` program; left out without it")
    parser.add_argument("--size", type=int, default=256, metavar="MB")
    parser.add_argument("--repeat", type=int, default=3, metavar="N")
    options = parser.parse_args()
    threads = usable_threads()
    print(f"{bench_report.cpu_model()}, {threads} threads, best of {options.repeat}, interleaved")
    print(f"{'file':<8}{'program':<34}{'seconds':>9}{'GB/s':>8}{'forkmon is faster':>20}")
    with (
        tempfile.TemporaryDirectory(prefix="forkmon-peers-") as directory,
        open_engine(threads=threads, device=choose_device("cpu")) as engine,
    ):
        for recipe in RECIPES:
            case = bench_files.make(Path(directory), recipe, options.size * 1_000_000)
            best = measured(tasks_of(case, engine, options.lens), options.repeat)
            case.ref.path.unlink()
            report(case, best, started(options.lens, Path(directory), recipe))
    return 0


def started(program: str | None, directory: Path, recipe: Recipe) -> dict[str, float]:
    """Return how long each program takes on next to nothing: interpreter, imports, output."""
    tiny = bench_files.make(directory, recipe, 1_000_000)
    return measured(lens_tasks(tiny, program), 3)


def tasks_of(case: Case, engine: Engine, program: str | None) -> dict[str, Callable[[], object]]:
    """Return what is timed by name, forkmon first."""
    tasks: dict[str, Callable[[], object]] = {
        "forkmon, whole Summary": partial(whole_summary, engine, case),
        "torch, float moments + histc": partial(by_tensor, case, torch_statistics),
        "numpy, histogram + moments": partial(by_tensor, case, numpy_statistics),
    }
    return tasks | lens_tasks(case, program)


def lens_tasks(case: Case, program: str | None) -> dict[str, Callable[[], object]]:
    """Return weightlens with one worker, its default, and with as many as it chooses."""
    if not program:
        return {}
    command = (program, "analyze", str(case.ref.path), "--num-workers")
    return {
        "lens analyze, 1 worker": partial(lens, *command, "1"),
        "lens analyze, workers auto": partial(lens, *command, "auto"),
    }


def measured(tasks: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Return the best time of each, everything run once before and then in turn."""
    for task in tasks.values():
        task()
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(repeat):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def report(case: Case, best: dict[str, float], start: dict[str, float]) -> None:
    """Print a line for each program."""
    own = next(iter(best.values()))
    for name, seconds in best.items():
        spent = seconds - start.get(name, 0.0)
        rate = case.bytes / spent / 1e9
        print(f"{case.label:<8}{name:<34}{spent:>9.3f}{rate:>8.2f}{spent / own:>19.1f}x")


def whole_summary(engine: Engine, case: Case) -> None:
    """Compute everything forkmon stores of a tensor."""
    with OpenFiles(case.ref, keep_cached=True) as files:
        for _, finished in engine.run(files, case.tensors):
            finished.row()
            finished.reduced()


def by_tensor(case: Case, statistics: Callable[[TensorRef, bytearray], object]) -> None:
    """Read each tensor whole and hand its bytes over."""
    with OpenFiles(case.ref, keep_cached=True) as files:
        for tensor in case.tensors:
            raw = bytearray(tensor.bytes)
            files.read_into(tensor, 0, memoryview(raw))
            statistics(tensor, raw)


def torch_statistics(tensor: TensorRef, raw: bytearray) -> list[float]:
    """Compute moments, extremes and a 64-bin histogram with torch, in float32 and all threads."""
    import torch

    kind = {"bf16": torch.bfloat16, "f32": torch.float32}[tensor.dtype]
    x = torch.frombuffer(raw, dtype=kind).float()
    std, mean = torch.std_mean(x, correction=0)
    z = (x - mean) / std
    low, high = torch.aminmax(x)
    zeros, bad = (x == 0).sum(), (~torch.isfinite(x)).sum()
    cubes = z * z * z
    counts = torch.histc(x, BINS, float(mean - DEVIATIONS * std), float(mean + DEVIATIONS * std))
    found = [mean, std, low, high, zeros, bad, cubes.mean(), (cubes * z).mean(), x.abs().sum()]
    return [float(value) for value in (*found, *counts)]


def numpy_statistics(tensor: TensorRef, raw: bytearray) -> list[float]:
    """Compute the same with numpy."""
    if tensor.dtype == "bf16":
        x = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        x = np.frombuffer(raw, "<f4")
    mean, std = float(x.mean(dtype=np.float64)), float(x.std(dtype=np.float64))
    z = (x - np.float32(mean)) / np.float32(std)
    cubes = z * z * z
    reach = (mean - DEVIATIONS * std, mean + DEVIATIONS * std)
    counts, _ = np.histogram(x, BINS, reach)
    found = [mean, std, x.min(), x.max(), (x == 0).sum(), (~np.isfinite(x)).sum()]
    found += [cubes.mean(dtype=np.float64), (cubes * z).mean(dtype=np.float64), np.abs(x).sum()]
    return [float(value) for value in (*found, *counts)]


def lens(program: str, *arguments: str) -> None:
    """Run weightlens; its exit code tells of findings in the weights, which do not matter here."""
    done = subprocess.run([program, *arguments], capture_output=True, check=False)
    if done.returncode not in (0, 1) or b"Traceback" in done.stderr:
        sys.exit(f"{program} {' '.join(arguments)}: {done.stderr.decode()[-2000:]}")


if __name__ == "__main__":
    sys.exit(main())
