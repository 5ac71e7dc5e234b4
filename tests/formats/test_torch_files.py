"""Files of torch.save's, read without torch and compared with what torch itself loads."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from forkmon.errors import CheckpointError, FormatError, IncompleteError
from forkmon.formats.pickles import TorchTensor
from forkmon.formats.proof import Damaged, Partial, Whole, prove
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import Listing, TensorRef
from forkmon.formats.torch_file import TorchFile, read_torch, read_torch_range
from forkmon.formats.torch_reader import TorchReader
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]
KINDS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])

DTYPES = (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.uint8,
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64,
    torch.float8_e4m3fn, torch.float8_e5m2,
)  # fmt: skip


def saved(path: Path, value: object, *, zipped: bool = True) -> Path:
    """Write a file with torch and return its path."""
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def opened(path: Path) -> TorchFile:
    """Return what is in a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return read_torch(fd, path.stat().st_size, path)
    finally:
        os.close(fd)


def listed(ref: CheckpointRef) -> Listing:
    """Return a ref's listing."""
    return TorchReader().listing(ref)


def values(ref: CheckpointRef, tensor: TensorRef) -> bytes:
    """Return a tensor's bytes as OpenFiles serves them."""
    out = bytearray(tensor.bytes)
    with OpenFiles(ref) as files:
        files.read_into(tensor, 0, memoryview(out))
        files.verify()
    return bytes(out)


def raw_bytes(tensor: torch.Tensor) -> bytes:
    """Return a tensor's elements in C order."""
    flat = tensor.detach().contiguous().reshape(-1)
    return bytes(flat.view(torch.uint8).numpy().tobytes()) if flat.numel() else b""


def assert_same(ref: CheckpointRef, listing: Listing, wanted: dict[str, torch.Tensor]) -> None:
    """Hold every tensor of a listing against torch's."""
    assert {tensor.name for tensor in listing.tensors} == set(wanted)
    for tensor in listing.tensors:
        torch_tensor = wanted[tensor.name]
        if tensor.view is not None:
            torch_tensor = torch_tensor.t()
        assert tensor.shape == tuple(torch_tensor.shape), tensor.name
        assert values(ref, tensor) == raw_bytes(torch_tensor), tensor.name


def many() -> dict[str, torch.Tensor]:
    """Return tensors of every dtype and of every way to lie in a storage."""
    base = torch.arange(120.0).reshape(4, 5, 6)
    found = {f"of.{str(dtype).removeprefix('torch.')}": torch.arange(12).to(dtype).reshape(3, 4)
             for dtype in DTYPES}  # fmt: skip
    return found | {
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 7),
        "empty.inside": base[:, 2:2],
        "part": base[1:3],
        "transposed": torch.arange(15.0).reshape(3, 5).t(),
        "permuted": base.permute(2, 0, 1),
        "strided": base[::2, 1:, ::3],
        "one": base[:1, :1, 3:4],
        "tied": base[1:3],
        "parameter": torch.nn.Parameter(torch.ones(2, 2, dtype=torch.bfloat16)),
    }


