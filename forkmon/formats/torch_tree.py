"""Which tensors a checkpoint's objects hold, under which names and in which roles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from forkmon.errors import FormatError
from forkmon.formats.pickle_values import Distributed, Leaf, Opaque, Stub, TorchTensor
from forkmon.formats.refs import Role
from forkmon.formats.torch_graph import is_module
from forkmon.formats.torch_optimizer import Parameter, optimizer_tensors
from forkmon.formats.torch_sections import Section, entries_of, sections
from forkmon.formats.torch_steps import step_of

__all__ = ["Named", "named_tensors", "only_averages", "step_of"]

Named = tuple[str, Role, Leaf]

VISITS_CAP: Final = 500_000
"""Most objects looked at: shared ones can be reached in more ways than there are atoms."""
_DEPTH_CAP: Final = 48
_PREFIX_CAP: Final = 8192
"""Beyond it a name is none that is read, however it goes on."""


def named_tensors(root: object, parameters: Sequence[Parameter] = ()) -> Iterator[Named]:
    """Yield every tensor with its name in the model and its role.

    What merely contains the model is taken off the names. An optimizer's states are named after
    the parameters they belong to, where counts and shapes tell; `parameters` are those of another
    file. Averages without the model they were made of are listed as the model. Raises FormatError
    for objects without end.
    """
    walk = _Walk()
    parts = _listed(root)
    known = _Known(list(parameters))
    for part in (part for part in parts if part.role != "optimizer"):
        for name, leaf in walk.leaves(part.held, part.prefix):
            if part.role == "model":
                known.add(name, leaf)
            yield name, part.role, leaf
    for part in (part for part in parts if part.role == "optimizer"):
        for name, leaf in optimizer_tensors(part.held, known.parameters, walk.leaves):
            yield f"{part.prefix}{name}", part.role, leaf


def only_averages(root: object) -> bool:
    """Return whether all weights in a checkpoint are averages."""
    roles = {part.role for part in sections(root)}
    return "ema" in roles and "model" not in roles


def _listed(root: object) -> list[Section]:
    found = sections(root)
    if any(part.role == "model" for part in found):
        return found
    return [replace(part, role="model") if part.role == "ema" else part for part in found]


@dataclass(slots=True)
class _Known:
    """The parameters of a model, each once, whatever its names."""

    parameters: list[Parameter]
    places: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])

    def add(self, name: str, leaf: Leaf) -> None:
        """Add a tensor, unless another name stands for the same place."""
        if isinstance(leaf, Distributed):
            self.parameters.append((name, leaf.shape))
        elif isinstance(leaf, TorchTensor):
            place = (leaf.storage.key, leaf.offset)
            if place not in self.places or 0 in leaf.shape:
                self.parameters.append((name, leaf.shape))
            self.places.add(place)


@dataclass(slots=True)
class _Walk:
    """Goes through objects, and no further than the caps allow."""

    visits: int = 0
    path: set[int] = field(default_factory=set[int])

    def leaves(self, value: object, prefix: str) -> Iterator[tuple[str, Leaf]]:
        """Yield each tensor in a value, by its dotted name."""
        self.visits += 1
        if self.visits > VISITS_CAP:
            raise FormatError(f"more than {VISITS_CAP:,} objects among its tensors; not read")
        if isinstance(value, (TorchTensor, Distributed, Opaque)):
            yield prefix.removesuffix(".") or "tensor", value
            return
        if isinstance(value, Stub) and value.kind == "ShardedTensor":
            yield prefix.removesuffix("."), Opaque("", "a ShardedTensor lacks its other ranks")
            return
        if not isinstance(value, (dict, list, tuple, Stub)):
            return
        holder = id(cast("object", value))
        if holder in self.path or len(self.path) > _DEPTH_CAP:
            return
        self.path.add(holder)
        try:
            for name, held in _children(cast("object", value)):
                yield from self.leaves(held, f"{prefix[:_PREFIX_CAP]}{name[:_PREFIX_CAP]}.")
        finally:
            self.path.discard(holder)


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, (list, tuple)):
        for index, held in enumerate(cast("Sequence[object]", value)):
            yield str(index), held
    elif isinstance(value, Stub) and is_module(value):
        yield from _module_children(value.fields)
    else:
        yield from (entries_of(value) or {}).items()


def _module_children(fields: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield what a pickled `nn.Module` would put in its state dict."""
    temporary = fields.get("_non_persistent_buffers_set")
    left_out = cast("set[object]", temporary) if isinstance(temporary, set) else set[object]()
    for key in ("_parameters", "_buffers", "_modules"):
        for name, held in (entries_of(fields.get(key)) or {}).items():
            if held is not None and (key != "_buffers" or name not in left_out):
                yield name, held
