"""The wheel that people install: built once, installed apart from the checkout, and run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import forkmon

REPOSITORY = Path(__file__).resolve().parent.parent

PROBE = """
import json, sys
import forkmon
from forkmon import config
runs, themes = config.shipped("sample_runs"), config.shipped("themes")
print(json.dumps({
    "package": forkmon.__file__,
    "runs": {p.name: str(p) for p in runs.iterdir() if p.is_dir()},
    "themes": sorted(p.name for p in themes.iterdir()),
}))
"""


def call(*argv: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a program and return its stdout; its stderr if it fails."""
    done = subprocess.run(
        list(map(str, argv)), cwd=cwd, env=env, capture_output=True, text=True, check=False,
        timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from the checkout."""
    out = tmp_path_factory.mktemp("wheel")
    call(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, REPOSITORY,
        cwd=out,
    )  # fmt: skip
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that holds the installed wheel and nothing else of ours."""
    target = tmp_path_factory.mktemp("site")
    call(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
        "--disable-pip-version-check", "--no-warn-script-location", "--target", target, wheel,
        cwd=target,
    )  # fmt: skip
    return target


@pytest.fixture
def elsewhere(installed: Path, tmp_path: Path) -> dict[str, str]:
    """Return an environment in which the installed forkmon comes before any checkout."""
    return {
        **os.environ,
        "PYTHONPATH": str(installed),
        "NUMBA_CACHE_DIR": str(tmp_path / "numba"),
    }


def test_the_wheel_holds_what_the_program_needs(wheel: Path) -> None:
    """Themes, sample runs, licence and the typing mark are inside; tests are not."""
    names = zipfile.ZipFile(wheel).namelist()
    assert "forkmon/cli.py" in names
    assert "forkmon/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.startswith("forkmon/_themes/") and name.endswith(".toml") for name in names)
    assert any(name.startswith("forkmon/_sample_runs/tiny-lm/") for name in names)
    assert [n for n in names if n.startswith(("tests/", "sample_runs/", "themes/"))] == []
    assert [n for n in names if "__pycache__" in n or n.endswith(".pyc")] == []
    assert wheel.stat().st_size < 25_000_000


def test_it_runs_without_the_checkout(elsewhere: dict[str, str], tmp_path: Path) -> None:
    """Version, shipped files and a scan, from an empty directory."""
    installed = Path(elsewhere["PYTHONPATH"])
    empty = tmp_path / "empty"
    empty.mkdir()
    probe = json.loads(call(sys.executable, "-c", PROBE, cwd=empty, env=elsewhere))
    assert Path(probe["package"]).is_relative_to(installed)
    assert {"tiny-lm", "grokking", "diverged"} <= set(probe["runs"])
    assert "dark.toml" in probe["themes"]
    said = call(installed / "bin" / "forkmon", "--version", cwd=empty, env=elsewhere)
    assert said == f"forkmon {forkmon.__version__}\n"
    scan = (sys.executable, "-m", "forkmon", "scan", probe["runs"]["tiny-lm"], "--json")
    report = json.loads(call(*scan, "--last", "2", cwd=empty, env=elsewhere))
    assert [c["status"] for c in report["checkpoints"]] == ["complete", "complete"]
    assert report["checkpoints"][-1]["tensors"]
    assert list(empty.iterdir()) == []
