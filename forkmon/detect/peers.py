"""The same place in other layers: a tensor's peers, and what they do together."""

from __future__ import annotations

from collections.abc import Sequence


def place_of(name: str) -> str:
    """Return a tensor's place in its layer: its name with the numbers of the path left out.

    `h.0.attn.q.weight` and `h.7.attn.q.weight` have the place `h.*.attn.q.weight`.
    """
    return ".".join("*" if part.isdecimal() else part for part in name.split("."))


def places_of(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of the names that share a place with another, by place."""
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        found.setdefault(place_of(name), []).append(index)
    return {place: rows for place, rows in found.items() if len(rows) > 1}
