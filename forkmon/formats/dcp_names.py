"""What the tensors of a distributed checkpoint are: their roles, their names, stacks of layers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from forkmon.formats.dcp_metadata import Entry
from forkmon.formats.optimizer_names import is_counter, state_name
from forkmon.formats.refs import Role, TensorRef
from forkmon.formats.tiles_join import rows_apart
from forkmon.text import safe

STACK_CAP = 100_000
"""Stacks that would make more tensors than this, all together, stay whole."""

_OPTIMIZER = re.compile(r"(?:optimizers?|optim)(?:_?\d+)?(?:_states?)?")
_EMA = re.compile(r"(?:model_ema|ema|ema_model|ema_weights|ema_state_dict|state_dict_ema)")
_CONTAINER = re.compile(r"(?:model|app|state_dict|model_state_dict)")
_ASIDE = re.compile(
    r"(?:(?:lr_)?schedulers?|dataloader|train_state|rng_states?|rng|extra_state|common_state|"
    r"trainer|callbacks|loops|rerun_state_machine_state|iteration|step|global_step|epoch)"
    r"(?:[_/.].*)?"
)
_STACKED = re.compile(r"^(?P<head>(?:.*\.)?(?:layers|blocks)\.)(?P<tail>(?!\d+(?:\.|$)).+)$")
_MEGATRON = re.compile(r"(?:^|\.)(?:decoder|encoder)\.layers\.")


@dataclass(frozen=True, slots=True)
class Named:
    """What a tensor is called and what it is for."""

    name: str
    role: Role
    aside: str = ""
    """Why it is no parameter, where it is none."""


def named(entries: Sequence[Entry], role: Role | None = None) -> list[Named]:
    """Return each tensor's name without the containers it was saved in, and its role.

    Containers are told from the metadata; without their word only where an optimizer lies beside
    a `model.` that all the other names begin with. `role` is what the directory's name says.
    """
    plain = [entry for entry in entries if not entry.path]
    kinds = [_of_path((entry.name.split(".", 1)[0], ""), entry.name) for entry in plain]
    models = [
        entry.name for entry, kind in zip(plain, kinds, strict=True)
        if kind.role == "model" and not kind.aside
    ]  # fmt: skip
    beside = any(kind.role == "optimizer" for kind in kinds)
    strip = beside and bool(models) and all(name.startswith("model.") for name in models)
    found: list[Named] = []
    for entry in entries:
        path = entry.path
        if len(path) < 2:
            path = _guessed_path(entry.name, strip=strip and not path)
        kind = _of_path(path, entry.name)
        if role == "optimizer" and kind.role != role and not kind.aside:
            kind = _of_optimizer(kind.name)
        found.append(kind)
    return _apart(found, entries)


def _apart(found: Sequence[Named], entries: Sequence[Entry]) -> list[Named]:
    """Return the names, those that came to be the same as they are on disk."""
    counts = Counter((kind.role, kind.name) for kind in found if not kind.aside)
    return [
        replace(kind, name=entry.name) if counts[kind.role, kind.name] > 1 else kind
        for kind, entry in zip(found, entries, strict=True)
    ]


def _guessed_path(name: str, *, strip: bool) -> tuple[str, ...]:
    head, dot, rest = name.partition(".")
    known = _OPTIMIZER.fullmatch(head) or _EMA.fullmatch(head) or (strip and head == "model")
    return (head, rest) if dot and known else (name,)


def _of_path(path: Sequence[str], name: str) -> Named:
    rest = tuple(path)
    while rest:
        head = rest[0]
        inside = len(rest) > 1
        if inside and _OPTIMIZER.fullmatch(head):
            return _of_optimizer(".".join(rest[1:]))
        if inside and _EMA.fullmatch(head):
            return Named(".".join(rest[1:]), "ema")
        if _ASIDE.fullmatch(head):
            return Named(name, "model", "the trainer's state, no parameter")
        if not (inside and _CONTAINER.fullmatch(head)):
            break
        rest = rest[1:]
    return Named(".".join(rest), "model")


def _of_optimizer(inside: str) -> Named:
    aside = "a setting or a counter of the optimizer" if is_counter(inside) else ""
    return Named(state_name(inside), "optimizer", aside)


def unstacked(
    tensors: Sequence[TensorRef], *, megatron: bool
) -> tuple[list[TensorRef], list[tuple[str, str]]]:
    """Return the tensors with stacks of layers in one tensor for each layer, and notes.

    Megatron stacks layers of one kind on the first axis: `layers.mlp.weight` is
    [layers, …]. They are told apart only where all of a stack agree on their number.
    """
    heads: dict[str, set[int]] = {}
    for tensor in tensors:
        head = _stack_head(tensor, megatron=megatron)
        if head:
            heads.setdefault(head, set()).add(tensor.shape[0] if tensor.shape else 0)
    names = {(tensor.role, tensor.name) for tensor in tensors}
    found: list[TensorRef] = []
    notes: list[tuple[str, str]] = []
    for tensor in tensors:
        head = _stack_head(tensor, megatron=megatron)
        if not head:
            found.append(tensor)
            continue
        parts, note = _layers(tensor, head, heads[head], STACK_CAP - len(found))
        if parts and not names.isdisjoint((part.role, part.name) for part in parts):
            parts, note = (), "left whole: a layer of its name is there as well"
        found += parts or (tensor,)
        notes += [(tensor.name, note)] if note else []
    return found, notes


def _stack_head(tensor: TensorRef, *, megatron: bool) -> str:
    """Return what stands before the number that the layers of a stack lack; empty for no stack."""
    match = _STACKED.match(tensor.name)
    if match is None or not (megatron or _MEGATRON.search(tensor.name)):
        return ""
    return match["head"]


def _layers(
    tensor: TensorRef, head: str, counts: set[int], room: int
) -> tuple[tuple[TensorRef, ...], str]:
    count = next(iter(counts))
    if len(counts) > 1 or not count:
        return (), f"left whole: the stacks of {safe(head, 80)} differ in their first axis"
    if count > room:
        return (), f"left whole: more than {STACK_CAP:,} tensors"
    tail = tensor.name[len(head) :]
    parts = rows_apart(tensor, count)
    return tuple(
        replace(part, name=f"{head}{index}.{tail}", stored_as=tensor.stored_as or tensor.name)
        for index, part in enumerate(parts)
    ), ""
