"""A checkpoint's objects, each looked at once: which of them hold tensors, and how tangled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, cast

from forkmon.errors import FormatError
from forkmon.formats.pickle_values import Distributed, Opaque, Stub, TorchTensor

_WAYS_CAP: Final = 1_000_000
"""Ways from the root to an object, beyond two for each that there is."""
_WAYS_LONG: Final = 8
"""Steps of a way that are counted: no search by sections goes deeper."""


def is_leaf(value: object) -> bool:
    """Return whether a value stands where a tensor was."""
    return isinstance(value, (TorchTensor, Distributed, Opaque))


def is_module(value: object) -> bool:
    """Return whether a value is a pickled `nn.Module`."""
    return isinstance(value, Stub) and "_parameters" in value.fields and "_modules" in value.fields


class Graph:
    """All containers that can be reached from a root.

    Shared ones can be reached in more ways than there are atoms: whoever walks asks here first.
    """

    def __init__(self, root: object) -> None:
        """Look at everything once; FormatError where walking it would never end."""
        self._above: dict[int, list[int]] = {}
        self._tensors: set[int] = set()
        self._weights: set[int] = set()
        holders = self._explored(root)
        self._check_ways(root, holders)
        self._spread(self._tensors)
        self._spread(self._weights)

    def holds_tensors(self, value: object, *, counters: bool = True) -> bool:
        """Return whether a tensor is anywhere in a value, if need be one that is no counter."""
        if is_leaf(value):
            return counters or not isinstance(value, TorchTensor) or bool(value.shape)
        return id(value) in (self._tensors if counters else self._weights)

    def _explored(self, root: object) -> list[object]:
        """Return every container once, and note what stands above it and which hold leaves."""
        found: list[object] = [root] if _is_container(root) else []
        self._above = {id(holder): [] for holder in found}
        for holder in found:  # grows while it is gone through
            own = id(holder)
            for held in _children(holder):
                if _is_container(held):
                    if id(held) not in self._above:
                        self._above[id(held)] = []
                        found.append(held)
                    self._above[id(held)].append(own)
                elif is_leaf(held):
                    self._tensors.add(own)
                    if not isinstance(held, TorchTensor) or held.shape:
                        self._weights.add(own)
        return found

    def _check_ways(self, root: object, holders: Sequence[object]) -> None:
        if sum(map(len, self._above.values())) < max(1, len(holders)):
            return  # a tree: nothing is held twice
        below = {
            id(holder): [id(held) for held in _entries(holder) if _is_container(held)]
            for holder in holders
        }
        own = {id(holder): 1 + len(_entries(holder)) for holder in holders}
        most = _WAYS_CAP + 2 * sum(own.values())
        ways = own
        for _ in range(_WAYS_LONG):
            ways = {key: own[key] + sum(ways[each] for each in below[key]) for key in own}
            if ways[id(root)] > most:
                raise FormatError("its objects hold each other in too many ways; not read")

    def _spread(self, marked: set[int]) -> None:
        """Mark what holds something marked."""
        waiting = list(marked)
        while waiting:
            for above in self._above[waiting.pop()]:
                if above not in marked:
                    marked.add(above)
                    waiting.append(above)


def _is_container(value: object) -> bool:
    return isinstance(value, (dict, list, tuple, Stub))


def _children(holder: object) -> Iterable[object]:
    if isinstance(holder, Stub):
        return (*holder.entries.values(), *holder.fields.values(), *holder.items)
    return _entries(holder)


def _entries(holder: object) -> Sequence[object]:
    """Return what a search by sections goes on with."""
    if isinstance(holder, (list, tuple)):
        return cast("Sequence[object]", holder)
    if isinstance(holder, dict):
        return tuple(cast("dict[object, object]", holder).values())
    if isinstance(holder, Stub) and not is_module(holder):
        return tuple(holder.entries.values() or holder.fields.values())
    return ()