@KINDS
def test_every_dtype_and_layout_reads_as_torch_reads_it(
    tmp_path: Path, ref_of: RefOf, zipped: bool
) -> None:
    """The bytes served are those of the tensor that torch.load returns."""
    original = many()
    path = saved(tmp_path / "x.pt", original, zipped=zipped)
    # torch writes unsigned integers into legacy files, but cannot load them.
    loaded = torch.load(path, weights_only=True) if zipped else original
    ref = replace(ref_of(path), format="torch")
    listing = listed(ref)
    assert not listing.skipped
    assert_same(ref, listing, loaded)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_what_is_not_read_is_named_with_its_reason(tmp_path: Path, ref_of: RefOf) -> None:
    """Complex, expanded, sparse, meta and negated tensors are skipped, the others read."""
    path = saved(tmp_path / "x.pt", {
        "a": torch.ones(2),
        "complex": torch.ones(2, dtype=torch.complex64),
        "expanded": torch.ones(1).expand(3, 4),
        "sparse": torch.eye(3).to_sparse(),
        "csr": torch.eye(3).to_sparse_csr(),
        "meta": torch.ones(2, device="meta"),
        "negated": torch.ones(2, dtype=torch.complex64).conj().imag,
        "fnuz": torch.ones(2).to(torch.float8_e4m3fnuz),
    })  # fmt: skip
    listing = listed(ref_of(path))
    assert [tensor.name for tensor in listing.tensors] == ["a"]
    reasons = {skip.name: skip.reason for skip in listing.skipped}
    assert set(reasons) == {"complex", "expanded", "sparse", "csr", "meta", "negated", "fnuz"}
    assert "12 elements made of 1" in reasons["expanded"]
    assert "meta device" in reasons["meta"]


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_a_quantised_tensor_is_named(tmp_path: Path, ref_of: RefOf) -> None:
    """Integer codes are never shown as weights."""
    quantised = torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)
    path = saved(tmp_path / "x.pt", {"w": torch.ones(1), "q": quantised})
    (skip,) = listed(ref_of(path)).skipped
    assert (skip.name, skip.dtype) == ("q", "qint8")


def test_tied_weights_are_listed_at_the_same_place(tmp_path: Path, ref_of: RefOf) -> None:
    """Two names of one storage keep one place, by which they are told to be tied."""
    weight = torch.ones(3, 3)
    path = saved(tmp_path / "x.pt", {"wte.weight": weight, "lm_head.weight": weight})
    first, second = listed(ref_of(path)).tensors
    assert (first.offset, first.file) == (second.offset, second.file)


def test_shards_make_one_listing(tmp_path: Path, ref_of: RefOf) -> None:
    """Several files are one state dict; a name that comes twice is read once."""
    one = saved(tmp_path / "pytorch_model-00001-of-00002.bin", {"a": torch.ones(2)})
    two = saved(tmp_path / "pytorch_model-00002-of-00002.bin", {"b": torch.ones(3)})
    listing = listed(ref_of(one, two, path=tmp_path))
    assert [(tensor.name, tensor.file.name) for tensor in listing.tensors] == [
        ("a", one.name), ("b", two.name),
    ]  # fmt: skip
    saved(two, {"a": torch.ones(2)})
    listing = listed(ref_of(one, two, path=tmp_path))
    assert len(listing.tensors) == 1
    assert "same name" in listing.skipped[0].reason


def test_a_zip_inside_another_file_is_read_where_it_lies(tmp_path: Path) -> None:
    """Offsets are those of the outer file."""
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(5.0)}, buffer)
    path = tmp_path / "chunk"
    path.write_bytes(b"x" * 77 + buffer.getvalue() + b"y" * 33)
    fd = os.open(path, os.O_RDONLY)
    try:
        found = read_torch_range(fd, 77, len(buffer.getvalue()), path)
    finally:
        os.close(fd)
    ((offset, length),) = found.storages.values()
    assert path.read_bytes()[offset : offset + length] == raw_bytes(torch.arange(5.0))


@KINDS
def test_a_truncated_file_is_always_told(tmp_path: Path, zipped: bool) -> None:
    """No proper prefix of a file is whole, and none is anything but incomplete."""
    whole = saved(tmp_path / "w.pt", {"w": torch.arange(300.0), "step": 7}, zipped=zipped)
    raw = whole.read_bytes()
    path = tmp_path / "x.pt"
    for length in (*range(0, len(raw), 37), *range(len(raw) - 30, len(raw))):
        path.write_bytes(raw[:length])
        assert isinstance(prove(path), Partial), length
        with pytest.raises((IncompleteError, FormatError)):
            opened(path)
    path.write_bytes(raw)
    assert prove(path) == Whole(zero_tail=False, step=7)
    path.write_bytes(raw + b"\0")
    assert isinstance(prove(path), Damaged if not zipped else Partial)


