"""What a tensor is to a training, and how two of one name are told apart."""

from __future__ import annotations

MODEL = "model"

ROLES: tuple[str, ...] = (MODEL, "ema", "optimizer")
"""The weights, their running average, and what the optimizer remembers."""

DEFAULT_ROLES = frozenset({MODEL, "ema"})
"""Optimizer states are two to six times the model's bytes; who wants them asks for them."""


def qualified(name: str, role: str) -> str:
    """Return a name that no tensor of another role has: `ema:h.0.weight`, plain for the model."""
    return name if role == MODEL else f"{role}:{name}"


def parse_roles(text: str) -> frozenset[str] | None:
    """Return the roles of a list such as `model,ema`; None where a word is none of them."""
    words = frozenset(word.strip() for word in text.split(",") if word.strip())
    return words if words and words <= set(ROLES) else None
