"""Nanotron: one file a parameter and rank, laid out as its sources describe, is one model again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats import nanotron
from forkmon.formats.nanotron_slices import pairs_of, shape_of
from forkmon.formats.opening import file_print
from forkmon.formats.proof import Damaged, Partial, Whole
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import TensorRef
from forkmon.runs.refs import CheckpointRef, Fingerprint

Array = NDArray[np.float32]
Slices = tuple["slice[Any, Any, Any]", ...]
Pair = tuple[Slices, Slices]
BLOCK = "model.decoder.0.pp_block.attn"


def text_of(slices: Slices) -> str:
    """Spell slices as nanotron's SlicesPair does."""
    return "|".join(f"{s.start},{s.stop},{s.step}" for s in slices)


def save(root: Path, name: str, parts: Sequence[Sequence[Pair]], whole: Array) -> None:
    """Write one file a rank, as nanotron's save_weights does."""
    *modules, leaf = name.split(".")
    directory = root.joinpath("model", *modules)
    directory.mkdir(parents=True, exist_ok=True)
    for rank, pairs in enumerate(parts):
        local = np.zeros([max(pair[0][a].stop for pair in pairs) for a in range(whole.ndim)])
        for inside, place in pairs:
            local[inside] = whole[place]
        metadata = {
            "version": "1.4",
            "local_global_slices_pairs": ";".join(
                f"{text_of(inside)}#{text_of(place)}" for inside, place in pairs
            ),
            "unsharded_shape": str(whole.shape),
        }
        ranks = f"pp-rank-0-of-1_tp-rank-{rank}-of-{len(parts)}"
        file = directory / f"model_{leaf}.safetensors_{ranks}.safetensors"
        save_file({"data": local.astype(np.float32)}, file, metadata)


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, Array]:
    """Write a checkpoint of two ranks: rows, columns, interleaved thirds, and one unsharded."""
    rng = np.random.default_rng(0)
    found: dict[str, Array] = {
        f"{BLOCK}.o_proj.weight": rng.standard_normal((6, 8)).astype(np.float32),
        "model.token_position_embeddings.pp_block.token_embedding.weight": rng.standard_normal(
            (10, 6)
        ).astype(np.float32),
        f"{BLOCK}.qkv_proj.weight": rng.standard_normal((12, 6)).astype(np.float32),
        f"{BLOCK}.norm.weight": rng.standard_normal(6).astype(np.float32),
    }
    columns, rows, fused, norm = found
    every = slice(0, 6, None)
    halves = [(slice(0, 4), slice(0, 4)), (slice(0, 4), slice(4, 8))]
    save(tmp_path, columns, [[((every, a), (every, b))] for a, b in halves], found[columns])
    halves = [(slice(0, 5), slice(0, 5)), (slice(0, 5), slice(5, 10))]
    save(tmp_path, rows, [[((a, every), (b, every))] for a, b in halves], found[rows])
    parts = [
        [
            ((slice(2 * i, 2 * i + 2), every), (slice(4 * i + 2 * r, 4 * i + 2 * r + 2), every))
            for i in range(3)
        ]
        for r in range(2)
    ]
    save(tmp_path, fused, parts, found[fused])
    *modules, leaf = norm.split(".")
    directory = tmp_path.joinpath("model", *modules)
    directory.mkdir(parents=True)
    save_file({"data": found[norm]}, directory / f"model_{leaf}.safetensors")
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "optimizer_pp-rank-0-of-1_tp-rank-0-of-2.pt").write_bytes(b"x")
    (tmp_path / "model_config.json").write_text("{}")
    meta = {"metas": {"last_train_step": 1250, "consumed_train_samples": 5}}
    (tmp_path / "checkpoint_metadata.json").write_text(json.dumps(meta))
    return found


