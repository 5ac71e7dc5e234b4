"""Distributed checkpoints that lie: every one is an error that names the tensor, never a number."""

from __future__ import annotations

import pickle  # noqa: TID251 - makes what forkmon must not run
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from forkmon.errors import CheckpointError, FormatError, IncompleteError
from forkmon.formats import dcp
from forkmon.formats.dcp_metadata import Entry, parse_metadata
from forkmon.formats.dcp_names import named, unstacked
from forkmon.formats.opening import file_print
from forkmon.formats.proof import Damaged, Partial, Whole
from forkmon.formats.reading import OpenFiles, listing
from forkmon.formats.refs import Listing, TensorRef
from forkmon.formats.torch_file import read_torch_range
from forkmon.runs.refs import CheckpointRef, Fingerprint

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")

State = dict[str, Any]
CHUNKS = "__0_0.distcp"


def ref_to(root: Path) -> CheckpointRef:
    layout = dcp.recognise(frozenset(p.name for p in root.iterdir()))
    assert layout is not None
    files = tuple(root / name for name in layout.files)
    prints = tuple(file_print(n, f.stat()) for n, f in zip(layout.files, files, strict=True))
    return CheckpointRef(root, 1, "dcp", files, Fingerprint(prints), "marker")


def read(root: Path) -> Listing:
    return listing(ref_to(root))


def values(root: Path, tensor: TensorRef) -> bytes:
    raw = bytearray(tensor.bytes)
    with OpenFiles(ref_to(root)) as files:
        files.read_into(tensor, 0, memoryview(raw))
    return bytes(raw)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return a checkpoint of a few tensors that torch saved in one process."""
    state = {
        "model": {
            "a.weight": torch.arange(24.0).reshape(4, 6),
            "b.weight": torch.arange(24.0).reshape(4, 6) + 100,
            "turned.weight": torch.arange(12.0).reshape(3, 4).t(),
            "part.weight": torch.arange(40.0)[10:30].reshape(4, 5),
            "half.weight": torch.ones(3, dtype=torch.bfloat16),
            "complex.weight": torch.ones(2, dtype=torch.complex64),
            "_extra_state": b"bytes",
        },
        "step": 7,
    }
    save(state, checkpoint_id=tmp_path / "saved", no_dist=True)
    return tmp_path / "saved"


def metadata_of(root: Path) -> Metadata:
    found = pickle.loads((root / ".metadata").read_bytes())  # noqa: S301 - torch just wrote it
    assert isinstance(found, Metadata)
    return found


def change(root: Path, by: Callable[[Metadata], object]) -> None:
    """Change a checkpoint's metadata in place."""
    metadata = metadata_of(root)
    by(metadata)
    (root / ".metadata").write_bytes(pickle.dumps(metadata))


def info_of(metadata: Metadata, name: str) -> _StorageInfo:
    found = next(i for index, i in metadata.storage_data.items() if index.fqn == name)
    assert isinstance(found, _StorageInfo)
    return found


def tensor_of(metadata: Metadata, name: str) -> TensorStorageMetadata:
    found = metadata.state_dict_metadata[name]
    assert isinstance(found, TensorStorageMetadata)
    return found


def test_what_torch_loads_is_what_is_read(saved: Path) -> None:
    """Views, transposes and small dtypes are the elements that torch itself loads."""
    found = read(saved)
    wanted: State = {
        f"model.{t.name}": torch.empty(t.shape, dtype=torch.bfloat16 if t.dtype == "bf16" else None)
        for t in found.tensors
    }
    nested: State = {"model": {k.removeprefix("model."): v for k, v in wanted.items()}}
    load(nested, checkpoint_id=saved, no_dist=True)
    assert {t.name for t in found.tensors} == set(nested["model"])
    for tensor in found.tensors:
        value = nested["model"][tensor.name]
        raw = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        assert values(saved, tensor) == raw, tensor.name
    assert [(s.name, s.is_parameter) for s in found.skipped] == [("complex.weight", True)]
    assert dcp.prove(saved, [p.name for p in sorted(saved.iterdir())]) == Whole(
        zero_tail=False, step=7
    )


