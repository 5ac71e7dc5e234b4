"""npz archives: what numpy wrote is what is read; nothing is unpickled or unpacked."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from forkmon.errors import FormatError
from forkmon.formats.npz import NpzReader
from forkmon.formats.proof import Partial, Whole, prove
from forkmon.formats.reading import OpenFiles
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]
CODES = ("?", "u1", "i1", "<u2", "<i2", "<f2", "<u4", "<i4", "<f4", "<u8", "<i8", "<f8")


def test_arrays_read_as_numpy_reads_them(tmp_path: Path, ref_of: RefOf) -> None:
    """Every dtype, in C and Fortran order, of none to three dimensions."""
    base = np.arange(24)
    wanted: dict[str, NDArray[np.generic]] = {
        f"c{code}": base.astype(code).reshape(2, 3, 4) for code in CODES
    }
    wanted |= {
        "fortran": np.asfortranarray(base.reshape(4, 6).astype("<f4")),
        "fortran3": np.asfortranarray(base.reshape(2, 3, 4).astype("<f8")),
        "scalar": np.array(2.5),
        "empty": np.ones((0, 3)),
        "vector": base,
        "params/layer.0/kernel": np.ones((2, 2), "<f2"),
    }
    path = tmp_path / "x.npz"
    np.savez(path, **wanted)  # type: ignore[arg-type]  # numpy types keywords as its flag
    ref = replace(ref_of(path), format="npz")
    listing = NpzReader().listing(ref)
    assert not listing.skipped
    assert [tensor.name for tensor in listing.tensors] == list(wanted)
    with OpenFiles(ref) as files:
        for tensor in listing.tensors:
            array = wanted[tensor.name]
            array = array.T if tensor.view is not None else array
            out = bytearray(tensor.bytes)
            files.read_into(tensor, 0, memoryview(out))
            assert tensor.shape == array.shape
            assert bytes(out) == np.ascontiguousarray(array).tobytes(), tensor.name
    assert prove(path) == Whole(zero_tail=False)


def test_what_is_not_read_is_named(tmp_path: Path, ref_of: RefOf) -> None:
    """Objects, records, complex, big-endian and raw values have a reason each."""
    path = tmp_path / "x.npz"
    np.savez(
        path, good=np.ones(2), objects=np.array([{}], object), complex=np.ones(2, "<c8"),
        big=np.ones(2, ">f4"), raw=np.zeros(2, "V2"), text=np.array(["a"]),
        records=np.zeros(2, [("a", "<f4")]),
    )  # fmt: skip
    listing = NpzReader().listing(ref_of(path))
    assert [tensor.name for tensor in listing.tensors] == ["good"]
    reasons = {skip.name: skip.reason for skip in listing.skipped}
    assert set(reasons) == {"objects", "complex", "big", "raw", "text", "records"}
    assert "never loaded" in reasons["objects"]
    assert "bfloat16" in reasons["raw"]


def test_compressed_arrays_are_named_not_unpacked(tmp_path: Path, ref_of: RefOf) -> None:
    """savez_compressed says what to use instead."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.zeros(100_000))
    listing = NpzReader().listing(ref_of(path))
    assert not listing.tensors
    assert "numpy.savez" in listing.skipped[0].reason


def test_a_truncated_archive_is_partial(tmp_path: Path) -> None:
    """The directory is written last."""
    path = tmp_path / "x.npz"
    np.savez(path, a=np.ones(50), b=np.ones(50))
    raw = path.read_bytes()
    for length in range(0, len(raw), 11):
        path.write_bytes(raw[:length])
        assert isinstance(prove(path), Partial), length


HEADERS = {
    "no magic": b"NUMPY" + bytes(20),
    "short": b"\x93NUMPY\1",
    "version": b"\x93NUMPY\x09\0\x10\0" + b" " * 16,
    "long": b"\x93NUMPY\2\0\xff\xff\xff\x7f" + b" " * 16,
    "beyond": b"\x93NUMPY\1\0\xff\x0f" + b" " * 16,
    "size": b"\x93NUMPY\1\0\x3b\0{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }  \n",
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_lie_are_refused(tmp_path: Path, ref_of: RefOf, name: str) -> None:
    """Magic, version, lengths and the size of the data are held against each other."""
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", HEADERS[name])
    with pytest.raises(FormatError):
        NpzReader().listing(ref_of(path))


@pytest.mark.parametrize(
    "text", ["{'descr': __import__('os'), }", "{" * 500, "{'descr': '<f4', 'fortran_order': 1}"]
)
def test_headers_are_matched_never_evaluated(tmp_path: Path, ref_of: RefOf, text: str) -> None:
    """What is no plain header is an array that is not read."""
    raw = text.encode()
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\1\0" + len(raw).to_bytes(2, "little") + raw)
    listing = NpzReader().listing(ref_of(path))
    assert [skip.name for skip in listing.skipped] == ["a"]


def test_a_zip_of_other_things_is_refused(tmp_path: Path, ref_of: RefOf) -> None:
    """Arrays only."""
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(2))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("readme.txt", "x")
    path = tmp_path / "x.npz"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(FormatError, match="numpy"):
        NpzReader().listing(ref_of(path))
