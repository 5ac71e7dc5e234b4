"""Names of Megatron-LM's parameters across ranks: layers and experts counted over all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_LAYER = re.compile(r"^(?P<stack>(?:.*\.)?layers)\.(?P<index>[0-9]{1,6})(?P<rest>\..+)$")
_EXPERT = re.compile(
    r"^(?P<before>.*\bexperts\.(?:local_experts\.|linear_fc[12]\.(?:weight|bias)))"
    r"(?P<index>[0-9]{1,6})(?P<rest>(?:\..+)?)$"
)
_EXPERTS = re.compile(r"(?:^|\.)experts\.")


@dataclass(frozen=True, slots=True)
class Offsets:
    """What is added to a rank's own numbers."""

    layers: Mapping[str, int]
    """By stack: how many of its layers earlier stages hold."""
    experts: int = 0
    """How many experts of each layer earlier ranks hold."""


def is_expert(name: str) -> bool:
    """Return whether a parameter belongs to one expert, or to all experts of a rank."""
    return _EXPERTS.search(name) is not None


def stack_sizes(names: Iterable[str]) -> dict[str, int]:
    """Return how many layers each stack of a rank has."""
    held: dict[str, set[int]] = {}
    for name in names:
        found = _LAYER.match(name)
        if found is not None:
            held.setdefault(found["stack"], set()).add(int(found["index"]))
    return {stack: len(indices) for stack, indices in held.items()}


def experts_held(names: Iterable[str]) -> int:
    """Return how many experts a rank has of each layer."""
    indices = {int(found["index"]) for name in names if (found := _EXPERT.match(name))}
    return len(indices)


def renamed(name: str, offsets: Offsets, expert_rank: int | None) -> str:
    """Return a parameter's name in the whole model.

    `expert_rank` is None where experts are not spread over ranks. What holds all of a rank's
    experts in one tensor gets the rank's number behind it.
    """
    layer = _LAYER.match(name)
    if layer is not None:
        index = int(layer["index"]) + offsets.layers.get(layer["stack"], 0)
        name = f"{layer['stack']}.{index}{layer['rest']}"
    if expert_rank is None or not is_expert(name):
        return name
    expert = _EXPERT.match(name)
    if expert is None:
        return f"{name}[ep{expert_rank}]"
    return f"{expert['before']}{int(expert['index']) + offsets.experts}{expert['rest']}"
