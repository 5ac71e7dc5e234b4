"""Which tensors are fused, told from their names, and what they fall apart into."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from forkmon.formats.logical_config import Numbers
from forkmon.formats.logical_layout import (
    CONV1D,
    FUSED_QKV,
    QKV,
    Answer,
    Layout,
    Unknown,
    gate_up_layout,
    qkv_layout,
    thirds,
)
from forkmon.formats.logical_split import Outcome, channels, module_of, split, turned
from forkmon.formats.refs import TensorRef

_CONV1D_LEAVES = frozenset({"c_attn", "c_proj", "c_fc", "q_attn"})
_BLOCK_QKV = re.compile(r"(?:^|\.)blocks\.\d+\.attn$")
_MHA = re.compile(r"(?:^|\.)in_proj_(weight|bias)$")
_GATE_UP_LEAVES = frozenset({"gate_up_proj", "dense_h_to_4h"})


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a whole checkpoint while one of its tensors is looked at."""

    numbers: Numbers
    shapes: Mapping[str, tuple[int, ...]]
    """By name on disk."""
    conv1d: bool
    """Its linear layers are GPT-2's Conv1D: [in, out]."""


def model_of(tensors: tuple[TensorRef, ...], numbers: Numbers) -> Model:
    """Return what the names, shapes and config of a checkpoint say together."""
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    # Without a config: [n, 3n] fits no linear layer of three outputs a channel but a Conv1D.
    told = numbers.model_type in CONV1D or (
        not numbers.model_type
        and any(
            name.endswith("attn.c_attn.weight") and len(s) == 2 and s[1] == 3 * s[0]
            for name, s in shapes.items()
        )
    )
    return Model(numbers, shapes, told)


def fused(tensor: TensorRef, model: Model) -> Outcome:
    """Return a fused tensor's parts, or why it stays whole; None for one that is not fused."""
    if tensor.size == 0 or not tensor.shape:
        return None
    if _MHA.search(tensor.name):
        return _multihead(tensor)
    before, leaf, _ = module_of(tensor.name)
    if model.conv1d and leaf in _CONV1D_LEAVES:
        return _conv1d(tensor, before, leaf)
    answer = _linear(tensor, before, leaf, model)
    return split(tensor, answer) if isinstance(answer, Layout) else answer


def _linear(tensor: TensorRef, before: str, leaf: str, model: Model) -> Answer | None:
    length = channels(tensor, on_columns=False)
    if leaf == "qkv" and len(tensor.shape) <= 2:
        return _plain_qkv(tensor, before, model)
    if leaf == "c_attn" and not model.numbers.model_type:
        return _nano_gpt(tensor, before, model)
    if leaf in FUSED_QKV:
        return qkv_layout(leaf, length, model.numbers)
    if leaf in _GATE_UP_LEAVES and before.endswith("mlp"):
        return gate_up_layout(leaf, length, model.numbers)
    return None


def _multihead(tensor: TensorRef) -> Outcome:
    answer = thirds(tensor.shape[0], "torch's MultiheadAttention: q, k, v in blocks")
    if isinstance(answer, Unknown):
        return answer
    return split(tensor, answer, _multihead_name)


def _multihead_name(name: str, part: str) -> str:
    """Return `attn.in_proj.q.weight` for a part of `attn.in_proj_weight`."""
    stem, _, kind = name.rpartition("_")
    return f"{stem}.{part}.{kind}"


def _conv1d(tensor: TensorRef, before: str, leaf: str) -> Outcome:
    matrix = len(tensor.shape) == 2
    why = "GPT-2's Conv1D"
    if leaf != "c_attn":
        return (turned(tensor, why),) if matrix else None
    # Cross-attention has a layer of its own for the queries, q_attn.
    parts = ("k", "v") if before.endswith("crossattention") else QKV
    length = channels(tensor, on_columns=matrix)
    if matrix and length != len(parts) * tensor.shape[0]:
        return Unknown(f"fused QKV, layout unknown: {list(tensor.shape)} is no Conv1D of GPT-2")
    answer = thirds(length, f"{why}: {', '.join(parts)} side by side", parts)
    if isinstance(answer, Unknown):
        return answer
    return split(tensor, replace(answer, on_columns=matrix))


def _nano_gpt(tensor: TensorRef, before: str, model: Model) -> Answer:
    if _square(f"{before}.c_attn.weight", model):
        return thirds(tensor.shape[0], "[3n, n] under GPT-2's names: q, k, v in blocks")
    return Unknown("fused QKV, layout unknown: no config.json names the model")


def _plain_qkv(tensor: TensorRef, before: str, model: Model) -> Answer:
    if _BLOCK_QKV.search(before) and _square(f"{before}.qkv.weight", model):
        return thirds(tensor.shape[0], "timm's names: q, k, v in blocks")
    return Unknown("fused QKV, layout unknown: no rule for its name")


def _square(weight: str, model: Model) -> bool:
    """Return whether a linear layer makes three outputs of each input: as many k and v as q."""
    shape = model.shapes.get(weight, ())
    return len(shape) == 2 and shape[0] == 3 * shape[1]
