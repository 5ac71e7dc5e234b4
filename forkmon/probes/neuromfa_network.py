"""A transformer as a network of neurons: which matrix leads from which layer of nodes to which."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from forkmon.formats.logical_config import Numbers, numbers
from forkmon.formats.logical_fused import model_of
from forkmon.formats.logical_rules import Rule
from forkmon.formats.refs import TensorRef
from forkmon.probes.protocol import Declined, Subject

Role = Literal["qkv", "q", "k", "v", "o", "up", "down", "other"]
"""`up` also stands for a gate beside it: both lead from the stream into the hidden layer."""

_FLOATS = frozenset({"bf16", "f16", "f32", "f64", "f8_e4m3", "f8_e5m2"})
_BLOCK = re.compile(r"^(?P<stem>(?:.*?\.)?)(?P<number>\d+)\.(?P<rest>.+)$")
_EXPERT = re.compile(r"(?:^|\.)experts\.(\d+)\.")
_ATTENTION = re.compile(r"(?:^|\.)(?:\w*attn|\w*attention|att)(?:\.|$)", re.IGNORECASE)
_CROSS = re.compile(r"(?:^|\.)(?:cross_?att\w*|encdecattention|encoder_attn|multihead_attn)\.",
                    re.IGNORECASE)  # fmt: skip
_NO_LAYER = re.compile(r"embed|wte|wpe|lm_head|lora_|(?:^|\.)(?:pos|tok)\w*\.", re.IGNORECASE)

_QKV = frozenset({
    "query_key_value", "c_attn", "qkv_proj", "Wqkv", "W_pack", "qkv", "wqkv", "linear_qkv",
    "att_proj", "in_proj", "in_proj_weight",
})  # fmt: skip
_IN_ATTENTION: Final[dict[str, Role]] = {
    **dict.fromkeys(("q_proj", "q", "wq", "query", "q_lin", "to_q", "q_linear"), "q"),
    **dict.fromkeys(("k_proj", "k", "wk", "key", "k_lin", "to_k", "k_linear"), "k"),
    **dict.fromkeys(("v_proj", "v", "wv", "value", "v_lin", "to_v", "v_linear"), "v"),
    **dict.fromkeys(("o_proj", "out_proj", "o", "wo", "out", "out_lin", "c_proj", "dense", "proj",
                     "linear_proj"), "o"),
}  # fmt: skip
_OUTSIDE: Final[dict[str, Role]] = {
    **dict.fromkeys(("dense_h_to_4h", "fc_in", "c_fc", "fc1", "up_proj", "gate_proj", "w1", "w3",
                     "up", "lin1", "linear1", "wi", "wi_0", "wi_1", "linear_fc1", "ff_proj",
                     "gate_up_proj", "v1"), "up"),
    **dict.fromkeys(("dense_4h_to_h", "fc_out", "c_proj", "fc2", "down_proj", "w2", "down", "lin2",
                     "linear2", "wo", "linear_fc2", "ff_out"), "down"),
    "attn_out": "o",
}  # fmt: skip

LOOKED_FOR: Final = (
    "matrices in numbered blocks, called as in GPT-NeoX (query_key_value, dense, dense_h_to_4h, "
    "dense_4h_to_h), GPT-2 (c_attn, c_proj, c_fc) or Llama (q_proj, ..., down_proj)"
)

WHOLE = (Rule(re.compile(rf"(?:^|\.)(?:{'|'.join(sorted(_QKV))})(?:\.weight)?$"), (), "whole"),)
"""Fused attention stays whole: the published sampling takes the same rows of its three thirds."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Edges from one layer of nodes to another, in both of which a node is a position."""

    tensor: TensorRef
    block: int
    role: Role
    turned: bool
    """Stored [inputs, outputs]."""
    expert: int = 0

    @property
    def inputs(self) -> int:
        """Return how many nodes the edges start at."""
        return self.tensor.shape[0 if self.turned else 1]

    @property
    def outputs(self) -> int:
        """Return how many nodes they lead to."""
        return self.tensor.shape[1 if self.turned else 0]


@dataclass(frozen=True, slots=True)
class Network:
    """The blocks of a model and their matrices."""

    rule: str
    """`gpt-neox`, `gpt-2`, `llama`, `transformer`; `any` where no role was recognised."""
    blocks: tuple[str, ...]
    """Their names, in order."""
    matrices: tuple[Matrix, ...]
    left_out: int = 0
    """Matrices in blocks whose role is not known: routers, low-rank attention, adapters."""


