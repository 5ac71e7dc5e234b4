"""The step (and epoch) of a checkpoint: from its name first, then from files beside it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

TRAINER_STATE = "trainer_state.json"
STATE_CAP = 64 * 1024 * 1024
"""Longest trainer_state.json read, in bytes."""

_SUFFIX = re.compile(r"\.safetensors$", re.IGNORECASE)
_NUMBER = r"[-_=]?0*([0-9]{1,18})(?![0-9])"
_START = r"(?:^|[^a-z])"

# In order of trust: `epoch=3-step=100` is step 100, `checkpoint-epoch3` is epoch 3.
_STEPS = tuple(
    re.compile(_START + words + _NUMBER)
    for words in (
        r"(?:global[-_]?)?steps?",
        r"iter(?:ation)?s?",
        r"checkpoint",
        r"ckpt",
        r"(?:ba|batch)",
    )
)
_EPOCH = re.compile(_START + r"(?:epoch|ep)" + _NUMBER)
_BARE = re.compile(r"^0*([0-9]{1,18})$")
_TRAILING = re.compile(r"[-_.=]0*([0-9]{1,18})$")
_ALIAS = re.compile(r"^(?:.*[-_.])?(?:latest|last|best|final|newest|current)(?:[-_.].*)?$")


@dataclass(frozen=True, slots=True)
class Named:
    """What a name says about when a checkpoint was saved."""

    step: int
    epoch: float | None = None


def from_name(name: str, *, weak: bool = True) -> Named | None:
    """Return the step in a file's or directory's name; an epoch stands in where there is none.

    `weak` also takes a bare or a trailing number (`1000`, `model_1000`) for a step.
    """
    text = _SUFFIX.sub("", name).lower()
    epoch = _first(text, _EPOCH)
    epochs = None if epoch is None else float(epoch)
    patterns = (*_STEPS, _BARE, _TRAILING) if weak and epoch is None else _STEPS
    for pattern in patterns:
        step = _first(text, pattern)
        if step is not None:
            return Named(step, epochs)
    return None if epoch is None else Named(epoch, epochs)


def is_alias(name: str) -> bool:
    """Return whether a name without a step is one of those that point at another checkpoint."""
    return _ALIAS.match(_SUFFIX.sub("", name).lower()) is not None


def from_state(directory: Path) -> Named | None:
    """Return step and epoch from the directory's trainer_state.json."""
    state = read_state(directory / TRAINER_STATE)
    step = state.get("global_step")
    if type(step) is not int or not 0 <= step < 10**18:
        return None
    epoch = state.get("epoch")
    finite = isinstance(epoch, int | float) and not isinstance(epoch, bool) and abs(epoch) < 1e18
    return Named(step, float(epoch) if finite and isinstance(epoch, int | float) else None)


def read_state(path: Path) -> dict[str, object]:
    """Return a trainer_state.json's top object; an unusable one is as good as none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError):
        return {}
    try:
        with os.fdopen(fd, "rb") as file:
            raw = file.read(STATE_CAP + 1)
        body: object = json.loads(raw) if len(raw) <= STATE_CAP else None
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(key): value for key, value in _items(body)}


def _items(body: object) -> list[tuple[object, object]]:
    return list(body.items()) if isinstance(body, dict) else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _first(text: str, pattern: re.Pattern[str]) -> int | None:
    matches = pattern.findall(text)
    return int(matches[-1]) if matches else None
