"""What a benchmark found, as a table for people and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import forkmon
from forkmon.commands.bench_rates import CAT, READ, Measured, Rate
from forkmon.engines.threads import allowed_cpus
from forkmon.runs import filesystem
from forkmon.text import safe

if TYPE_CHECKING:
    from forkmon.commands.bench_resident import Resident

SCHEMA = 1
PACKAGES = ("numpy", "numba", "torch")

Json = dict[str, Any]


def machine(place: Path, *, threads: int, device: str) -> Json:
    """Return what the numbers depend on."""
    return {
        "cpu": cpu_model(),
        "cpus": os.cpu_count() or 1,
        "cpus_allowed": allowed_cpus(),
        "threads": threads,
        "device": device,
        "system": f"{platform.system()} {platform.release()}",
        "filesystem": filesystem.kind(place).name,
        "versions": {
            "forkmon": forkmon.__version__,
            "python": platform.python_version(),
            **{name: found for name in PACKAGES if (found := _version(name))},
        },
    }


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name for itself."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return safe(named[0] if named else platform.processor() or platform.machine(), 80)


def as_json(
    about: Json, measured: Sequence[Measured], resident: Sequence[Resident], *, repeat: int
) -> Json:
    """Return everything; times are the best of `repeat`, statistics' ratios are of time a byte."""
    return {
        "schema": SCHEMA,
        "machine": about,
        "repeat": repeat,
        "cache": "warm",
        "files": [_file_json(found) for found in measured],
        "resident": [_resident_json(found) for found in resident],
    }


def lines(
    about: Json, measured: Sequence[Measured], resident: Sequence[Resident], *, repeat: int
) -> Iterator[str]:
    """Yield the table, line by line."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    yield f"{about['cpu']}, {about['cpus_allowed']} CPUs allowed, {about['threads']} threads"
    yield f"{versions}; {about['system']}, {about['filesystem']}; device {about['device']}"
    yield (
        f"Page cache warm, best of {repeat}, interleaved. cat: `cat FILE > /dev/null`; "
        "read: the same reads without counting; x: times as long."
    )
    yield ""
    yield _cells(
        "values", "MB", "statistics", "GB/s", "G elem/s", "cat GB/s", "read GB/s", "x cat", "x read"
    )
    for found in measured:
        yield from _file_lines(found)
    if resident:
        yield from _resident_lines(resident)


def _file_lines(found: Measured) -> Iterator[str]:
    cat, read = found.rates[CAT], found.rates[READ]
    megabytes = f"{found.case.bytes / 1e6:,.0f}"
    for rate in _statistics(found):
        yield _cells(
            found.case.label, megabytes, rate.what, f"{rate.gigabytes:.2f}",
            f"{rate.gigaelements:.2f}", f"{cat.gigabytes:.2f}", f"{read.gigabytes:.2f}",
            f"{rate.times(cat):.2f}", f"{rate.times(read):.2f}",
        )  # fmt: skip


def _resident_lines(resident: Sequence[Resident]) -> Iterator[str]:
    yield ""
    yield "On the device already; copy moves each byte twice, its GB/s count both."
    yield _cells("values", "MB", "statistics", "GB/s", "G elem/s", "copy GB/s", "of it")
    for found in resident:
        for what, seconds in (("distribution", found.distribution), ("whole", found.whole)):
            yield _cells(
                found.label, f"{found.bytes / 1e6:,.0f}", what,
                f"{found.bytes / seconds / 1e9:,.1f}", f"{found.elements / seconds / 1e9:,.1f}",
                f"{2 * found.bytes / found.copy / 1e9:,.1f}",
                f"{100 * found.of_bandwidth(seconds):.0f} %",
            )  # fmt: skip


def _cells(label: str, size: str, what: str, *cells: str) -> str:
    return f"{label:<12}{size:>7}  {what:<22}" + "".join(f"{cell:>10}" for cell in cells)


def _statistics(found: Measured) -> list[Rate]:
    return [rate for name, rate in found.rates.items() if name not in (CAT, READ)]


def _file_json(found: Measured) -> Json:
    cat, read = found.rates[CAT], found.rates[READ]
    return {
        "label": found.case.label,
        "dtype": found.case.dtype,
        "bytes": found.case.bytes,
        "elements": found.case.elements,
        "tensors": len(found.case.tensors),
        "cat": _rate_json(cat),
        "read": _rate_json(read),
        "statistics": [
            {**_rate_json(rate), "times_cat": rate.times(cat), "times_read": rate.times(read)}
            for rate in _statistics(found)
        ],
    }


def _rate_json(rate: Rate) -> Json:
    return {
        "what": rate.what,
        "seconds": rate.seconds,
        "gb_per_s": rate.gigabytes,
        "g_elements_per_s": rate.gigaelements,
    }


def _resident_json(found: Resident) -> Json:
    return {
        "label": found.label,
        "bytes": found.bytes,
        "elements": found.elements,
        "copy_seconds": found.copy,
        "distribution_seconds": found.distribution,
        "whole_seconds": found.whole,
        "distribution_of_bandwidth": found.of_bandwidth(found.distribution),
        "whole_of_bandwidth": found.of_bandwidth(found.whole),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
