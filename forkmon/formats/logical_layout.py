"""How fused tensors are laid out: a few kinds of layout, and which model families use which.

Every layout met so far is one thing: along one axis lie `groups` groups, in each of them the
parts one after another. Blocks are one group; an interleaving by head has a group a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from forkmon.formats.logical_config import Numbers
from forkmon.formats.refs import Stripes
from forkmon.text import safe

QKV = ("q", "k", "v")


@dataclass(frozen=True, slots=True)
class Layout:
    """Groups of parts along one axis of a matrix, or along a vector."""

    parts: tuple[tuple[str, int], ...]
    """Name of each part and how many positions it takes in each group."""
    groups: int
    why: str
    on_columns: bool = False
    """The parts lie side by side in each row; else below each other."""

    @property
    def total(self) -> int:
        """Return the length of the axis."""
        return self.groups * sum(size for _, size in self.parts)

    def stripes(self, start: int = 0) -> list[tuple[str, Stripes]]:
        """Return where each part lies on an axis on which the layout begins at `start`."""
        found: list[tuple[str, Stripes]] = []
        each = self.total // self.groups
        for name, size in self.parts:
            one = self.groups == 1 or size == each
            long = size * self.groups if one else size
            found.append(
                (name, Stripes(start, long, 1 if one else self.groups, 0 if one else each))
            )
            start += size
        return found


@dataclass(frozen=True, slots=True)
class Unknown:
    """A tensor is fused, but how is not known."""

    reason: str


Answer = Layout | Unknown
_Builder = Callable[[Numbers], Layout]


def blocks(numbers: Numbers) -> Layout:
    """Return q, k and v below each other."""
    q, kv = numbers.heads * numbers.head_dim, numbers.kv_heads * numbers.head_dim
    return Layout((("q", q), ("k", kv), ("v", kv)), 1, f"{_of(numbers)}: q, k, v in blocks")


def by_head(numbers: Numbers) -> Layout:
    """Return q, k and v of each head together, as many k and v as q."""
    size = numbers.head_dim
    why = f"{_of(numbers)}: q, k, v interleaved by head, {numbers.heads} heads"
    return Layout((("q", size), ("k", size), ("v", size)), numbers.heads, why)


def by_group(numbers: Numbers) -> Layout:
    """Return the q of several heads, then the k and the v they share, group after group."""
    groups, size = numbers.kv_heads, numbers.head_dim
    q = numbers.heads // groups * size
    why = f"{_of(numbers)}: q, k, v interleaved by group, {groups} groups"
    return Layout((("q", q), ("k", size), ("v", size)), groups, why)


def _multi_query(numbers: Numbers) -> Layout:
    shared = numbers.head_dim
    q = numbers.heads * numbers.head_dim
    why = f"{_of(numbers)}: q of all heads, then the k and v they share"
    return Layout((("q", q), ("k", shared), ("v", shared)), 1, why)


def _falcon(numbers: Numbers) -> Layout:
    if numbers.grouped or numbers.model_type == "RefinedWeb":
        return by_group(numbers)
    return _multi_query(numbers) if numbers.multi_query else by_head(numbers)


def _bigcode(numbers: Numbers) -> Layout:
    return _multi_query(numbers) if numbers.multi_query else by_head(numbers)


def _chatglm(numbers: Numbers) -> Layout:
    return blocks(numbers) if numbers.multi_query else by_head(numbers)


def _codegen(numbers: Numbers) -> Layout:
    # Four groups whatever the number of heads: the slices of the machine it was trained on.
    size = numbers.heads * numbers.head_dim // 4
    why = f"{_of(numbers)}: q, v, k in each of four slices"
    return Layout((("q", size), ("v", size), ("k", size)), 4, why)


def _of(numbers: Numbers) -> str:
    return f"{safe(numbers.model_type, 40)} in config.json"


CONV1D = frozenset({"gpt2", "imagegpt", "decision_transformer", "openai-gpt"})
"""Families whose linear layers are Conv1D: [in, out]."""

_QKV_LAYOUTS: dict[str, dict[str, _Builder]] = {
    "query_key_value": {
        "gpt_neox": by_head, "gpt_neox_japanese": by_head, "bloom": by_head, "persimmon": by_head,
        "falcon": _falcon, "RefinedWeb": _falcon, "RefinedWebModel": _falcon,
        "chatglm": _chatglm, "bailing_moe": blocks,
    },
    "c_attn": {"gpt_bigcode": _bigcode, "qwen": blocks},
    "qkv_proj": {
        "phi3": blocks, "phi3_v": blocks, "phi4mm": blocks, "phi4_multimodal": blocks,
        "codegen": _codegen, "minimax": by_head,
    },
    "Wqkv": {"mpt": blocks, "dbrx": blocks, "modernbert": blocks, "phi-msft": blocks},
    "wqkv": {"internlm2": by_group},
    "W_pack": {"baichuan": blocks},
}  # fmt: skip
_MEGATRON = "linear_qkv"
FUSED_QKV = frozenset({*_QKV_LAYOUTS, _MEGATRON})
"""Names of modules that hold queries, keys and values together."""

_GATE_UP = frozenset({
    "phi3", "phi3_v", "phi4mm", "phi4_multimodal", "glm", "glm4", "glm4v", "glm4v_text", "glm_ocr",
    "glm_ocr_text", "glm_image", "glm_image_text", "dia",
})  # fmt: skip


def qkv_layout(leaf: str, length: int, numbers: Numbers) -> Answer:
    """Return the layout of a fused module's `length` output channels as the config tells it."""
    builder = by_group if leaf == _MEGATRON else _QKV_LAYOUTS[leaf].get(numbers.model_type)
    unknown = "fused QKV, layout unknown"
    if builder is None:
        named = safe(numbers.model_type, 40)
        missing = f"no rule for {named}" if named else "no config.json names the model"
        return Unknown(f"{unknown}: {missing}")
    if 0 in (numbers.heads, numbers.head_dim) or numbers.heads % numbers.kv_heads:
        return Unknown(f"{unknown}: config.json names no usable number of heads")
    layout = builder(numbers)
    if layout.total != length or layout.total == 0:
        return Unknown(
            f"{unknown}: config.json makes {layout.total:,} channels, the tensor has {length:,}"
        )
    return layout


def thirds(length: int, why: str, parts: tuple[str, ...] = QKV) -> Answer:
    """Return equal blocks."""
    size, rest = divmod(length, len(parts))
    if rest or not size:
        return Unknown(f"fused, but {length:,} channels are no {len(parts)} equal parts")
    return Layout(tuple((part, size) for part in parts), 1, why)


def gate_up_layout(leaf: str, length: int, numbers: Numbers) -> Answer | None:
    """Return the layout of a gated MLP's fused input projection; None for what is none."""
    if leaf == "dense_h_to_4h" and numbers.model_type != "chatglm":
        return None
    if leaf == "gate_up_proj" and numbers.model_type not in _GATE_UP:
        named = safe(numbers.model_type, 40) or "a model without config.json"
        return Unknown(f"fused gate and up, layout unknown: no rule for {named}")
    return thirds(length, f"{_of(numbers)}: gate, up in blocks", ("gate", "up"))


def rows_of(shape: tuple[int, ...]) -> int:
    """Return the number of rows, all axes but the last taken as one; a vector's elements."""
    return prod(shape[:-1]) if len(shape) > 1 else prod(shape)
