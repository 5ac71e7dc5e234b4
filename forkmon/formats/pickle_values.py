"""What the objects in a pickle become: plain values, tensors as places in a file, inert stubs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

_KEY_NUMBER: Final = 1 << 60
"""Beyond it integers share their hashes at will: a dict of them would take for ever."""


class NonsenseError(ValueError):
    """What a pickle describes cannot be; says what it holds."""


class Stub:
    """Something outside the allow-list: a name and what it was given. It never does anything."""

    __slots__ = ("_entries", "_items", "args", "kwargs", "name", "state")

    def __init__(
        self, name: str, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> None:
        self.name = name
        """Module and qualified name of the class or function, with a dot between."""
        self.args = args
        self.kwargs: Mapping[str, object] = kwargs or {}
        self.state: object = None
        """What was set on it; of objects with slots, the attributes as one mapping."""
        self._items: list[object] | None = None
        self._entries: dict[object, object] | None = None

    @property
    def items(self) -> list[object]:
        """Return what was appended to it."""
        if self._items is None:
            self._items = []
        return self._items

    @property
    def entries(self) -> dict[object, object]:
        """Return what was stored in it under keys."""
        if self._entries is None:
            self._entries = {}
        return self._entries

    def share(self, held: object) -> None:
        """Let a list or a dict be what it holds; they stay one, as nothing is copied."""
        if isinstance(held, list):
            self._items = cast("list[object]", held)
        elif isinstance(held, dict):
            self._entries = cast("dict[object, object]", held)

    @property
    def kind(self) -> str:
        """Return the last part of its name."""
        return self.name.rpartition(".")[2]

    @property
    def fields(self) -> Mapping[str, object]:
        """Return its attributes by name; empty where its state is something else."""
        state = self.state
        return cast("dict[str, object]", state) if isinstance(state, dict) else {}


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of elements in a file of torch's, known by its key."""

    dtype: str
    """forkmon's name where it has one, else torch's; "u8" for an untyped one."""
    key: str
    numel: int


@dataclass(frozen=True, slots=True)
class TorchTensor:
    """A tensor as a view of a storage; nothing in it is checked against the file yet."""

    storage: Storage
    offset: int
    """In elements of `dtype`, as are the strides."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    wrapper: str = ""
    """`parameter`, or the name of a tensor subclass."""


@dataclass(frozen=True, slots=True)
class Distributed:
    """One rank's part of a DTensor."""

    local: TorchTensor
    mesh_shape: tuple[int, ...]
    """Empty where the file does not tell it."""
    placements: tuple[str, ...]
    """One an axis of the mesh: `S(0)` for a shard along axis 0, `R`, `P`."""
    shape: tuple[int, ...]
    """Of the whole tensor."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """A tensor whose values are not read, and why."""

    dtype: str
    reason: str


Leaf = TorchTensor | Distributed | Opaque
"""What may stand where a tensor was."""


def attributes(state: object) -> object:
    """Return a pickled state, with the pair (attributes, slots) made one mapping."""
    match state:
        case (None, dict()):
            return cast("tuple[object, object]", state)[1]
        case (dict(), dict()):
            both = cast("tuple[dict[object, object], dict[object, object]]", state)
            return both[0] | both[1]
        case _:
            return state


def is_plain_key(value: object) -> bool:
    """Return whether a value may be a key: hashed at once, to what nobody can choose."""
    if isinstance(value, int):
        return -_KEY_NUMBER < value < _KEY_NUMBER
    return value is None or isinstance(value, (str, bytes, float, Stub))