@pytest.mark.parametrize(
    "target",
    ["../other", "/etc/passwd", "..", ".", "a/b.distcp", "a\\b", "", "x\0y", "\x1b[2J", 7, None],
)
def test_chunks_lead_out_of_no_directory(saved: Path, target: object) -> None:
    """Only a base name is followed, whatever the metadata say."""
    change(saved, lambda m: setattr(info_of(m, "model.a.weight"), "relative_path", target))
    with pytest.raises(FormatError, match=r"model\.a\.weight"):
        read(saved)


def hole(metadata: Metadata) -> None:
    tensor_of(metadata, "model.a.weight").size = torch.Size((5, 6))


def overlap(metadata: Metadata) -> None:
    tensor = tensor_of(metadata, "model.a.weight")
    tensor.chunks.append(ChunkStorageMetadata(torch.Size((1, 0)), torch.Size((1, 6))))
    index = MetadataIndex("model.a.weight", torch.Size((1, 0)))
    metadata.storage_data[index] = info_of(metadata, "model.a.weight")


def outside(metadata: Metadata) -> None:
    tensor_of(metadata, "model.a.weight").chunks[0].sizes = torch.Size((9, 6))


def no_place(metadata: Metadata) -> None:
    for index in list(metadata.storage_data):
        if index.fqn == "model.a.weight":
            del metadata.storage_data[index]


def another_dtype(metadata: Metadata) -> None:
    tensor_of(metadata, "model.a.weight").properties = TensorProperties(dtype=torch.int32)


def another_chunk(metadata: Metadata) -> None:
    info, other = info_of(metadata, "model.a.weight"), info_of(metadata, "model.part.weight")
    info.offset, info.length = other.offset, other.length


def no_zip(metadata: Metadata) -> None:
    info_of(metadata, "model.a.weight").offset += 1


def cut_zip(metadata: Metadata) -> None:
    info_of(metadata, "model.a.weight").length -= 30


def compressed(metadata: Metadata) -> None:
    info_of(metadata, "model.a.weight").transform_descriptors = ["stream.zstd"]


def negative(metadata: Metadata) -> None:
    info_of(metadata, "model.a.weight").offset = -1


def beyond(metadata: Metadata) -> None:
    info_of(metadata, "model.a.weight").length = 1 << 40


def elsewhere(metadata: Metadata) -> None:
    info_of(metadata, "model.a.weight").relative_path = "__9_0.distcp"


def huge(metadata: Metadata) -> None:
    tensor_of(metadata, "model.a.weight").size = torch.Size((1 << 40, 1 << 40))


@pytest.mark.parametrize(
    "lie",
    [hole, overlap, outside, no_place, another_dtype, another_chunk, no_zip, cut_zip, compressed,
     negative, beyond, elsewhere, huge],
)  # fmt: skip
def test_every_lie_names_its_tensor(saved: Path, lie: Callable[[Metadata], None]) -> None:
    """Holes, overlaps, stale offsets and what is of another save: an error, and no values."""
    change(saved, lie)
    with pytest.raises((FormatError, IncompleteError), match=r"model\.a\.weight"):
        read(saved)


@pytest.mark.parametrize("lie", [beyond, elsewhere, no_place, compressed, negative])
def test_the_proof_sees_what_needs_no_data(saved: Path, lie: Callable[[Metadata], None]) -> None:
    """Lengths and places are checked before anything is read."""
    files = [p.name for p in sorted(saved.iterdir())]
    change(saved, lie)
    assert isinstance(dcp.prove(saved, files), (Damaged, Partial))


