"""The worker process imports forkmon's own modules, whatever lies where it is started."""

from __future__ import annotations

import subprocess
from pathlib import Path

from forkmon.commands.watch import WORKER


def test_nothing_in_the_run_directory_is_imported(tmp_path: Path) -> None:
    """`cd run && forkmon .`: a json.py or a forkmon/ in the run stays a file."""
    planted = "open('pwned', 'w').close(); raise SystemExit(9)"
    (tmp_path / "json.py").write_text(planted)
    (tmp_path / "forkmon").mkdir()
    (tmp_path / "forkmon" / "__init__.py").write_text(planted)
    done = subprocess.run(
        [*WORKER, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "--store" in done.stdout
    assert not (tmp_path / "pwned").exists()
