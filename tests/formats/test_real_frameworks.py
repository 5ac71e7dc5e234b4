"""What real frameworks wrote, found and read: tensor by tensor what they load themselves."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
import pytest

from forkmon.formats import reading
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import ITEM_BYTES, Listing, TensorRef
from forkmon.runs.filesystem import FileSystem
from forkmon.runs.metrics import Logs
from forkmon.runs.poll import Poller, Sight
from forkmon.runs.refs import CheckpointRef

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
NOW = 1_800_000_000.0
OLD = 1000.0
SIZE_CAP = 5_000_000
ROLES = frozenset({"model", "ema", "optimizer"})

Value = tuple[str, tuple[int, ...], str]
"""Type, shape, and digest of the little-endian bytes in C order."""

CONTAINER = (r"^model\.", "")
RULES = {
    ("accelerate_fsdp", "model"): CONTAINER,
    ("dcp_mesh", "model"): CONTAINER,
    ("dcp_one_rank", "model"): CONTAINER,
    ("dcp_two_ranks", "model"): CONTAINER,
    ("fabric_sharded", "model"): CONTAINER,
    ("fsdp1_sharded", "model"): CONTAINER,
    ("olmo_core", "model"): CONTAINER,
    ("nanogpt", "model"): (r"^_orig_mod\.", ""),
    ("mmengine", "ema"): (r"^module\.", ""),
    ("safetensors_script", "model"): (r"^module\.", ""),
}
"""Where forkmon's names are not the framework's: what is replaced in theirs."""

PARAMETER_RULES = {
    "hf_peft": (r"\.default\.", "."),
    "litgpt": (r"^_forward_module\.", ""),
    "nanogpt": (r"^_orig_mod\.", ""),
}
"""The same for the names of the parameters that an optimizer numbers."""

STATES = re.compile(r"^(?:optim|optimizer)\.state\.")
"""What distributed checkpoints put before a parameter's name."""

SKIPPED = {("torch_kinds", "view.expanded"): "12 elements made of 3"}
"""What forkmon names but does not read, and why."""
COUNTERS = {("mmengine", "ema"): {"steps"}}
"""Beside the averages: how many steps they are averages of."""


class ExpectedCheckpoint(TypedDict):
    path: str
    format: str
    step: int
    epoch: float | None
    aliases: list[str]
    parameters: list[str]
    tensors: dict[str, dict[str, tuple[str, list[int], str, float, float]]]


class Expected(TypedDict):
    curves: NotRequired[dict[str, list[tuple[int, float]]]]
    files: dict[str, int | str]
    checkpoints: list[ExpectedCheckpoint]


def expected(case: str) -> Expected:
    made: Expected = json.loads((FIXTURES / case / "expected.json").read_text("utf-8"))
    return made


CASES = sorted(
    path.parent.name for path in FIXTURES.glob("*/expected.json") if (path.parent / "run").is_dir()
)
CHECKPOINTS = [
    (case, number) for case in CASES for number in range(len(expected(case)["checkpoints"]))
]
IDS = [f"{case}:{expected(case)['checkpoints'][n]['path']}" for case, n in CHECKPOINTS]