def test_a_chunk_of_the_save_before_is_an_error(saved: Path, tmp_path: Path) -> None:
    """Metadata beside the chunks of another save, of another model, are not believed."""
    other = {"model": {"a.weight": torch.zeros(6, 4), "b.weight": torch.zeros(400)}}
    save(other, checkpoint_id=tmp_path / "other", no_dist=True)
    shutil.copy(tmp_path / "other" / CHUNKS, saved / CHUNKS)
    with pytest.raises(CheckpointError, match="tensor 'model"):
        read(saved)


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_metadata_that_are_cut_off_are_no_checkpoint_yet(saved: Path, keep: int) -> None:
    """Empty, all zero or cut: an error each time."""
    raw = (saved / ".metadata").read_bytes()
    (saved / ".metadata").write_bytes(raw[:keep])
    with pytest.raises(CheckpointError, match="metadata"):
        read(saved)
    (saved / ".metadata").write_bytes(bytes(len(raw)))
    with pytest.raises(IncompleteError, match="not written yet"):
        read(saved)


def test_a_place_that_is_still_empty_is_waited_for(saved: Path) -> None:
    """A file made at its full length and not filled yet is no checkpoint, and no zeros."""
    files = [p.name for p in sorted(saved.iterdir())]
    raw = (saved / CHUNKS).read_bytes()
    (saved / CHUNKS).write_bytes(raw[: len(raw) // 2] + bytes(len(raw) - len(raw) // 2))
    assert isinstance(dcp.prove(saved, files), Partial)
    (saved / CHUNKS).write_bytes(bytes(len(raw)))
    with pytest.raises(IncompleteError, match="not written yet"):
        read(saved)


def test_lightning_says_its_step_beside_the_chunks(saved: Path) -> None:
    """`meta.pt` holds all of Lightning's checkpoint but the tensors."""
    torch.save({"global_step": 120, "epoch": 3, "hyper_parameters": {}}, saved / "meta.pt")
    layout = dcp.recognise(frozenset(p.name for p in saved.iterdir()))
    assert layout is not None
    assert layout.marker == "meta.pt"
    assert dcp.prove(saved, layout.files) == Whole(zero_tail=False, step=120, epoch=3)
    assert read(saved).tensors


def test_stacks_are_split_only_where_megatron_says_it_wrote_them(tmp_path: Path) -> None:
    """Somebody else's metadata.json, or none, leaves a name without a number as it is."""
    state = {"layers.weight": torch.zeros(3, 3)}
    save(dict(state), checkpoint_id=tmp_path, no_dist=True)
    for text, count in (("{}", 1), ("[", 1), ('{"sharded_backend": "torch_dist"}', 3)):
        (tmp_path / "metadata.json").write_text(text)
        assert len(read(tmp_path).tensors) == count


class Evil:
    """What a pickle could do where it is run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


def test_nothing_in_metadata_is_run(saved: Path) -> None:
    """A callable in the metadata stays a name."""
    metadata = metadata_of(saved)
    metadata.planner_data = Evil()
    (saved / ".metadata").write_bytes(pickle.dumps(metadata))
    assert read(saved).tensors
    setattr(metadata, "state_dict_metadata", Evil())  # noqa: B010 - of no type that it may have
    (saved / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(FormatError, match="metadata"):
        read(saved)


def test_only_one_chunk_of_a_kind_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred tensors of one shape and dtype a single zip is looked through."""
    state = {f"w{i}": torch.full((3, 5), float(i)) for i in range(100)}
    save(dict(state), checkpoint_id=tmp_path, no_dist=True)
    parsed: list[int] = []

    def counted(fd: int, offset: int, length: int, path: Path) -> object:
        parsed.append(offset)
        return read_torch_range(fd, offset, length, path)

    monkeypatch.setattr("forkmon.formats.dcp_chunks.read_torch_range", counted)
    found = read(tmp_path)
    assert len(parsed) == 1
    for tensor in found.tensors:
        assert values(tmp_path, tensor) == state[tensor.name].numpy().tobytes()


def entry(name: str, *path: str) -> Entry:
    return Entry(name, path, "f32", (2,), ())


def test_containers_are_told_by_the_metadata() -> None:
    """A `model.` that the author wrote stays; one that a saver put around goes."""
    told = [
        entry("model.layers.0.w", "model", "layers.0.w"),
        entry("app.model.w", "app", "model", "w"),
        entry("app.optim.state.w.exp_avg", "app", "optim", "state", "w", "exp_avg"),
        entry("model.embed.w", "model.embed.w"),
        entry("ema.w", "ema", "w"),
        entry("train_state.step", "train_state", "step"),
    ]
    found = named(told)
    assert [one.name for one in found] == [
        "layers.0.w", "w", "w.exp_avg", "model.embed.w", "w", "train_state.step",
    ]  # fmt: skip
    assert [one.role for one in found] == ["model", "model", "optimizer", "model", "ema", "model"]
    assert bool(found[-1].aside)


def test_names_that_would_be_the_same_stay_as_they_are() -> None:
    """States of two optimizers, and tensors of two containers, never become one."""
    told = [
        entry("optimizer_0.state.w.exp_avg", "optimizer_0", "state", "w", "exp_avg"),
        entry("optimizer_1.state.w.exp_avg", "optimizer_1", "state", "w", "exp_avg"),
        entry("optimizer_1.state.v.exp_avg", "optimizer_1", "state", "v", "exp_avg"),
        entry("optimizer_1.state.v.step", "optimizer_1", "state", "v", "step"),
        entry("model.w", "model", "w"),
        entry("w", "w"),
    ]
    found = named(told)
    assert [one.name for one in found if not one.aside] == [
        "optimizer_0.state.w.exp_avg", "optimizer_1.state.w.exp_avg", "v.exp_avg", "model.w", "w",
    ]  # fmt: skip


def test_containers_are_guessed_only_beside_an_optimizer() -> None:
    """Without word of the metadata, `model.` goes where all have it and an optimizer is there."""
    plain = [entry("model.a"), entry("model.b")]
    assert [one.name for one in named(plain)] == ["model.a", "model.b"]
    beside = [*plain, entry("optimizer.state.a.exp_avg")]
    assert [one.name for one in named(beside)][:2] == ["a", "b"]
    head = [*beside, entry("lm_head")]
    assert [one.name for one in named(head)][:2] == ["model.a", "model.b"]


def stacked(name: str, *shape: int) -> TensorRef:
    return TensorRef(name, "f32", shape, Path("x"), 0)


def test_stacks_that_disagree_stay_whole() -> None:
    """Where first axes differ nobody knows which one is the layers'."""
    uneven = [stacked("decoder.layers.a.weight", 4, 2), stacked("decoder.layers.b.weight", 3, 2)]
    found, notes = unstacked(uneven, megatron=True)
    assert found == uneven
    assert len(notes) == 2
    clash = [stacked("decoder.layers.a.w", 2, 2), stacked("decoder.layers.0.a.w", 2)]
    found, notes = unstacked(clash, megatron=True)
    assert [t.name for t in found] == [t.name for t in clash]
    plain = [stacked("model.layers.norm", 4), stacked("decoder.layers.0.w", 4)]
    assert unstacked(plain, megatron=False) == (plain, [])
    scalar = [stacked("decoder.layers.s")]
    assert unstacked(scalar, megatron=True)[0] == scalar


def test_ranks_of_their_own_metadata_must_agree(tmp_path: Path) -> None:
    """Metadata of two ranks that differ in a tensor's shape are of two saves."""
    for rank, size in enumerate((3, 4)):
        save({"w": torch.zeros(size)}, checkpoint_id=tmp_path / str(rank), no_dist=True)
        shutil.copy(tmp_path / str(rank) / ".metadata", tmp_path / f"__{rank}.metadata")
        shutil.copy(tmp_path / str(rank) / CHUNKS, tmp_path / CHUNKS)
    with pytest.raises(FormatError, match="'w'"):
        read(tmp_path)


def test_objects_are_no_tensors() -> None:
    """Pickled objects are known by name and place, and no more."""
    metadata = Metadata(
        {"o": BytesStorageMetadata()}, None, {MetadataIndex("o"): _StorageInfo("f", 3, 4)}
    )
    found = parse_metadata(pickle.dumps(metadata), ".metadata")
    assert found.tensors == ()
    assert found.objects["o"].offset == 3