@KINDS
def test_proof_names_the_step_of_a_file_that_keeps_its_name(tmp_path: Path, zipped: bool) -> None:
    """nanoGPT's ckpt.pt says its step inside."""
    path = saved(
        tmp_path / "ckpt.pt",
        {"model": {"w": torch.ones(2)}, "iter_num": 2000, "epoch": 3}, zipped=zipped,
    )  # fmt: skip
    assert prove(path) == Whole(zero_tail=False, step=2000, epoch=3.0)


def test_a_legacy_file_made_at_its_full_length_is_suspect(tmp_path: Path) -> None:
    """Zeros at its end may still be filled."""
    path = saved(tmp_path / "x.pt", {"w": torch.ones(5000)}, zipped=False)
    raw = path.read_bytes()
    path.write_bytes(raw[:-8000] + bytes(8000))
    assert prove(path) == Whole(zero_tail=True)


def test_a_legacy_file_beyond_the_first_window_is_read(
    tmp_path: Path, ref_of: RefOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pickles longer than the first read are read in larger ones."""
    monkeypatch.setattr("forkmon.formats.torch_legacy._FIRST_BYTES", 64)
    wanted = {f"layers.{n}.weight": torch.full((3,), float(n)) for n in range(50)}
    path = saved(tmp_path / "x.pt", wanted, zipped=False)
    ref = ref_of(path)
    assert_same(ref, listed(ref), wanted)


def rezipped(path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None],
             method: int = zipfile.ZIP_STORED) -> Path:  # fmt: skip
    """Write an archive anew with each entry as `change` says."""
    with zipfile.ZipFile(path) as old:
        entries = [(info.filename, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w", method) as new:
        for name, data in entries:
            changed = change(name, data)
            if changed is not None:
                new.writestr(*changed)
    return path


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    """A bomb is not unpacked: nothing is."""
    path = rezipped(
        saved(tmp_path / "x.pt", {"w": torch.zeros(9)}), lambda n, d: (n, d), zipfile.ZIP_DEFLATED
    )
    with pytest.raises(FormatError, match="compressed"):
        opened(path)


def test_big_endian_files_are_refused(tmp_path: Path) -> None:
    """Their numbers would all be wrong."""
    path = rezipped(
        saved(tmp_path / "x.pt", {"w": torch.zeros(9)}),
        lambda n, d: (n, b"big" if n.endswith("byteorder") else d),
    )
    with pytest.raises(FormatError, match="big-endian"):
        opened(path)


@pytest.mark.parametrize("cut", [1, 4, 36])
def test_a_storage_shorter_than_its_tensor_is_refused(
    tmp_path: Path, ref_of: RefOf, cut: int
) -> None:
    """What torch read beyond its buffer until 2.10 is an error here."""
    path = rezipped(
        saved(tmp_path / "x.pt", {"w": torch.ones(9)}),
        lambda n, d: (n, d[:-cut] if n.endswith("data/0") else d),
    )
    with pytest.raises(FormatError, match="reaches beyond"):
        listed(ref_of(path))


def test_a_missing_storage_is_told_by_the_proof(tmp_path: Path) -> None:
    """An archive without one of its storages is damaged."""
    path = rezipped(
        saved(tmp_path / "x.pt", {"w": torch.ones(9)}),
        lambda n, d: None if n.endswith("data/0") else (n, d),
    )
    proof = prove(path)
    assert isinstance(proof, Damaged)
    assert "storage 0" in proof.reason


def test_an_archive_in_another_order_is_still_torch(tmp_path: Path, ref_of: RefOf) -> None:
    """It is told by all of its names, not by the first one."""
    path = saved(tmp_path / "x.pt", {"w": torch.ones(9)})
    with zipfile.ZipFile(path) as old:
        entries = [(info.filename, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w") as new:
        for name, data in reversed(entries):
            new.writestr(name, data)
    assert isinstance(prove(path), Whole)
    assert len(listed(ref_of(path)).tensors) == 1


def test_a_zip64_archive_is_read(tmp_path: Path, ref_of: RefOf) -> None:
    """Archives beyond 4 GB have wider numbers; so may smaller ones."""
    path = saved(tmp_path / "x.pt", {"w": torch.arange(4.0)})
    with zipfile.ZipFile(path) as old:
        entries = [(info.filename, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w") as new:
        for name, data in entries:
            with new.open(name, "w", force_zip64=True) as entry:
                entry.write(data)
    ref = ref_of(path)
    assert_same(ref, listed(ref), {"w": torch.arange(4.0)})


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_module_is_read(tmp_path: Path, ref_of: RefOf) -> None:
    """TorchScript archives hold the same pickle."""
    path = tmp_path / "scripted.pt"
    module = torch.jit.script(torch.nn.Linear(2, 3))
    torch.jit.save(module, str(path))
    ref = ref_of(path)
    assert {tensor.name: tensor.shape for tensor in listed(ref).tensors} == {
        "weight": (3, 2), "bias": (3,),
    }  # fmt: skip


def test_python_objects_beside_the_weights_do_no_harm(tmp_path: Path) -> None:
    """Paths, numpy numbers, sets and named tuples come out plain or as stubs."""
    import argparse

    import numpy as np

    value = {
        "args": argparse.Namespace(lr=0.1, out=Path("a/b")),
        "loss": np.float64(2.5), "count": np.int32(7), "rng": np.random.default_rng(0),
        "seen": {1, 2}, "w": torch.nn.Parameter(torch.ones(2)), "size": torch.Size([3, 4]),
        "device": torch.device("cpu"), "raw": b"\x00\xff",
    }  # fmt: skip
    found = opened(saved(tmp_path / "x.pt", value)).root
    assert isinstance(found, dict)
    assert found["args"].name == "argparse.Namespace"
    assert found["args"].state == {"lr": 0.1, "out": "a/b"}
    assert (found["loss"], found["count"], found["seen"]) == (2.5, 7, {1, 2})
    assert (found["size"], found["raw"]) == ((3, 4), b"\x00\xff")
    assert isinstance(found["w"], TorchTensor)
    assert found["w"].wrapper == "parameter"


def test_other_pickles_and_zips_are_refused(tmp_path: Path) -> None:
    """A file of another kind says so, whatever its name."""
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(FormatError):
        opened(path)
    path.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(FormatError, match=r"torch\.save"):
        opened(path)
    path.write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match="nothing is written"):
        opened(path)


def test_a_dtensor_of_one_rank_tells_where_it_belongs(tmp_path: Path) -> None:
    """Mesh, placements and whole shape are there; a replicated one is read."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from forkmon.formats.pickles import Distributed

    dist.init_process_group("fake", rank=1, world_size=4, store=FakeStore())
    try:
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        cut = distribute_tensor(torch.arange(32.0).reshape(8, 4), mesh, [Shard(0), Replicate()])
        root = opened(saved(tmp_path / "x.pt", {"w": cut, "p": torch.nn.Parameter(cut)})).root
    finally:
        dist.destroy_process_group()
    assert isinstance(root, dict)
    for found in root.values():
        assert isinstance(found, Distributed)
        assert (found.shape, found.local.shape) == ((8, 4), (4, 4))
        assert (found.mesh_shape, found.placements) == ((2, 2), ("S(0)", "R"))


def test_tensor_subclasses_are_read_or_named(tmp_path: Path) -> None:
    """A subclass over a storage is a tensor with a note; one made of others is opaque."""
    plain = torch.ones(2).as_subclass(_Plain)
    root = opened(saved(tmp_path / "x.pt", {"w": plain})).root
    assert isinstance(root, dict)
    assert isinstance(root["w"], TorchTensor)
    assert root["w"].wrapper == "_Plain"


class _Plain(torch.Tensor):
    pass
