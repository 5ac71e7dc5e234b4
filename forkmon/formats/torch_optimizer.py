"""An optimizer's states under the names of the parameters they belong to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, cast

from forkmon.formats.pickle_values import Distributed, Leaf, Opaque, Stub, TorchTensor

Parameter = tuple[str, tuple[int, ...]]
"""Name and shape of a parameter, in the order in which the model lists them."""

Leaves = Callable[[object, str], Iterator[tuple[str, Leaf]]]
"""Yield each tensor in a value under names that begin with a prefix."""

_BUFFER: Final = re.compile(
    r"(?:^|\.)(?:running_mean|running_var|num_batches_tracked|inv_freq|position_ids|masked_bias)$"
)
_INDEX_CAP: Final = 1_000_000


def is_optimizer(value: object) -> bool:
    """Return whether a value is an optimizer's state dict, as torch lays it out."""
    if not isinstance(value, dict):
        return False
    entries = cast("dict[object, object]", value)
    return isinstance(entries.get("state"), dict) and "param_groups" in entries


def optimizer_tensors(
    value: object, parameters: Sequence[Parameter], leaves: Leaves
) -> Iterator[tuple[str, Leaf]]:
    """Yield each state as `<parameter>.<state>`; by number where the parameter is not known."""
    found = list(_state_dicts(value, ""))
    if not found:
        yield from _without_counters(leaves(value, ""))
        return
    for prefix, entries in found:
        state = cast("dict[object, object]", entries["state"])
        names = _names(entries, state, parameters if len(found) == 1 else ())
        for key, held in state.items():
            if isinstance(key, (str, int)):
                name = names.get(key, key if isinstance(key, str) else f"state.{key}")
                yield from _without_counters(leaves(held, f"{prefix}{name}."))
        rest = {key: held for key, held in entries.items() if key not in ("state", "param_groups")}
        yield from _without_counters(leaves(rest, prefix))


def _state_dicts(value: object, prefix: str, depth: int = 0) -> Iterator[
    tuple[str, Mapping[object, object]]
]:  # fmt: skip
    """Yield the state dicts in a value: itself, or those of several optimizers by their names."""
    if is_optimizer(value):
        yield prefix, cast("dict[object, object]", value)
    elif depth < 2:
        items: list[tuple[object, object]] = []
        if isinstance(value, dict):
            items = list(cast("dict[object, object]", value).items())
        elif isinstance(value, (list, tuple)):
            items = list(enumerate(cast("Sequence[object]", value)))
        single = len(items) == 1
        for key, held in items[:1000]:
            inner = prefix if single else f"{prefix}{key}."
            yield from _state_dicts(held, inner, depth + 1)


def _without_counters(found: Iterator[tuple[str, Leaf]]) -> Iterator[tuple[str, Leaf]]:
    for name, leaf in found:
        if isinstance(leaf, Opaque) or leaf.shape:
            yield name, leaf


def _names(
    entries: Mapping[object, object],
    state: Mapping[object, object],
    parameters: Sequence[Parameter],
) -> Mapping[object, str]:
    """Return the names of numbered parameters, none where they are not sure."""
    groups = [_group(group) for group in _list(entries.get("param_groups"))]
    numbers = [number for group in groups for number, _ in group]
    if len(numbers) > _INDEX_CAP or len(set(numbers)) != len(numbers):
        return {}
    told: dict[object, str] = {}
    for group in groups:
        told.update((number, name) for number, name in group if name)
    if told:
        return told
    shapes = {number: shape for number, held in state.items() if (shape := _shape(held))}
    for order in _orders(groups, _trainable(parameters)):
        fits = all(number not in shapes or shapes[number] == shape
                   for number, (_, shape) in zip(numbers, order, strict=True))  # fmt: skip
        if fits and shapes:
            return {number: name for number, (name, _) in zip(numbers, order, strict=True)}
    return {}


def _group(group: object) -> list[tuple[int, str]]:
    """Return the numbers of a group's parameters, with their names where it tells them."""
    if not isinstance(group, dict):
        return []
    fields = cast("dict[object, object]", group)
    numbers = [n for n in _list(fields.get("params")) if isinstance(n, int)]
    names = [n for n in _list(fields.get("param_names")) if isinstance(n, str)]
    if len(names) != len(numbers):
        names = [""] * len(numbers)
    return list(zip(numbers, names, strict=True))


def _orders(
    groups: Sequence[Sequence[object]], parameters: Sequence[Parameter]
) -> Iterator[Sequence[Parameter]]:
    """Yield the orders in which a model's parameters may stand in the groups."""
    counts = [len(group) for group in groups]
    if sum(counts) != len(parameters):
        return
    filled = [count for count in counts if count]
    # Two groups are nearly always: with weight decay, and without it.
    matrices = [named for named in parameters if len(named[1]) >= 2]
    vectors = [named for named in parameters if len(named[1]) < 2]
    if filled == [len(matrices), len(vectors)]:
        yield matrices + vectors
    if filled == [len(vectors), len(matrices)]:
        yield vectors + matrices
    yield parameters


def _trainable(parameters: Sequence[Parameter]) -> Sequence[Parameter]:
    return [
        (name, shape) for name, shape in parameters
        # Attention's causal mask is the only bias of four dimensions.
        if not _BUFFER.search(name) and not (name.endswith(".bias") and len(shape) == 4)
    ]  # fmt: skip


def _shape(held: object) -> tuple[int, ...]:
    """Return the shape that a parameter's states have, empty where they tell none."""
    if isinstance(held, Stub):
        held = held.entries or held.fields
    if not isinstance(held, dict):
        return ()
    shapes = {leaf.shape for leaf in cast("dict[object, object]", held).values()
              if isinstance(leaf, (TorchTensor, Distributed)) and leaf.shape}  # fmt: skip
    return shapes.pop() if len(shapes) == 1 else ()


def _list(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else ()
