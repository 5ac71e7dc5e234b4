"""What torch writes on four ranks: every layout of it is read to the byte that torch gathers."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
import torch
from safetensors.torch import load_file

from forkmon.errors import FormatError
from forkmon.formats import dcp, layouts, ranks, safetensors_shards
from forkmon.formats.layout import Layout
from forkmon.formats.opening import file_print
from forkmon.formats.proof import Damaged, Partial, Whole
from forkmon.formats.reading import OpenFiles, listing
from forkmon.formats.refs import Listing, TensorRef
from forkmon.runs.refs import CheckpointRef, Fingerprint

WORLD = 4
WRITER = Path(__file__).with_name("ranks_writer.py")
ALL = {
    "dcp": dcp, "flat": dcp, "own": dcp, "st": dcp, "hf": dcp, "hub": safetensors_shards,
    "verl": ranks, "local": ranks, "sharded": ranks,
}  # fmt: skip


class Recognises(Protocol):
    """A module that knows a directory by its names."""

    def recognise(self, names: frozenset[str]) -> Layout | None: ...


def names_in(root: Path) -> frozenset[str]:
    """Return the files below a directory, relative to it."""
    return frozenset(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def layout_of(root: Path, module: Recognises) -> Layout:
    """Return the layout that a directory is told to have."""
    layout = module.recognise(names_in(root))
    assert layout is not None, names_in(root)
    return layout


def ref_to(root: Path, layout: Layout) -> CheckpointRef:
    """Return the ref that the poller would make of a layout."""
    files = tuple(root / name for name in layout.files)
    prints = tuple(file_print(n, f.stat()) for n, f in zip(layout.files, files, strict=True))
    return CheckpointRef(root, 1, layout.format, files, Fingerprint(prints), "marker")


def read(ref: CheckpointRef, tensor: TensorRef) -> bytes:
    """Return a tensor's bytes, read in pieces of no round size."""
    raw = bytearray(tensor.bytes)
    item = tensor.bytes // max(1, tensor.size)
    with OpenFiles(ref) as files:
        for first in range(0, tensor.size, 7):
            files.read_into(tensor, first, memoryview(raw)[first * item : (first + 7) * item])
        files.verify()
    return bytes(raw)


