"""Tensor names as paths in a tree: splitting, ancestors, natural order."""

from __future__ import annotations

import re
from collections.abc import Iterator

_DIGITS = re.compile(r"(\d+)")
_NUMBER = re.compile(r"(?:^|(?<=\.))\d+(?=\.|$)")
_WEIGHT = ".weight"

ROOT = ""
"""The name of the row that stands for the whole model."""


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that orders `h.2` before `h.10`."""
    return tuple(
        (0, int(part), part) if part.isdecimal() and part.isascii() else (1, 0, part)
        for part in _DIGITS.split(name)
        if part
    )


def ancestors(name: str) -> Iterator[str]:
    """Yield the blocks that hold a tensor, outermost (the whole model) first.

    `h.0.attn.weight` is held by ``""``, ``h``, ``h.0`` and ``h.0.attn``.
    """
    yield ROOT
    end = name.find(".")
    while end != -1:
        if end > 0:
            yield name[:end]
        end = name.find(".", end + 1)


def tree_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """Return a sort key in which every block's tensors stand together, in natural order."""
    return tuple(natural_key(part) for part in name.split("."))


def split_role(name: str) -> tuple[str, str]:
    """Return a name without its numbers, and the numbers: what it is, and in which layer.

    `blocks.3.attn.q.weight` is (`blocks.attn.q`, `3`); a name without numbers is its own role.
    """
    numbers = _NUMBER.findall(name)
    role = _NUMBER.sub("", name).replace("..", ".").strip(".")
    return role.removesuffix(_WEIGHT) or name, ".".join(numbers)
