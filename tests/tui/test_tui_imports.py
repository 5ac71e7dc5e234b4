"""Before the first paint nothing but the standard library and Textual is imported."""

from __future__ import annotations

import subprocess
import sys


def test_the_app_imports_no_numbers_library() -> None:
    """A fresh interpreter that imports the app holds no numpy, torch, numba, scipy or plotext."""
    code = (
        "import sys, forkmon.tui.app; "
        "print([m for m in ('numpy', 'torch', 'numba', 'scipy', 'plotext', 'multiprocessing.pool',"
        " 'forkmon.worker', 'forkmon.kernels', 'forkmon.formats') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
