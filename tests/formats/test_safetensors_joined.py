"""Safetensors of many ranks: parts make a whole, or an error names the tensor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats import safetensors_shards
from forkmon.formats.proof import Damaged, Partial, Whole
from forkmon.formats.reading import OpenFiles, listing
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]
WHOLE = np.arange(24, dtype=np.float32).reshape(4, 6)


def shard(directory: Path, rank: int, part: object, **tensors: object) -> Path:
    """Write a rank's file: `part` is what it says of where its tensors begin."""
    path = directory / f"shard-{rank:05}-model-00001-of-00001.safetensors"
    metadata = {"DCP_SHARDING_INFO": part if isinstance(part, str) else json.dumps(part)}
    save_file({name: np.asarray(value) for name, value in tensors.items()}, path, metadata)
    return path


def at(*start: int) -> dict[str, object]:
    return {"w": {"saved_offsets": list(start)}}


def test_columns_of_two_ranks_are_one_tensor(tmp_path: Path, ref_of: RefOf) -> None:
    """Parts side by side are read as the whole, and the proof says that it is whole."""
    files = [
        shard(tmp_path, 1, at(0, 0), w=np.ascontiguousarray(WHOLE[:, :2])),
        shard(tmp_path, 2, at(0, 2), w=np.ascontiguousarray(WHOLE[:, 2:])),
    ]
    ref = ref_of(*files, path=tmp_path)
    (tensor,) = listing(ref).tensors
    assert tensor.shape == (4, 6)
    out = np.empty((4, 6), np.float32)
    with OpenFiles(ref) as opened:
        opened.read_into(tensor, 0, out.reshape(-1).data)
    assert np.array_equal(out, WHOLE)
    layout = safetensors_shards.recognise(frozenset(p.name for p in tmp_path.iterdir()))
    assert layout is not None
    assert layout.format == "safetensors"
    assert safetensors_shards.prove(tmp_path, layout.files) == Whole(zero_tail=False)
    rest = layout.files[1:]
    assert isinstance(safetensors_shards.prove(tmp_path, rest), Partial)


@pytest.mark.parametrize(
    "said",
    ["", "[", "[]", "{}", {"w": {}}, {"w": {"saved_offsets": [0]}}, at(-1, 0), at(0, 1 << 70),
     {"w": {"saved_offsets": [0, True]}}, {"w": [0, 2]}],
)  # fmt: skip
def test_parts_that_do_not_say_where_they_begin(
    tmp_path: Path, ref_of: RefOf, said: object
) -> None:
    """No offsets, or none that can be: an error, never a guess."""
    first = shard(tmp_path, 1, at(0, 0), w=WHOLE[:, :2].copy())
    second = shard(tmp_path, 2, said, w=WHOLE[:, 2:].copy())
    with pytest.raises((FormatError, IncompleteError)):
        listing(ref_of(first, second, path=tmp_path))


@pytest.mark.parametrize(
    ("start", "part", "error"),
    [
        ((0, 1), WHOLE[:, 2:].copy(), FormatError),
        ((0, 3), WHOLE[:, 2:].copy(), IncompleteError),
        ((0, 2), WHOLE[:, 2:].astype(np.float16), FormatError),
        ((2,), np.zeros(3, np.float32), FormatError),
    ],
)
def test_parts_of_two_saves_are_refused(
    tmp_path: Path,
    ref_of: RefOf,
    start: tuple[int, ...],
    part: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    error: type[Exception],
) -> None:
    """Overlaps, holes and parts of another dtype or rank name the tensor."""
    first = shard(tmp_path, 1, at(0, 0), w=WHOLE[:, :2].copy())
    second = shard(tmp_path, 2, at(*start), w=part)
    with pytest.raises(error, match="'w'"):
        listing(ref_of(first, second, path=tmp_path))
    proof = safetensors_shards.prove(tmp_path, [first.name, second.name])
    assert isinstance(proof, (Damaged, Partial))
