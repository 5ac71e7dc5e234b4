"""The fuzzing campaign: it goes on where it was, and every target has real files to begin with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from . import hostile_mutations, hostile_seeds

FUZZ = Path(__file__).resolve().parent.parent / "bench/fuzz.py"


def campaign(directory: Path, *flags: str) -> dict[str, dict[str, int]]:
    """Run a short campaign and return its scores."""
    state = directory / "state.json"
    done = subprocess.run(
        [sys.executable, str(FUZZ), "--state", str(state), "--findings", str(directory), *flags],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    scores: dict[str, dict[str, int]] = json.loads(state.read_text())
    return scores


def test_a_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    """The second call adds to what the first one did; nothing failed."""
    first = campaign(tmp_path, "--inputs", "10", "--only", "torch.fuzz_pickle")
    assert set(first) == {"torch.fuzz_pickle"}
    done = first["torch.fuzz_pickle"]["inputs"]
    assert done >= 10
    second = campaign(tmp_path, "--inputs", str(done + 1), "--only", "torch.fuzz_pickle")
    assert second["torch.fuzz_pickle"]["inputs"] > done
    assert not list(tmp_path.glob("torch.*"))


def test_every_target_has_real_files_to_begin_with() -> None:
    """A target without seeds would only ever see noise."""
    assert len(hostile_seeds.SOURCES) >= 28
    assert [name for name in hostile_seeds.SOURCES if not hostile_seeds.seeds_of(name)] == []


def test_inputs_follow_from_their_seed_and_differ() -> None:
    """The same random state gives the same input; a hundred of them are nearly all different."""
    import random

    seeds = [bytes(range(200)), b"{}"]

    def made(number: int) -> bytes:
        return hostile_mutations.mutated(random.Random(number), seeds)

    assert made(7) == made(7)
    assert len({made(number) for number in range(100)}) > 80
