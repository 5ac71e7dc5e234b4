"""GGUF files made by the specification, byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forkmon.errors import FormatError
from forkmon.formats.gguf import GgufReader
from forkmon.formats.proof import Damaged, Partial, Whole, prove
from forkmon.formats.reading import OpenFiles
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]
Described = tuple[str, tuple[int, ...], int, bytes]

TEXT, ARRAY, U32 = 8, 9, 4


def text(value: str) -> bytes:
    """Return a string as GGUF spells it."""
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    """Return one field of metadata."""
    return text(key) + struct.pack("<I", kind) + value


PAIRS = (
    pair("general.architecture", TEXT, text("llama")),
    pair("tokenizer.tokens", ARRAY, struct.pack("<IQ", TEXT, 2) + text("a") + text("bc")),
    pair("tokenizer.scores", ARRAY, struct.pack("<IQ2f", 6, 2, 0.5, 1.5)),
    pair("general.flag", 7, b"\1"),
)


def gguf(
    tensors: list[Described], pairs: tuple[bytes, ...] = PAIRS, *, alignment: int = 32,
    version: int = 3,
) -> bytes:  # fmt: skip
    """Return a file of tensors given as (name, shape outermost first, type, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs)
    body = b""
    for name, shape, kind, raw in tensors:
        sizes = shape[::-1]
        head += text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, len(body))
        body += raw.ljust(-(-len(raw) // alignment) * alignment, b"\0")
    return head.ljust(-(-len(head) // alignment) * alignment, b"\0") + body


KINDS = {"<f4": 0, "<f2": 1, "i1": 24, "<i2": 25, "<i4": 26, "<i8": 27, "<f8": 28}


def test_plain_tensors_read_as_written(tmp_path: Path, ref_of: RefOf) -> None:
    """Shapes come outermost axis first; quantised blocks are named and their places kept."""
    arrays = {f"blk.{code}.weight": np.arange(1, 7).astype(code).reshape(2, 3) for code in KINDS}
    tensors: list[Described] = [
        (name, array.shape, KINDS[name.split(".")[1]], array.tobytes())
        for name, array in arrays.items()
    ]
    tensors.insert(2, ("blk.q.weight", (2, 256), 12, b"\1" * 288))
    tensors.append(("blk.b.weight", (4,), 30, b"\x80\x3f" * 4))
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf(tensors))
    ref = replace(ref_of(path), format="gguf")
    listing = GgufReader().listing(ref)
    assert [(skip.name, skip.dtype) for skip in listing.skipped] == [("blk.q.weight", "Q4_K")]
    with OpenFiles(ref) as files:
        for tensor in listing.tensors:
            out = bytearray(tensor.bytes)
            files.read_into(tensor, 0, memoryview(out))
            wanted = next(raw for name, _, _, raw in tensors if name == tensor.name)
            assert bytes(out) == wanted
    assert {tensor.shape for tensor in listing.tensors} == {(2, 3), (4,)}
    assert isinstance(prove(path), Whole)


def test_proof_follows_a_growing_file(tmp_path: Path) -> None:
    """Every prefix without the last tensor's end is partial; padding may be missing or there."""
    tensors: list[Described] = [("a", (40,), 0, b"\1" * 160), ("b", (3,), 0, b"\1" * 12)]
    raw = gguf(tensors)
    needed = len(raw) - 20
    path = tmp_path / "x.gguf"
    for length in range(0, needed, 5):
        path.write_bytes(raw[:length])
        assert isinstance(prove(path), Partial), length
    for length in (needed, len(raw)):
        path.write_bytes(raw[:length])
        assert prove(path) == Whole(zero_tail=False)
    path.write_bytes(raw + bytes(64))
    assert isinstance(prove(path), Damaged)
    path.write_bytes(raw[:-160] + bytes(160))
    assert isinstance(prove(path), Whole)


def test_a_file_at_its_full_length_without_its_data_is_suspect(tmp_path: Path) -> None:
    """Zeros where the last tensors will be are no weights in a hurry."""
    raw = gguf([("a", (4000,), 0, b"\1" * 16_000)])
    path = tmp_path / "x.gguf"
    path.write_bytes(raw[:-16_000] + bytes(16_000))
    assert prove(path) == Whole(zero_tail=True)


def test_an_alignment_of_its_own_is_heeded(tmp_path: Path, ref_of: RefOf) -> None:
    """general.alignment moves the data."""
    pairs = (pair("general.alignment", U32, struct.pack("<I", 256)),)
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf([("a", (1,), 0, b"\1\2\3\4")], pairs, alignment=256))
    (tensor,) = GgufReader().listing(ref_of(path)).tensors
    assert tensor.offset % 256 == 0
    assert path.read_bytes()[tensor.offset :][:4] == b"\1\2\3\4"


def _deep() -> bytes:
    inner = struct.pack("<IQ", U32, 0)
    for _ in range(50):
        inner = struct.pack("<IQ", ARRAY, 1) + inner
    return inner


BAD: dict[str, bytes] = {
    "version": gguf([], version=1),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "tensors": b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 0),
    "pairs": b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60),
    "type of field": gguf([], (pair("a", 99, b""),)),
    "deep": gguf([], (pair("a", ARRAY, _deep()),)),
    "long list": gguf([], (pair("a", ARRAY, struct.pack("<IQ", TEXT, 1 << 50)),)),
    "alignment": gguf([], (pair("general.alignment", U32, b"\0\0\0\0"),)),
    "twice": gguf([("a", (8,), 0, bytes(32)), ("a", (8,), 0, bytes(32))]),
    "block": gguf([("a", (100,), 12, bytes(144))]),
    "huge": gguf([("a", (2**62, 2**62), 0, b"")]),
    "negative": gguf([("a", (2**63,), 0, b"")]),
    "rank": gguf([("a", (1,) * 9, 0, bytes(4))]),
    "overlap": gguf([("a", (8,), 0, b""), ("b", (8,), 0, bytes(32))]),
}


@pytest.mark.parametrize("name", BAD)
def test_headers_that_lie_are_refused(tmp_path: Path, ref_of: RefOf, name: str) -> None:
    """Counts, sizes, nesting, overlaps and doubles are format errors."""
    path = tmp_path / "x.gguf"
    path.write_bytes(BAD[name])
    with pytest.raises(FormatError):
        GgufReader().listing(ref_of(path))
    assert isinstance(prove(path), Damaged)
