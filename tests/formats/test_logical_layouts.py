"""Layout rules: known fusions fall apart completely, anything unsure stays whole with a note."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from forkmon.formats import logical as logical_module
from forkmon.formats.logical import logical
from forkmon.formats.logical_layout import Layout
from forkmon.formats.logical_rules import Rule, parse_rule
from forkmon.formats.logical_split import split
from forkmon.formats.refs import Listing, Skipped, Stripes, TensorRef

Shape = tuple[int, ...]
NEOX = {"model_type": "gpt_neox", "num_attention_heads": 4, "hidden_size": 16}
FUSED = "gpt_neox.layers.0.attention.query_key_value"


def holding(shapes: Mapping[str, Shape], dtype: str = "f32") -> Listing:
    """Return the listing of a file that holds these tensors."""
    tensors: list[TensorRef] = []
    offset = 0
    for name, shape in shapes.items():
        tensors.append(TensorRef(name, dtype, shape, Path("f"), offset))
        offset += tensors[-1].bytes
    return Listing(tuple(tensors), (), (("step", "1"),))


def positions(stripes: Stripes) -> NDArray[np.intp]:
    """Return every position that stripes cover, in order."""
    starts = stripes.start + stripes.stride * np.arange(stripes.count)
    return (starts[:, None] + np.arange(stripes.length)).ravel()


def elements(tensor: TensorRef) -> list[int]:
    """Return the indices on disk of a part's elements, in order."""
    view = tensor.view
    assert view is not None
    rows = positions(view.rows)[:, None] * view.row_length
    found: list[int] = (rows + positions(view.columns)).ravel().tolist()
    assert len(found) == tensor.size
    return found


def names(found: Listing) -> list[str]:
    """Return the names of a listing's tensors."""
    return [tensor.name for tensor in found.tensors]


def made(shapes: Mapping[str, Shape], config: Mapping[str, object] | None = None) -> Listing:
    """Return the logical listing of these tensors."""
    return logical(holding(shapes), config)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(1, 5),
    st.sampled_from([(), (3,), (2, 3)]),
    st.booleans(),
)
def test_parts_cover_a_tensor_once(
    sizes: list[int], groups: int, inner: Shape, on_columns: bool
) -> None:
    """Whatever the layout: each element belongs to exactly one part."""
    parts = tuple((f"p{i}", size) for i, size in enumerate(sizes))
    columns = on_columns and len(inner) == 1
    layout = Layout(parts, groups, "", columns)
    shape = (*inner, layout.total) if columns else (layout.total, *inner)
    tensor = TensorRef("w", "f32", shape, Path("f"), 0)
    found = split(tensor, layout)
    covered = sorted(index for part in found for index in elements(part))
    assert covered == list(range(tensor.size))
    assert len({part.name for part in found}) == len(sizes)


def test_the_interleaving_of_neox_is_undone() -> None:
    """Rows are [heads, 3, head_dim]: q has the first 4 of every 12, weights and bias alike."""
    found = made({f"{FUSED}.weight": (48, 16), f"{FUSED}.bias": (48,)}, NEOX)
    assert names(found) == [f"{FUSED}.{p}.{k}" for k in ("weight", "bias") for p in "qkv"]
    q, k, v = (elements(tensor) for tensor in found.tensors[3:])
    assert q == [0, 1, 2, 3, 12, 13, 14, 15, 24, 25, 26, 27, 36, 37, 38, 39]
    assert k == [i + 4 for i in q]
    assert v == [i + 8 for i in q]
    assert [tensor.shape for tensor in found.tensors] == [(16, 16)] * 3 + [(16,)] * 3
    assert found.metadata == (("step", "1"),)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (None, "no config.json names the model"),
        ({**NEOX, "hidden_size": 20}, "makes 60 channels, the tensor has 48"),
        ({**NEOX, "hidden_size": 17}, "no usable number of heads"),
        ({**NEOX, "num_attention_heads": "4"}, "no usable number of heads"),
        ({**NEOX, "num_attention_heads": 10**400}, "no usable number of heads"),
        ({**NEOX, "num_key_value_heads": 3}, "no usable number of heads"),
        ({**NEOX, "model_type": "new\x1bmodel"}, "no rule for new\\u{1b}model"),
        ({**NEOX, "model_type": ["gpt_neox"]}, "no config.json names the model"),
    ],
)
def test_an_unknown_layout_leaves_the_tensor_whole(
    config: Mapping[str, object] | None, why: str
) -> None:
    """A wrong split would be worse than none; the note says what was missing."""
    found = made({f"{FUSED}.weight": (48, 16)}, config)
    assert names(found) == [f"{FUSED}.weight"]
    assert found.tensors[0].view is None
    ((name, note),) = found.notes
    assert name == f"{FUSED}.weight"
    assert note.startswith("fused QKV, layout unknown")
    assert why in note