def network_of(subject: Subject, experts: int) -> Network | Declined:
    """Return a checkpoint's network, with at most `experts` experts a block."""
    listing = subject.logical(WHOLE)
    told = numbers(subject.config)
    turned = model_of(subject.listing.tensors, told).conv1d
    return from_tensors(listing.tensors, told, conv1d=turned, experts=experts)


def from_tensors(
    tensors: Iterable[TensorRef], told: Numbers, *, conv1d: bool = False, experts: int = 8
) -> Network | Declined:  # fmt: skip
    """Return the network of logical tensors, fused attention being whole."""
    candidates = [t for t in tensors if _may_be_a_layer(t)]
    found = list(_in_blocks(candidates))
    known = [item for item in found if item[1] != "other"]
    if known:
        kept = _few_experts([_matrix(item, conv1d=conv1d) for item in known], experts)
        names = _names(known)
        return Network(_rule(known, told, conv1d=conv1d), names, kept, len(found) - len(known))
    plain = [t for t in candidates if not _NO_LAYER.search(t.name)]
    if not plain:
        return Declined(f"no layer that it could map; it looks for {LOOKED_FOR}")
    return Network("any", ("",), tuple(Matrix(t, 0, "other", turned=False) for t in plain))


_Found = tuple[TensorRef, Role, str, int]
"""A matrix, its role, its block's name and the block's place."""


def _may_be_a_layer(tensor: TensorRef) -> bool:
    return (
        tensor.role == "model"
        and len(tensor.shape) == 2
        and min(tensor.shape) > 1
        and tensor.dtype in _FLOATS
    )


def _in_blocks(tensors: Iterable[TensorRef]) -> Iterator[_Found]:
    """Yield the matrices in numbered blocks, in the order of stems and numbers."""
    stems: dict[str, int] = {}
    inside: list[tuple[int, int, str, Role, TensorRef]] = []
    for tensor in tensors:
        match = _BLOCK.match(tensor.name)
        if match is None:
            continue
        stem = stems.setdefault(match["stem"], len(stems))
        number = int(match["number"])
        block = f"{match['stem']}{number}"
        inside.append((stem, number, block, _role(match["rest"]), tensor))
    inside.sort(key=lambda item: item[:2])
    blocks = list(dict.fromkeys(item[2] for item in inside if item[3] != "other"))
    places = {block: place for place, block in enumerate(blocks)}
    for _, _, block, role, tensor in inside:
        yield tensor, role, block, places.get(block, 0)


def _role(rest: str) -> Role:
    path = rest.removesuffix(".weight").split(".")
    leaf = path[-1]
    if _CROSS.search(rest) or "lora_" in rest:
        return "other"
    if leaf in ("gate", "up") and len(path) > 1 and path[-2] in _OUTSIDE:
        return "up"
    if leaf in _QKV and (leaf != "in_proj" or _ATTENTION.search(rest)):
        return "qkv"
    if _ATTENTION.search(rest):
        return _IN_ATTENTION.get(leaf, "other")
    if leaf == "dense" and len(path) > 1:  # BERT: intermediate.dense, output.dense
        return {"intermediate": "up", "output": "down"}.get(path[-2], "other")  # type: ignore[return-value]
    return _OUTSIDE.get(leaf, "other")


def _matrix(item: _Found, *, conv1d: bool) -> Matrix:
    tensor, role, _, place = item
    expert = _EXPERT.search(tensor.name)
    # A fused c_attn is left whole, so nothing told its layout yet.
    turned = tensor.view.transposed if tensor.view is not None else conv1d and role == "qkv"
    return Matrix(tensor, place, role, turned, 1 + int(expert[1]) if expert else 0)


def _few_experts(matrices: list[Matrix], cap: int) -> tuple[Matrix, ...]:
    """Return the matrices, of each block's experts only `cap`, evenly spread."""
    count = max((m.expert for m in matrices), default=0)
    if count <= cap:
        return tuple(matrices)
    kept = {0} | {1 + place * count // cap for place in range(cap)}
    return tuple(m for m in matrices if m.expert in kept)


def _names(found: Iterable[_Found]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item[2] for item in found))


def _rule(found: list[_Found], told: Numbers, *, conv1d: bool) -> str:
    leaves = {item[0].name.removesuffix(".weight").rpartition(".")[2] for item in found}
    if conv1d:
        return "gpt-2"
    if {"query_key_value", "dense_h_to_4h"} <= leaves and told.model_type in ("", "gpt_neox"):
        return "gpt-neox"
    gated = {"gate_proj", "up_proj"} <= leaves or {"w1", "w3"} <= leaves
    return (
        "llama" if gated and {item[1] for item in found} >= {"q", "k", "v", "o"} else "transformer"
    )