def bytes_of(value: torch.Tensor) -> bytes:
    """Return the bytes of a tensor of torch's in C order."""
    return value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_same_as_torch(root: Path, module: Recognises, expected: Path) -> Listing:
    """Assert that a directory's model tensors are those that torch gathered, to the byte."""
    ref = ref_to(root, layout_of(root, module))
    found = listing(ref)
    wanted = load_file(expected)
    held = {tensor.name: tensor for tensor in found.tensors if tensor.role == "model"}
    assert set(held) == set(wanted)
    for name, value in wanted.items():
        assert held[name].shape == tuple(value.shape), name
        assert read(ref, held[name]) == bytes_of(value), name
    return found


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of checkpoints that torch wrote, once for all workers of a session."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "written-by-torch"
    with Path(f"{shared}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            shared.mkdir()
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            command = [sys.executable, str(WRITER), str(shared), str(WORLD)]
            done = subprocess.run(
                command, env=environment, capture_output=True, timeout=300, check=False
            )
            assert done.returncode == 0, done.stderr.decode()[-2000:]
            (shared / "done").touch()
    return shared


def expected(root: Path) -> Path:
    """Return the file of whole tensors that belongs to a directory."""
    return next(root.rglob("expected.safetensors"))


@pytest.mark.parametrize("name", ALL)
def test_every_tensor_is_what_torch_gathers(written: Path, name: str) -> None:
    """Placements along rows, columns, grids and repeated ones: names, shapes and bytes are same."""
    root = written / name
    found = assert_same_as_torch(root, ALL[name], expected(root))
    assert not [skip for skip in found.skipped if skip.is_parameter]


@pytest.mark.parametrize("name", ALL)
def test_the_set_is_whole_and_no_longer_once_a_file_is_short(
    written: Path, tmp_path: Path, name: str
) -> None:
    """A proof of all the files; without one, or without the end of one, it is not all there."""
    root, module = written / name, ALL[name]
    files = layout_of(root, module).files
    assert isinstance(module.prove(root, files), Whole)
    large = max(files, key=lambda file: (root / file).stat().st_size)
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes((root / file).read_bytes())
    assert isinstance(module.prove(tmp_path, files), Whole)
    kept = (tmp_path / large).read_bytes()
    (tmp_path / large).write_bytes(kept[: len(kept) // 2])
    assert isinstance(module.prove(tmp_path, files), (Partial, Damaged))
    (tmp_path / large).unlink()
    assert isinstance(module.prove(tmp_path, files), Partial)
    rest = [file for file in files if file != large]
    if name != "hub":  # nothing in these says how many ranks there were
        assert isinstance(module.prove(tmp_path, rest), Partial)


def test_optimizer_states_have_their_role(written: Path) -> None:
    """States lie beside the weights, named as saved, and equal what they were made from."""
    ref = ref_to(written / "dcp", layout_of(written / "dcp", dcp))
    found = listing(ref)
    moment = next(t for t in found.tensors if t.stored_as.endswith("rows.weight.exp_avg"))
    assert (moment.name, moment.role) == ("rows.weight.exp_avg", "optimizer")
    wanted = load_file(written / "dcp" / "expected.safetensors")
    assert read(ref, moment) == bytes_of(wanted["rows.weight"])
    assert {t.stored_as for t in found.tensors if t.name == "rows.weight"} == {"model.rows.weight"}
    verl = listing(ref_to(written / "verl", layout_of(written / "verl", ranks)))
    assert [t.name for t in verl.tensors if t.role == "optimizer"] == ["state.0.exp_avg"]
    hf = listing(ref_to(written / "hf", layout_of(written / "hf", dcp)))
    assert {t.role for t in hf.tensors if "exp_avg" in t.name} == {"optimizer"}


def test_steps_come_out_of_the_state(written: Path) -> None:
    """A pickled number, or a tensor of the trainer's state, says the step."""
    proof = dcp.prove(written / "dcp", layout_of(written / "dcp", dcp).files)
    assert proof == Whole(zero_tail=False, step=41)


def test_stacked_layers_are_layers(written: Path) -> None:
    """Megatron's stacks, cut along their layers or across them, fall apart into each layer."""
    root = written / "megatron"
    ref = ref_to(root, layout_of(root, dcp))
    found = listing(ref)
    held = {tensor.name: tensor for tensor in found.tensors}
    for name, value in load_file(root / "expected.safetensors").items():
        if ".layers." not in name:
            assert read(ref, held[name]) == bytes_of(value)
            continue
        for index, layer in enumerate(value):
            tensor = held[name.replace("layers.", f"layers.{index}.")]
            assert tensor.stored_as == name
            assert tensor.shape == tuple(layer.shape)
            assert read(ref, tensor) == bytes_of(layer)
    moment = held["decoder.layers.3.mlp.linear_fc1.weight.exp_avg"]
    assert (moment.shape, moment.role) == ((6, 3), "optimizer")


def test_what_torch_joined_is_an_ordinary_checkpoint(written: Path) -> None:
    """Beside whole files the ranks' own are left alone."""
    assert safetensors_shards.recognise(names_in(written / "joined")) is None
    alone = frozenset(n for n in names_in(written / "joined") if n.startswith("sharded/"))
    layout = safetensors_shards.recognise(alone)
    assert layout is not None
    assert len(layout.files) == WORLD


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("dcp", "dcp"), ("hf", "dcp"), ("megatron", "dcp"), ("verl", "ranks"), ("sharded", "ranks")],
)
def test_the_registry_tells_them_apart(written: Path, name: str, wanted: str) -> None:
    """Each directory has one format, whatever the order in which formats are asked."""
    layout = layouts.recognise(names_in(written / name))
    assert layout is not None
    assert layout.format == wanted


def test_a_run_of_checkpoints_is_no_checkpoint(written: Path) -> None:
    """Directories of steps below it do not make a directory a checkpoint."""
    names = {f"step-{step}/{n}" for step in (10, 20) for n in names_in(written / "dcp")}
    assert dcp.recognise(frozenset(names)) is None


def test_markers_are_what_is_written_last() -> None:
    """Each framework's own last file, where one lies there; `.metadata` must always be."""
    chunks = {"__0_0.distcp", "__1_0.distcp"}

    def marker(*names: str) -> tuple[str | None, bool]:
        layout = dcp.recognise(frozenset(names))
        assert layout is not None
        return layout.marker, layout.required

    assert marker(*chunks) == (".metadata", True)
    assert marker(*chunks, ".metadata", "meta.pt") == ("meta.pt", True)
    assert marker(*chunks, ".metadata", "metadata.json", "common.pt") == ("metadata.json", True)
    assert marker(*chunks, "__0.metadata", "__1.metadata") == (None, False)
    olmo = [f"model_and_optim/{name}" for name in (*chunks, ".metadata")]
    assert marker(*olmo) == (".metadata.json", True)
    fsdp = [f"pytorch_model_fsdp_0/{name}" for name in (*chunks, ".metadata")]
    assert marker(*fsdp) == ("pytorch_model_fsdp_0/.metadata", True)
    both = [*fsdp, "optimizer_0/__0_0.distcp"]
    assert marker(*both) == ("optimizer_0/.metadata", True)
    assert marker(*both, "trainer_state.json") == ("trainer_state.json", True)
    assert dcp.recognise(frozenset({"optimizer_0/.metadata", "optimizer_0/__0_0.distcp"})) is None


def test_a_rank_that_is_missing_is_told(written: Path, tmp_path: Path) -> None:
    """The name says how many ranks there are, or the numbers have a gap."""
    root = written / "verl"
    files = [n for n in layout_of(root, ranks).files if "rank_2" not in n]
    proof = ranks.prove(root, files)
    assert isinstance(proof, Partial)
    assert "rank 2 of 4" in proof.final


def test_a_rank_of_another_save_is_an_error(written: Path, tmp_path: Path) -> None:
    """Ranks that disagree on a shape are told apart from ranks that are late."""
    root = tmp_path / "mixed"
    root.mkdir()
    for rank in range(2):
        state = {"w": torch.zeros(3 + rank), "b": torch.zeros(2)}
        torch.save(state, root / f"model_world_size_2_rank_{rank}.pt")
    layout = layout_of(root, ranks)
    with pytest.raises(FormatError, match=r"'w'.*differ"):
        listing(ref_to(root, layout))
