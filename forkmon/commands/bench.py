"""`forkmon bench`: how fast statistics are on this machine, against reading the same bytes."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from forkmon.commands import bench_files, bench_report, setup
from forkmon.commands.bench_files import Case
from forkmon.commands.bench_rates import Benchmark
from forkmon.commands.show import settled
from forkmon.engines.threads import usable_threads
from forkmon.worker.backends import Device, choose_device

if TYPE_CHECKING:
    from forkmon.commands.bench_resident import Resident

RESIDENT_BYTES = 1 << 30
"""Bytes on the device: more than its caches hold."""


def run(options: argparse.Namespace) -> int:
    """Measure FILE, or files of our own, and print a table or JSON."""
    settings = setup.settings(options)
    threads = int(settings.number("threads")) or usable_threads()
    repeat: int = options.repeat
    # A GPU only when it is asked for: a benchmark would take it from a trainer.
    device = choose_device(options.device or "cpu")
    with _cases(options.file, options.size * bench_files.MEGABYTE) as (place, cases):
        about = bench_report.machine(place, threads=threads, device=device.name)
        with Benchmark(threads=threads, repeat=repeat, device=device) as benchmark:
            measured = [benchmark.measure(case) for case in _told(cases)]
    resident = _resident(device, repeat)
    if options.json:
        found = bench_report.as_json(about, measured, resident, repeat=repeat)
        json.dump(found, sys.stdout, allow_nan=False, indent=1)
        print()
    else:
        for line in bench_report.lines(about, measured, resident, repeat=repeat):
            print(line)
    return 0


@contextmanager
def _cases(file: Path | None, size: int) -> Generator[tuple[Path, Iterator[Case]]]:
    """Yield where the files lie and the cases, each made when it is its turn."""
    if file is not None:
        yield file, iter([bench_files.existing_case(settled(setup.existing(file)))])
        return
    with tempfile.TemporaryDirectory(prefix="forkmon-bench-") as directory:
        place = Path(directory)
        yield place, _made(place, size)


def _made(place: Path, size: int) -> Iterator[Case]:
    for recipe in bench_files.RECIPES:
        case = bench_files.make(place, recipe, size)
        yield case
        case.ref.path.unlink()


def _told(cases: Iterator[Case]) -> Iterator[Case]:
    """Say on a terminal what is measured now: compiling and measuring take a while."""
    shown = sys.stderr.isatty()
    for case in cases:
        if shown:
            print(f"\r\033[Kmeasuring {case.label}", end="", flush=True, file=sys.stderr)
        yield case
    if shown:
        print("\r\033[K", end="", flush=True, file=sys.stderr)


def _resident(device: Device, repeat: int) -> list[Resident]:
    if not device.name.startswith("cuda"):
        return []
    from forkmon.commands import bench_resident

    return bench_resident.all_rates(device.name, size=RESIDENT_BYTES, repeat=repeat)
