"""What a file is, is told from its bytes, never from its name."""

from __future__ import annotations

import pickle  # noqa: TID251 - to make a file that must not be executed
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from forkmon.formats.proof import Damaged, Partial, Whole, prove
from forkmon.formats.sniff import refusal, sniff, sniff_bytes

Raw = Callable[..., bytes]


def test_formats_are_told_by_content(tmp_path: Path) -> None:
    """A torch zip, a legacy file and an npz are themselves under any name."""
    new, old, arrays = (tmp_path / f"{n}.safetensors" for n in ("new", "old", "arrays"))
    torch.save({"w": torch.ones(3)}, new)
    torch.save({"w": torch.ones(3)}, old, _use_new_zipfile_serialization=False)
    with arrays.open("wb") as file:
        np.savez(file, w=np.ones(3))
    assert [sniff(path) for path in (new, old, arrays)] == ["torch", "torch", "npz"]
    assert not refusal(new)
    assert all(prove(path) == Whole(zero_tail=False) for path in (new, old, arrays))


def test_zips_of_others_are_named(tmp_path: Path) -> None:
    """Keras says so; any other zip is none of ours; one without its end may be torch's."""
    path = tmp_path / "x.pt"
    for name, word in (("metadata.json", "Keras"), ("a.txt", "none of torch")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "{}")
        assert word in refusal(path)
        assert isinstance(prove(path), Damaged)
    path.write_bytes(path.read_bytes()[:-5])
    assert isinstance(prove(path), Partial)


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"\n <html lang=en>", "HTML"),
        (b"GGUF\x03", "gguf"),
        (b"\x93NUMPY\x01", "numpy array"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\0" * 257 + b"ustar\0", "tar"),
        (b"anything else", "no known"),
        (pickle.dumps({"a": 1}), "pickle"),
    ],
)
def test_other_contents_are_told_apart(head: bytes, word: str) -> None:
    """Each usual stand-in for a checkpoint has its own words."""
    assert word in sniff_bytes(head)


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x8B1F, 0x4B50])
def test_a_header_length_that_looks_like_a_magic_fools_nobody(raw: Raw, length: int) -> None:
    """A safetensors file whose first bytes are those of a pickle, gzip or zip is itself."""
    assert sniff_bytes(raw(b"{}" + b" " * (length - 2))[:512]) == "safetensors"


def test_proof_follows_a_growing_file(tmp_path: Path) -> None:
    """Every prefix of a file is partial, the whole of it is whole, more of it is damaged."""
    path = tmp_path / "x.safetensors"
    save_file({"w": np.arange(1, 9, dtype=np.float32)}, path, metadata={"step": "12"})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert isinstance(prove(path), Partial), length
    path.write_bytes(whole)
    assert prove(path) == Whole(zero_tail=False, step=12)
    path.write_bytes(whole + b"\0")
    assert isinstance(prove(path), Damaged)


def test_a_pre_sized_file_is_partial_until_its_header_and_suspect_until_its_end(
    tmp_path: Path,
) -> None:
    """Zeros where bytes will be are never taken for weights in a hurry."""
    path = tmp_path / "x.safetensors"
    save_file({"w": np.ones(4000, np.float32)}, path)
    whole = path.read_bytes()
    path.write_bytes(b"\0" * len(whole))
    assert isinstance(prove(path), Partial)
    path.write_bytes(whole[:8] + b"\0" * (len(whole) - 8))
    assert isinstance(prove(path), Partial)
    path.write_bytes(whole[:5000] + b"\0" * (len(whole) - 5000))
    assert prove(path) == Whole(zero_tail=True)