def test_what_is_logical_stays_as_it_is() -> None:
    """Parts of one tensor share its place on disk and are no ties of each other."""
    once = made({f"{FUSED}.weight": (48, 16)}, NEOX)
    assert logical(once, NEOX) == once


def test_conv1d_is_split_by_columns_and_known_to_be_turned() -> None:
    """GPT-2 keeps [in, out]: q is the first third of each row; other layers are marked."""
    block = "h.0.attn.c_attn"
    shapes: dict[str, Shape] = {
        f"{block}.weight": (4, 12), f"{block}.bias": (12,), "h.0.attn.c_proj.weight": (4, 4),
        "h.0.mlp.c_fc.weight": (4, 16), "h.0.mlp.c_fc.bias": (16,), "wte.weight": (9, 4),
    }  # fmt: skip
    config = {"model_type": "gpt2", "n_head": 2, "n_embd": 4}
    assert made(shapes, config) == made(shapes)  # the shape alone tells a Conv1D
    found = {tensor.name: tensor for tensor in made(shapes, config).tensors}
    k = found[f"{block}.k.weight"]
    assert k.shape == (4, 4)
    assert elements(k) == [12 * row + column for row in range(4) for column in range(4, 8)]
    assert elements(found[f"{block}.v.bias"]) == [8, 9, 10, 11]
    turned = {name for name, t in found.items() if t.view is not None and t.view.transposed}
    parts = {f"{block}.{p}.weight" for p in "qkv"}
    assert turned == parts | {"h.0.attn.c_proj.weight", "h.0.mlp.c_fc.weight"}
    assert elements(found["h.0.mlp.c_fc.weight"]) == list(range(64))


def test_cross_attention_of_gpt2_has_keys_and_values_only() -> None:
    """Its queries are a layer of their own."""
    name = "h.0.crossattention.c_attn.weight"
    found = made({name: (4, 8)}, {"model_type": "gpt2"})
    assert names(found) == [
        "h.0.crossattention.c_attn.k.weight",
        "h.0.crossattention.c_attn.v.weight",
    ]
    odd = made({name: (4, 9)}, {"model_type": "gpt2"})
    assert names(odd) == [name]
    assert "no Conv1D of GPT-2" in odd.notes[0][1]


GQA = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 8, "head_dim": 1}


@pytest.mark.parametrize(
    ("name", "family", "q"),
    [
        ("l.0.self_attn.qkv_proj.weight", "phi3", [0, 1, 2, 3]),
        ("l.0.attention.wqkv.weight", "internlm2", [0, 1, 4, 5]),
        ("decoder.layers.0.self_attention.linear_qkv.weight", "llama", [0, 1, 4, 5]),
        ("l.0.attn.Wqkv.weight", "dbrx", [0, 1, 2, 3]),
    ],
)
def test_shared_keys_and_values_have_fewer_rows(name: str, family: str, q: list[int]) -> None:
    """With grouped queries, blocks differ in size and groups hold several q for one k and v."""
    found = made({name: (8, 1)}, {**GQA, "model_type": family})
    assert [tensor.shape[0] for tensor in found.tensors] == [4, 2, 2]
    assert elements(found.tensors[0]) == q


def test_the_text_part_of_a_larger_model_counts() -> None:
    """A config of text and pictures keeps the numbers of the language model one level down."""
    inner = {**GQA, "model_type": "phi3"}
    found = made(
        {"l.0.self_attn.qkv_proj.weight": (8, 1)}, {"model_type": "x", "text_config": inner}
    )
    assert len(found.tensors) == 3


def test_plain_attention_modules_need_no_config() -> None:
    """torch's MultiheadAttention and timm's blocks have one layout."""
    shapes: dict[str, Shape] = {
        "enc.attn.in_proj_weight": (12, 4), "enc.attn.in_proj_bias": (12,),
        "blocks.3.attn.qkv.weight": (12, 4), "blocks.3.attn.qkv.bias": (12,),
        "other.qkv.weight": (12, 4),
    }  # fmt: skip
    found = made(shapes)
    assert names(found) == [
        *(f"enc.attn.in_proj.{p}.weight" for p in "qkv"),
        *(f"enc.attn.in_proj.{p}.bias" for p in "qkv"),
        *(f"blocks.3.attn.qkv.{p}.weight" for p in "qkv"),
        *(f"blocks.3.attn.qkv.{p}.bias" for p in "qkv"),
        "other.qkv.weight",
    ]
    assert found.notes[0][0] == "other.qkv.weight"


