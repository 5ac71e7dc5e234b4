"""Peak memory of analysing a checkpoint far larger than memory should be: a sparse file.

Run by hand: python tests/bench/memory.py [--size GB] [--largest SHARE] [--threads N]
The file takes no room on the disk: a header, a few values and a length. `scan` runs in a process
of its own, whose largest resident size the kernel tells.
"""
# ruff: noqa: T201 -- a script prints

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from math import prod
from pathlib import Path

LIMIT_MB = 600
COLUMNS = 8192
LAYERS = 12


def main() -> int:
    """Make the file, scan it, print the peak; exit 1 where it is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=20.0, metavar="GB")
    parser.add_argument("--largest", type=float, default=0.2, metavar="SHARE",
                        help="of the bytes that the largest tensor holds")  # fmt: skip
    parser.add_argument("--threads", type=int, default=0, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forkmon-memory-") as directory:
        path = Path(directory) / "step_1.safetensors"
        size, tensors = make(path, int(options.size * 1e9), options.largest)
        seconds, peak = scan(path, Path(directory), options.threads)
    print(
        f"{size / 1e9:.1f} GB in {tensors} tensors: {seconds:.1f} s, "
        f"{size / 1e9 / seconds:.2f} GB/s, peak {peak / 1e6:,.0f} MB (limit {LIMIT_MB})"
    )
    return int(peak > LIMIT_MB * 1e6)


def make(path: Path, size: int, largest: float) -> tuple[int, int]:
    """Write a sparse checkpoint and return its bytes and tensors."""
    header: dict[str, object] = {}
    starts: list[int] = []
    end = 0
    for name, dtype, shape in tensors_of(size, largest):
        length = prod(shape) * (2 if dtype == "BF16" else 4)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + length]}
        starts.append(end)
        end += length
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    values = bytes(range(1, 65))
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for start in starts:  # some values where each tensor begins, zeros from there on
            file.seek(8 + len(text) + start)
            file.write(values * 64)
        file.seek(8 + len(text) + end - len(values))
        file.write(values)
    return end, len(starts)


def tensors_of(size: int, largest: float) -> Iterator[tuple[str, str, list[int]]]:
    """Yield name, dtype and shape: a huge embedding, then layers of matrices and a vector each."""
    yield "embed.weight", "BF16", [int(size * largest) // 2 // COLUMNS, COLUMNS]
    part = int(size * (1 - largest)) // LAYERS // 3
    for i in range(LAYERS):
        yield f"layers.{i}.w1", "BF16", [part // 2 // COLUMNS, COLUMNS]
        yield f"layers.{i}.w2", "F32", [part // 4 // COLUMNS, COLUMNS]
        yield f"layers.{i}.w3", "BF16", [COLUMNS, part // 2 // COLUMNS]
        yield f"layers.{i}.norm", "F32", [COLUMNS]


def scan(path: Path, home: Path, threads: int) -> tuple[float, int]:
    """Return the seconds and the largest resident bytes of `forkmon scan`."""
    command = [sys.executable, "-m", "forkmon", "scan", str(path), "--no-store", "--json"]
    command += ["--settle", "0.5", "--device", "cpu"]
    if threads:
        command += ["--threads", str(threads)]
    environment = {**os.environ, "XDG_STATE_HOME": str(home / "state")}
    began = time.monotonic()
    with (home / "out.json").open("wb") as out:
        child = subprocess.Popen(command, stdout=out, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if child.returncode:
        sys.exit(f"scan ended with {child.returncode}")
    found = json.loads((home / "out.json").read_text())
    if [c["status"] for c in found["checkpoints"]] != ["complete"]:
        sys.exit(f"not analysed: {found['checkpoints']}")
    return seconds, usage.ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
