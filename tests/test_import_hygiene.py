"""Fresh interpreters: who imports what, and what nobody imports before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

HEAVY = frozenset(
    {"torch", "numba", "llvmlite", "scipy", "numpy", "plotext", "pandas", "safetensors"}
)
"""Libraries that take a person's time to import."""

REPORT = """
import json, sys
print("MODULES", json.dumps(sorted({name.partition(".")[0] for name in sys.modules} | {
    name for name in sys.modules if name.startswith("forkmon")})), file=sys.stderr)
"""

FIRST_PAINT = (
    """
import asyncio
from functools import partial
from pathlib import Path
from typing import Any
import forkmon.cli
import forkmon.commands.watch
from forkmon.store.reader import Reader
from forkmon.tui.app import ForkmonApp
from forkmon.tui.launch import Launch

async def main():
    store = Path(sys.argv[1])
    app = ForkmonApp(Launch(run=store.parent, store=store, open_source=partial(Reader.open, store)))
    async with app.run_test(size=(120, 40)):
        pass

import sys
asyncio.run(main())
"""
    + REPORT
)


def modules(code: str, *arguments: str | Path) -> set[str]:
    """Run code in a fresh interpreter and return what it reports as imported."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    assert done.returncode == 0, done.stderr
    reported = [line for line in done.stderr.splitlines() if line.startswith("MODULES ")]
    return set(json.loads(reported[-1].partition(" ")[2]))


def packages(found: set[str], *names: str) -> set[str]:
    """Return the modules of these packages of forkmon."""
    return {m for m in found for name in names if (m + ".").startswith(f"forkmon.{name}.")}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run of two checkpoints that settled long ago."""
    path = tmp_path / "run"
    path.mkdir()
    for step in (1, 2):
        weights: dict[str, NDArray[Any]] = {
            "h.0.w": np.full((8, 8), step, np.float16),
            "b": np.arange(9, dtype=np.float32),
        }
        save_file(weights, path / f"step_{step}.safetensors")
        os.utime(path / f"step_{step}.safetensors", (1_700_000_000 + step, 1_700_000_000 + step))
    return path


def scan(run: Path, *options: str) -> tuple[set[str], str]:
    """Scan a run in a fresh interpreter; return what was imported, and stdout."""
    code = "import sys\nfrom forkmon.cli import main\ncode = main(sys.argv[1:])\n" + REPORT
    done = subprocess.run(
        [sys.executable, "-c", code, "scan", str(run), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.rpartition("MODULES ")[2])), done.stdout


def test_the_command_line_imports_the_standard_library_alone() -> None:
    """`forkmon --help` waits for nothing."""
    found = modules("import forkmon.cli\n" + REPORT)
    assert found & (HEAVY | {"textual", "rich"}) == set()
    assert packages(found, "tui", "worker", "kernels", "store") == set()


def test_nothing_heavy_before_the_first_paint(tmp_path: Path) -> None:
    """Command line and app are built and painted with the standard library and Textual."""
    found = modules(FIRST_PAINT, tmp_path / "none.db")
    assert "textual" in found
    assert found & HEAVY == set()
    forbidden = ("kernels", "formats", "engines", "detect", "probes", "worker", "store.writer")
    assert packages(found, *forbidden) == set()


def test_the_worker_imports_no_screen() -> None:
    """The analysis process has no use for Textual, nor for kernels before there is work."""
    found = modules("import forkmon.worker.__main__\n" + REPORT)
    assert found & {"textual", "rich", "plotext", "numba", "scipy", "torch"} == set()
    assert packages(found, "tui", "draw") == set()


def test_a_scan_of_what_is_stored_imports_no_kernel(run: Path) -> None:
    """The second scan of an unchanged run computes nothing and imports nothing that could."""
    first, report = scan(run, "--json")
    assert "numba" in first
    again, same = scan(run, "--json")
    assert again & {"numba", "llvmlite", "torch", "scipy", "textual", "plotext"} == set()
    assert json.loads(same) == json.loads(report)
    triage, text = scan(run)
    assert triage & {"numba", "llvmlite", "torch", "scipy", "textual"} == set()
    assert "2 checkpoints" in text
