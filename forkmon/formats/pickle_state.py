"""What a pickle is read with: its bytes, a stack, a memo, and the caps that hold for all."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn, cast

from forkmon.errors import FormatError
from forkmon.formats.pickle_values import Stub, is_plain_key

OBJECTS_CAP: Final = 3_000_000
"""Most containers and objects a pickle may make: each takes a hundred bytes."""
DEPTH_CAP: Final = 10_000
"""Most marks that are open at once."""
NAME_CAP: Final = 1000
_LINE_CAP: Final = 4096
_KEY_ITEMS: Final = 64
_KEY_TUPLES: Final = 4096
"""Most keys that are tuples: they share their hashes at will, so that storing takes for ever."""


@dataclass(slots=True)
class Machine:
    """One run over one pickle, as its operations see it."""

    raw: bytes
    at: int
    persistent: Callable[[object], object]
    what: str
    stack: list[object] = field(default_factory=list[object])
    below: list[list[object]] = field(default_factory=list[list[object]])
    """The stacks below the marks that are open."""
    memo: dict[int, object] = field(default_factory=dict[int, object])
    globals: dict[str, Stub] = field(default_factory=dict[str, Stub])
    objects: int = 0
    tuples: int = 0
    """Those among the keys."""

    def fail(self, why: str) -> NoReturn:
        """Raise FormatError: the pickle is wrong in this way."""
        raise FormatError(f"{self.what}: its pickle {why} (at byte {self.at:,}); not read")

    def take(self, count: int) -> bytes:
        """Return the next bytes; EOFError where there are not so many."""
        begin = self.at
        end = begin + count
        if end > len(self.raw):
            raise EOFError
        self.at = end
        return self.raw[begin:end]

    def unpack(self, kind: struct.Struct) -> int:
        """Return the next number."""
        (value,) = kind.unpack_from(self.raw, self.at)
        self.at += kind.size
        return cast("int", value)

    def line(self) -> bytes:
        """Return what comes before the next line feed."""
        end = self.raw.find(b"\n", self.at, self.at + _LINE_CAP)
        if end < 0:
            if self.at + _LINE_CAP > len(self.raw):
                raise EOFError
            self.fail("has a line without end")
        line = self.raw[self.at : end]
        self.at = end + 1
        return line

    def number(self) -> int:
        """Return the number on the next line."""
        return decimal(self.line())

    def new(self, value: object, cost: int = 1) -> None:
        """Push an object that takes memory."""
        self.charge(cost)
        self.stack.append(value)

    def charge(self, cost: int) -> None:
        """Count objects that were made."""
        self.objects += cost
        if self.objects > OBJECTS_CAP:
            self.fail(f"makes more than {OBJECTS_CAP:,} objects")

    def marked(self) -> list[object]:
        """Return what was pushed since the last mark, and go back to what lay below."""
        items = self.stack
        self.stack = self.below.pop()
        return items

    def key(self, value: object) -> object:
        """Return a value that may be a key: one that is hashed at once, whoever made it."""
        if isinstance(value, tuple):
            items = cast("tuple[object, ...]", value)
            self.tuples += 1
            if self.tuples > _KEY_TUPLES:
                self.fail(f"has more than {_KEY_TUPLES:,} tuples for keys")
            if len(items) <= _KEY_ITEMS and all(map(is_plain_key, items)):
                return items
        elif is_plain_key(value):
            return value
        return self.fail("has a key that is none")


Operation = Callable[[Machine], None]


def decimal(text: bytes) -> int:
    """Return a number of a sane length; ValueError for any other."""
    if len(text) > NAME_CAP:
        raise ValueError
    return int(text)