@dataclass
class Laid:
    """A fixture as it lay when its framework had written it, a while ago."""

    root: Path

    def poll(self) -> Sight:
        return Poller(
            self.root, interval=2.0, settle=5.0, roles=ROLES,
            clock=lambda: 0.0, wall=lambda: NOW, file_system=FileSystem("ext4", network=False),
        ).poll()  # fmt: skip

    def named(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def checkpoint(self, wanted: ExpectedCheckpoint) -> CheckpointRef:
        """Return the one at the expected path."""
        found = {self.named(ref.path): ref for ref in self.poll().ready}
        return found[wanted["path"]]


def laid(case: str, into: Path) -> Laid:
    """Lay a fixture out: git keeps neither the hard links nor the times of its files."""
    root = into / "run"
    shutil.copytree(FIXTURES / case / "run", root, symlinks=True)
    for name, told in expected(case)["files"].items():
        path = root / name
        if isinstance(told, str):
            path.unlink()
            path.hardlink_to(root / told)
        else:
            written = int((NOW - OLD) * 1e9) - told * 1_000_000
            os.utime(path, ns=(written, written))
    return Laid(root)


def renamed(name: str, rule: tuple[str, str] | None) -> str:
    return name if rule is None else re.sub(rule[0], rule[1], name)


def value_of(files: OpenFiles, tensor: TensorRef) -> Value:
    """Read a tensor in two parts; what is stored transposed is turned as its framework has it."""
    raw = bytearray(tensor.bytes)
    half = tensor.size // 2
    split = half * ITEM_BYTES[tensor.dtype]
    files.read_into(tensor, 0, memoryview(raw)[:split])
    files.read_into(tensor, half, memoryview(raw)[split:])
    shape, data = tensor.shape, bytes(raw)
    if tensor.view is not None and tensor.view.transposed:
        items = np.frombuffer(data, f"V{ITEM_BYTES[tensor.dtype]}").reshape(shape)
        shape, data = shape[::-1], items.T.tobytes()
    return tensor.dtype, shape, hashlib.blake2b(data, digest_size=16).hexdigest()


def values(ref: CheckpointRef, listing: Listing, role: str) -> dict[str, Value]:
    """Return every tensor of a role as forkmon reads it."""
    with OpenFiles(ref) as files:
        return {t.name: value_of(files, t) for t in listing.tensors if t.role == role}


def wanted_values(wanted: ExpectedCheckpoint, role: str) -> dict[str, Value]:
    tensors = wanted["tensors"].get(role, {})
    return {name: (e[0], tuple(e[1]), e[2]) for name, e in tensors.items()}


@pytest.mark.parametrize("case", CASES)
def test_every_checkpoint_is_found_at_first_sight(case: str, tmp_path: Path) -> None:
    """The framework's checkpoints, each with its step, epoch and format, and nothing else."""
    run = laid(case, tmp_path)
    sight = run.poll()
    found = {run.named(r.path): (r.step, r.epoch, r.format) for r in sight.ready}
    wanted = expected(case)["checkpoints"]
    assert found == {w["path"]: (w["step"], w["epoch"], w["format"]) for w in wanted}
    assert sight.waiting == ()
    assert sight.broken == ()


@pytest.mark.parametrize("case", CASES)
def test_aliases_are_no_checkpoints(case: str, tmp_path: Path) -> None:
    """Second names, links and copies of a checkpoint are listed as what they are."""
    run = laid(case, tmp_path)
    ignored = {run.named(path.path) for path in run.poll().ignored}
    aliases = {alias for wanted in expected(case)["checkpoints"] for alias in wanted["aliases"]}
    assert aliases <= ignored


@pytest.mark.parametrize("role", ["model", "ema"])
@pytest.mark.parametrize(("case", "number"), CHECKPOINTS, ids=IDS)
def test_tensors_are_those_that_the_framework_loads(
    case: str, number: int, role: str, tmp_path: Path
) -> None:
    """Names, types, shapes and bytes of the weights and of their averages."""
    run = laid(case, tmp_path)
    wanted = expected(case)["checkpoints"][number]
    ref = run.checkpoint(wanted)
    listing = reading.listing(ref)
    rule = RULES.get((case, role))
    skipped = {skip.name: skip.reason for skip in listing.skipped}
    theirs = wanted_values(wanted, role)
    for name in [name for name in theirs if (case, name) in SKIPPED]:
        assert SKIPPED[case, name] in skipped[name]
        del theirs[name]
    ours = values(ref, listing, role)
    counters = {n: v for n, v in theirs.items() if n in COUNTERS.get((case, role), set())}
    assert {n: v for n, v in ours.items() if n not in counters} == {
        renamed(name, rule): value for name, value in theirs.items() if name not in counters
    }
    stored = {t.name: t.stored_as or t.name for t in listing.tensors if t.role == role}
    assert {stored[renamed(name, rule)] for name in theirs if renamed(name, rule) in stored} == {
        name for name in theirs if renamed(name, rule) in stored
    }


@pytest.mark.parametrize(("case", "number"), CHECKPOINTS, ids=IDS)
def test_optimizer_states_are_those_that_the_framework_loads(
    case: str, number: int, tmp_path: Path
) -> None:
    """Every state is read; where it bears a parameter's name, it is that parameter's."""
    run = laid(case, tmp_path)
    wanted = expected(case)["checkpoints"][number]
    ref = run.checkpoint(wanted)
    ours = values(ref, reading.listing(ref), "optimizer")
    parameters = [renamed(name, PARAMETER_RULES.get(case)) for name in wanted["parameters"]]
    theirs = wanted_values(wanted, "optimizer")
    named = {STATES.sub("", name): value for name, value in theirs.items()}
    for name, value in theirs.items():
        match = re.fullmatch(r"state\.(\d+)\.(.+)", name)
        if match is not None and parameters:
            named[f"{parameters[int(match[1])]}.{match[2]}"] = value
    # Counters of steps are listed by some formats and left out by others.
    assert {name: value for name, value in ours.items() if value[1]}.items() <= named.items()
    assert sorted(v for v in ours.values() if v[1]) == sorted(v for v in theirs.values() if v[1])


@pytest.mark.parametrize("case", [case for case in CASES if expected(case).get("curves")])
def test_curves_are_what_the_framework_logged(case: str, tmp_path: Path) -> None:
    """Loss and the like: every logged step with its value."""
    run = laid(case, tmp_path)
    newest = run.poll().ready[-1].path
    found = Logs(run.root).curves(newest)
    for name, points in expected(case).get("curves", {}).items():
        steps, values_ = zip(*points, strict=True)
        assert [step for step, _ in found[name]] == list(steps)
        np.testing.assert_allclose([value for _, value in found[name]], values_, rtol=1e-6)


def test_figures_belong_to_the_digests() -> None:
    """The recorded means and deviations are finite where the tensors are."""
    for case in CASES:
        for wanted in expected(case)["checkpoints"]:
            for tensors in wanted["tensors"].values():
                for dtype, _, _, mean, std in tensors.values():
                    assert dtype in ITEM_BYTES
                    assert math.isfinite(mean)
                    assert std >= 0


def test_fixtures_stay_small() -> None:
    """All that is committed here is a few megabytes."""
    files = [path for path in FIXTURES.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) <= SIZE_CAP


def test_the_directory_above_a_run_is_as_good_as_the_run(tmp_path: Path) -> None:
    """A final model beside its checkpoints is none itself, seen from one directory above."""
    run = laid("hf_trainer", tmp_path)
    above = Laid(tmp_path)
    assert [above.named(ref.path) for ref in above.poll().ready] == [
        f"run/{run.named(ref.path)}" for ref in run.poll().ready
    ]
