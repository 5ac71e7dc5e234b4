"""Experts stacked in one tensor, [experts, …]: each is a tensor of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from forkmon.formats.logical_fused import Model
from forkmon.formats.logical_layout import Answer, Layout, Unknown, rows_of, thirds
from forkmon.formats.logical_split import Outcome
from forkmon.formats.refs import Stripes, TensorRef, View
from forkmon.text import safe

_STACKED = re.compile(
    r"^(?P<head>(?:.*\.)?)experts\.(?:mlp\.)?(?P<leaf>[A-Za-z][A-Za-z0-9_]*?)"
    r"(?:[._](?P<kind>weight|bias))?$"
)
_GRANITE = re.compile(
    r"^(?P<head>(?:.*\.)?block_sparse_moe\.)(?P<leaf>input_linear|output_linear)\.(?P<kind>weight)$"
)
_LEAVES = frozenset({
    "gate_up_proj", "down_proj", "gate_proj", "up_proj", "w1", "w2", "w3", "v1", "w13", "fc1",
    "fc2", "input_linear", "output_linear",
})  # fmt: skip
_SECOND = {"gate_up_proj": "down_proj", "input_linear": "output_linear"}
"""The fused first projection of a gated expert, and the second one that goes with it."""
_INTERLEAVED = frozenset({"gpt_oss"})


@dataclass(frozen=True, slots=True)
class Stack:
    """A tensor that holds one row, or one matrix, for each expert."""

    tensor: TensorRef
    head: str
    leaf: str
    kind: str
    count: int
    rows: int
    """Rows on disk of each expert."""

    def name(self, expert: int, part: str = "") -> str:
        """Return the name of an expert's tensor, as if it had been saved by itself."""
        return f"{self.head}experts.{expert}.{self.leaf}.{f'{part}.' if part else ''}{self.kind}"


def stack_of(tensor: TensorRef, model: Model) -> Stack | Unknown | None:
    """Return the stack a tensor is, or why one that looks like it is not taken apart."""
    match = _STACKED.match(tensor.name) or _GRANITE.match(tensor.name)
    if match is None or match["leaf"] not in _LEAVES or tensor.size == 0:
        return None
    kind = match["kind"] or "weight"
    count = _experts(tensor, kind, model.numbers.experts)
    if count is None:
        return None
    if model.numbers.experts not in (0, count):
        return Unknown(
            f"stacked experts left whole: {count:,} here, config.json names "
            f"{model.numbers.experts:,}"
        )
    return Stack(tensor, match["head"], match["leaf"], kind, count, rows_of(tensor.shape) // count)


def experts(stack: Stack, model: Model) -> tuple[Outcome, str]:
    """Return the tensors of all experts, and a note where gate and up stay together."""
    columns = _out_in_columns(stack, model)
    answer = _gate_up(stack, model, in_columns=columns)
    layout = answer if isinstance(answer, Layout) else None
    found = tuple(
        part
        for expert in range(stack.count)
        for part in _one(stack, expert, layout, turned=columns is True and stack.kind == "weight")
    )
    return found, answer.reason if isinstance(answer, Unknown) else ""


def parts_of(stack: Stack) -> int:
    """Return how many tensors a stack may become."""
    return stack.count * (2 if stack.leaf in _SECOND else 1)


def _experts(tensor: TensorRef, kind: str, named: int) -> int | None:
    """Return how many experts are stacked; None for the tensor of a single one."""
    rank = len(tensor.shape)
    if rank == (2 if kind == "bias" else 3):
        return tensor.shape[0]
    # All experts below each other in one matrix: nothing but the config tells how many.
    whole = kind == "weight" and rank == 2 and ".experts.mlp." in f".{tensor.name}"
    return named if whole and named and tensor.shape[0] % named == 0 else None


def _one(
    stack: Stack, expert: int, layout: Layout | None, *, turned: bool
) -> Iterator[TensorRef]:  # fmt: skip
    tensor, start, width = stack.tensor, expert * stack.rows, stack.tensor.shape[-1]
    whole_rows, whole_columns = Stripes(start, stack.rows), Stripes(0, width)
    why = f"expert {expert} of {stack.count} stacked"
    if layout is None:
        view = View(tensor.name, why, width, whole_rows, whole_columns, turned)
        yield _shaped(tensor, stack.name(expert), view, stack.kind)
        return
    why = f"{why}; {layout.why}"
    for part, stripes in layout.stripes(0 if layout.on_columns else start):
        rows, columns = (whole_rows, stripes) if layout.on_columns else (stripes, whole_columns)
        view = View(tensor.name, why, width, rows, columns, turned)
        yield _shaped(tensor, stack.name(expert, part), view, stack.kind)


def _shaped(tensor: TensorRef, name: str, view: View, kind: str) -> TensorRef:
    shape = (view.rows.size, view.columns.size)
    return replace(tensor, name=name, shape=shape[1:] if kind == "bias" else shape, view=view)


def _gate_up(stack: Stack, model: Model, *, in_columns: bool | None) -> Answer | None:
    """Return where gate and up lie in one expert's rows or columns."""
    if stack.leaf not in _SECOND:
        return None
    family = model.numbers.model_type
    if not family or (in_columns is None and stack.kind == "weight"):
        return Unknown("gate and up of each expert left together: their layout is not known")
    on_columns = in_columns is True or stack.kind == "bias"
    length = stack.tensor.shape[-1] if on_columns else stack.rows
    why = f"{safe(family, 40)} in config.json: gate, up in blocks"
    if family not in _INTERLEAVED:
        answer = thirds(length, why, ("gate", "up"))
        return replace(answer, on_columns=on_columns) if isinstance(answer, Layout) else answer
    if length % 2 or not on_columns:
        return Unknown(f"gate and up of each expert left together: {length:,} channels")
    why = f"{safe(family, 40)} in config.json: gate, up in turn"
    return Layout((("gate", 1), ("up", 1)), length // 2, why, on_columns=True)


def _out_in_columns(stack: Stack, model: Model) -> bool | None:
    """Return whether experts are [in, out], told from the shapes of the two projections.

    The first makes twice the channels that the second takes; only one orientation fits that.
    """
    for first, second in _SECOND.items():
        if stack.leaf not in (first, second):
            continue
        up = _sibling(stack, first, model)
        down = _sibling(stack, second, model)
        if len(up) == 3 and len(down) == 3:
            if up[1:] == (2 * down[2], down[1]):
                return False
            if up[1:] == (down[2], 2 * down[1]):
                return True
    return None


def _sibling(stack: Stack, leaf: str, model: Model) -> tuple[int, ...]:
    middle = "experts." if ".experts." in f".{stack.tensor.name}" else ""
    stem = f"{stack.head}{middle}{leaf}"
    return next(
        (model.shapes[name] for name in (stem, f"{stem}.weight", f"{stem}_weight")
         if name in model.shapes),
        (),
    )  # fmt: skip