def test_gate_and_up_are_two_layers() -> None:
    """In families known for it; in others the tensor stays whole with a note."""
    name = "model.layers.0.mlp.gate_up_proj.weight"
    found = made({name: (6, 2)}, {"model_type": "phi3"})
    assert names(found) == [name.replace("weight", f"{p}.weight") for p in ("gate", "up")]
    assert elements(found.tensors[1]) == list(range(6, 12))
    assert made({name: (6, 2)}).notes[0][1].startswith("fused gate and up, layout unknown")


def test_stacked_experts_become_one_tensor_each() -> None:
    """[E, 2I, H] and [E, H, I]: experts by the first axis, gate and up by rows."""
    stem = "model.layers.0.mlp.experts."
    shapes: dict[str, Shape] = {f"{stem}gate_up_proj": (2, 6, 2), f"{stem}down_proj": (2, 2, 3)}
    found = {t.name: t for t in made(shapes, {"model_type": "mixtral"}).tensors}
    assert set(found) == {
        f"{stem}{e}.{leaf}.weight"
        for e in (0, 1)
        for leaf in ("gate_up_proj.gate", "gate_up_proj.up", "down_proj")
    }
    assert elements(found[f"{stem}1.gate_up_proj.up.weight"]) == list(range(18, 24))
    assert elements(found[f"{stem}1.down_proj.weight"]) == list(range(6, 12))
    assert found[f"{stem}1.down_proj.weight"].shape == (2, 3)
    bare = made(shapes)
    assert f"{stem}1.gate_up_proj.weight" in names(bare)
    assert "their layout is not known" in bare.notes[0][1]


@pytest.mark.parametrize(
    ("family", "gate"),
    [("llama4", [12, 13, 14, 18, 19, 20]), ("gpt_oss", [12, 14, 16, 18, 20, 22])],
)
def test_experts_in_out_keep_gate_and_up_in_columns(family: str, gate: list[int]) -> None:
    """The shapes tell that output channels are columns, the family whether they alternate."""
    stem = "l.0.experts."
    shapes: dict[str, Shape] = {f"{stem}gate_up_proj": (2, 2, 6), f"{stem}down_proj": (2, 3, 2)}
    found = {t.name: t for t in made(shapes, {"model_type": family, "num_experts": 2}).tensors}
    part = found[f"{stem}1.gate_up_proj.gate.weight"]
    assert elements(part) == gate
    assert all(t.view is not None and t.view.transposed for t in found.values())
    wrong = made(shapes, {"model_type": family, "num_experts": 3})
    assert names(wrong) == list(shapes)
    assert "config.json names 3" in wrong.notes[0][1]


def test_experts_that_are_apart_stay_as_they_are() -> None:
    """Tensors of one expert each are no stack."""
    shapes: dict[str, Shape] = {"l.experts.0.w1.weight": (3, 2), "l.experts.w1.weight": (3, 2)}
    found = made(shapes)
    assert names(found) == list(shapes)
    assert found.notes == ()


def test_stacks_of_absurd_size_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header costs nothing; a hundred thousand tensors do."""
    monkeypatch.setattr(logical_module, "LOGICAL_CAP", 10)
    found = made({"l.experts.down_proj": (11, 2, 2), "l.experts.up_proj": (10**9, 0, 2)})
    assert names(found) == ["l.experts.down_proj", "l.experts.up_proj"]
    assert "more than 10 tensors" in found.notes[0][1]


def test_a_part_never_takes_a_name_in_use() -> None:
    """Where a file holds a tensor of a part's name, the fused one stays whole."""
    found = made({f"{FUSED}.weight": (48, 16), f"{FUSED}.k.weight": (3,)}, NEOX)
    assert names(found) == [f"{FUSED}.weight", f"{FUSED}.k.weight"]
    assert "is there as well" in found.notes[0][1]