def names_in(root: Path) -> frozenset[str]:
    return frozenset(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def ref_to(root: Path) -> CheckpointRef:
    layout = nanotron.recognise(names_in(root))
    assert layout is not None
    files = tuple(root / name for name in layout.files)
    prints = tuple(file_print(n, f.stat()) for n, f in zip(layout.files, files, strict=True))
    return CheckpointRef(root, 1, "nanotron", files, Fingerprint(prints), "marker")


def values(ref: CheckpointRef, tensor: TensorRef) -> Array:
    out = np.empty(tensor.shape, np.float32)
    with OpenFiles(ref) as files:
        files.read_into(tensor, 0, out.reshape(-1).data)
    return out


def test_every_parameter_is_whole_again(tmp_path: Path, weights: dict[str, Array]) -> None:
    """Slices of rows, of columns and in turn come together; names are the modules'."""
    ref = ref_to(tmp_path)
    found = nanotron.NanotronReader().listing(ref)
    assert {tensor.name for tensor in found.tensors} == set(weights)
    assert not found.skipped
    for tensor in found.tensors:
        assert np.array_equal(values(ref, tensor), weights[tensor.name])


def test_it_is_told_by_its_names_and_marker(tmp_path: Path, weights: dict[str, Array]) -> None:
    """Only files of parameters and the one with the step are read; the config comes last."""
    layout = nanotron.recognise(names_in(tmp_path))
    assert layout is not None
    assert (layout.marker, layout.required) == ("model_config.json", True)
    assert len(layout.files) == 2 * 3 + 1 + 1
    assert not any("optimizer" in name for name in layout.files)
    assert nanotron.recognise(frozenset({"model.safetensors", "config.json"})) is None
    assert nanotron.recognise(frozenset({"model/model_weight.safetensors"})) is None


def test_the_whole_set_is_proved(tmp_path: Path, weights: dict[str, Array]) -> None:
    """The step is that of its metadata; a rank that is missing, or cut off, is told."""
    layout = nanotron.recognise(names_in(tmp_path))
    assert layout is not None
    assert nanotron.prove(tmp_path, layout.files) == Whole(zero_tail=False, step=1250)
    shard = next(tmp_path.rglob("*_tp-rank-1-of-2.safetensors"))
    kept = shard.read_bytes()
    shard.write_bytes(kept[:-1])
    assert isinstance(nanotron.prove(tmp_path, layout.files), Partial)
    shard.write_bytes(kept + b"\0")
    assert isinstance(nanotron.prove(tmp_path, layout.files), Damaged)
    shard.unlink()
    assert isinstance(nanotron.prove(tmp_path, layout.files), Partial)
    rest = [name for name in layout.files if name != str(shard.relative_to(tmp_path))]
    assert isinstance(nanotron.prove(tmp_path, rest), Partial)


def test_overlapping_slices_are_refused(tmp_path: Path) -> None:
    """Two ranks that claim the same rows are an error that names the parameter."""
    whole = np.zeros((4, 2), np.float32)
    half = ((slice(0, 2), slice(0, 2)), (slice(0, 2), slice(0, 2)))
    save(tmp_path, "model.a.weight", [[half], [half]], whole)
    with pytest.raises(FormatError, match=r"model\.a\.weight"):
        nanotron.NanotronReader().listing(ref_to(tmp_path))
    next(tmp_path.rglob("*_tp-rank-1-of-2.safetensors")).unlink()
    with pytest.raises(IncompleteError, match=r"model\.a\.weight"):
        nanotron.NanotronReader().listing(ref_to(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "", "#", "0,4", "0,4,None", "0,4,2#0,4,None", "0,4,None#0,5,None", "4,0,None#0,4,None",
        "-1,4,None#0,4,None", "0,4,None|0,1,None#0,4,None", "a,b,c#0,4,None",
        "0,4,None#" + "9" * 30, "0,4,None#0,4,None;" * 70_000,
    ],
)  # fmt: skip
def test_slices_that_say_nonsense_are_refused(text: str) -> None:
    """What is no slice of its tensor is an error, whatever it looks like."""
    with pytest.raises(FormatError, match="w"):
        pairs_of(text, (4,), (4,), "w")


def test_shapes_are_read_as_python_and_numpy_spell_them() -> None:
    """Tuples of one and several numbers, numpy's among them; nothing else."""
    assert shape_of("(8, 64)", "w") == (8, 64)
    assert shape_of("(8,)", "w") == (8,)
    assert shape_of("()", "w") == ()
    assert shape_of("(np.int64(8), 64)", "w") == (8, 64)
    for text in ("8, 64", "(8, -1)", "(a)", "", "(" + "1," * 9000 + ")"):
        with pytest.raises(FormatError):
            shape_of(text, "w")