def test_the_same_bytes_count_once() -> None:
    """Two names of one byte range are one tensor; equal shapes elsewhere, or no bytes, are two."""
    a, b = (TensorRef(name, "f32", (2, 2), Path("f"), 0) for name in "ab")
    c = TensorRef("c", "f32", (2, 2), Path("f"), 16)
    empty = tuple(TensorRef(name, "f32", (0,), Path("f"), 0) for name in "de")
    found = logical(Listing((a, b, c, *empty)), {"tie_word_embeddings": True})
    assert names(found) == ["a", "c", "d", "e"]
    assert found.notes == (("b", "the same bytes as a: counted once, there"),)


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("gpt_neox.layers.0.attention.bias", (1, 1, 8, 8), "bool"),
        ("transformer.h.0.attn.bias", (1, 1, 8, 8), "f32"),
        ("h.0.crossattention.bias", (1, 1, 8, 8), "u8"),
        ("h.0.attn.masked_bias", (), "f32"),
        ("gpt_neox.layers.0.attention.rotary_emb.inv_freq", (4,), "f32"),
        ("embeddings.position_ids", (1, 512), "i64"),
        ("bn1.num_batches_tracked", (), "i64"),
    ],
)
def test_buffers_are_left_out_with_a_reason(name: str, shape: Shape, dtype: str) -> None:
    """Masks and tables are no parameters."""
    found = logical(holding({name: shape}, dtype), None)
    assert found.tensors == ()
    ((skip),) = found.skipped
    assert (skip.name, skip.dtype) == (name, dtype)
    assert "no parameter" in skip.reason


@pytest.mark.parametrize(
    ("name", "shape"),
    [("l.0.attention.bias", (8,)), ("l.attn.bias", (1, 2, 8, 8)), ("position_ids", (1, 8))],
)
def test_parameters_of_such_names_stay(name: str, shape: Shape) -> None:
    """A vector called bias is a bias; floats are no positions."""
    assert names(made({name: shape})) == [name]


def rule(**keys: object) -> Rule:
    """Return a rule of a config file's table."""
    return parse_rule({"pattern": r"\.mix\.", **keys}, "config")


def test_a_rule_of_the_user_comes_first() -> None:
    """Also against what the names would say, and to leave a tensor whole."""
    listing = holding({"blocks.0.attn.qkv.weight": (12, 4)})
    halves = parse_rule({"pattern": "qkv", "parts": ["one", "two"]}, "config")
    found = logical(listing, None, (halves,))
    assert [t.shape for t in found.tensors] == [(6, 4), (6, 4)]
    whole = parse_rule({"pattern": "qkv", "layout": "whole"}, "config")
    assert logical(listing, None, (whole, halves)) == listing


@pytest.mark.parametrize(
    ("keys", "q", "k"),
    [
        ({"layout": "blocks"}, [0, 1, 2, 3], [4, 5, 6, 7]),
        ({"layout": "interleaved", "heads": 2}, [0, 1, 6, 7], [2, 3, 8, 9]),
        ({"layout": "interleaved", "heads": 4}, [0, 3, 6, 9], [1, 4, 7, 10]),
        ({"layout": "interleaved", "heads": 4, "kv_heads": 1}, [*range(8)], [8, 9]),
        ({"layout": "blocks", "heads": 4, "kv_heads": 1}, [*range(8)], [8, 9]),
        ({"layout": "interleaved", "heads": 4, "kv_heads": 2, "parts": ["v", "q"]},
         [2, 3, 4, 5, 8, 9, 10, 11], [0, 1, 6, 7]),
    ],
)  # fmt: skip
def test_rules_say_where_the_parts_lie(
    keys: dict[str, object], q: list[int], k: list[int]
) -> None:  # fmt: skip
    """Blocks or interleaved, with as many k and v as q or fewer."""
    found = logical(holding({"a.mix.bias": (12,)}), None, (rule(**keys),))
    by_name = {tensor.name: elements(tensor) for tensor in found.tensors}
    assert by_name["a.mix.q.bias"] == q
    assert by_name.get("a.mix.k.bias", by_name.get("a.mix.v.bias")) == k


def test_a_rule_along_columns() -> None:
    """axis = 1 cuts each row, and a vector along its only axis."""
    columns = rule(axis=1, parts=["a", "b"])
    found = logical(holding({"x.mix.weight": (2, 4), "x.mix.bias": (4,)}), None, (columns,))
    assert [elements(t) for t in found.tensors] == [[0, 1, 4, 5], [2, 3, 6, 7], [0, 1], [2, 3]]
    assert found.tensors[0].view is not None
    assert found.tensors[0].view.transposed


def test_a_rule_that_does_not_fit_leaves_a_note() -> None:
    """Wrong numbers in the config file never cut a tensor."""
    listing = holding({"x.mix.weight": (7, 4), "y.mix.w": (3, 2, 2), "z.mix.w": ()})
    found = logical(listing, None, (rule(axis=1),))
    assert found.tensors == listing.tensors
    assert [name for name, _ in found.notes] == ["x.mix.weight", "y.mix.w", "z.mix.w"]
    assert "needs a multiple of 3 channels, not 4" in found.notes[0][1]


def test_what_was_skipped_before_stays_skipped() -> None:
    """Notes and skips of the reader are kept."""
    before = Listing((), (Skipped("a", "F4", "unread"),), (), (("b", "note"),))
    assert logical(before, None) == before
