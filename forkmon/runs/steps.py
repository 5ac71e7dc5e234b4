"""The step (and epoch) of a checkpoint: from its name first, then from the trainer's state."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from forkmon.formats.json_size import values_in
from forkmon.runs.suffixes import without_suffix

TRAINER_STATE = "trainer_state.json"
STATE_CAP = 64 * 1024 * 1024
"""Longest trainer_state.json read, in bytes."""
_VALUES_CAP = 2_000_000

Unit = Literal["step", "epoch", "number"]
"""What the number in a name counts; a plain `number` may be steps, epochs or saves."""

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW

_NAMES_KEPT = 1 << 16
"""Names whose answers are kept: each poll asks about the same ones."""

_NUMBER = r"[-_=]?0*([0-9]{1,18})(?![0-9])"
_START = r"(?:^|[^a-z])"

# In order of trust: `epoch=3-step=100` is step 100, `checkpoint-epoch3` is epoch 3.
_STEPS: tuple[tuple[re.Pattern[str], Unit], ...] = (
    (re.compile(_START + r"(?:global[-_]?)?steps?" + _NUMBER), "step"),
    (re.compile(_START + r"iter(?:ation)?s?" + _NUMBER), "step"),
    (re.compile(_START + r"checkpoint" + _NUMBER), "number"),
    (re.compile(_START + r"ckpt" + _NUMBER), "number"),
    (re.compile(_START + r"(?:ba|batch)" + _NUMBER), "step"),
)
_EPOCH = re.compile(_START + r"(?:epoch|ep)" + _NUMBER)
_EPOCH_AND_UPDATE = re.compile(r"^checkpoint_0*([0-9]{1,18})_0*([0-9]{1,18})$")
"""fairseq: the epoch, then the number of updates."""
_WEAK: tuple[tuple[re.Pattern[str], Unit], ...] = (
    (re.compile(r"^0*([0-9]{1,18})$"), "number"),
    (re.compile(r"[-_.=]0*([0-9]{1,18})$"), "number"),
)
_RANK = re.compile(r"[-_]rank[-_]?([0-9]{1,6})$")
_VERSION = re.compile(r"(?<=[0-9])-v[0-9]{1,4}$")
"""Lightning's answer to a name that is taken."""

_HASH = re.compile(r"^(?=.*[a-f])[0-9a-f]{32,64}$")
"""A commit or a checksum: `9ba12` in it is no batch."""

_ALIAS = re.compile(r"^(?:.*[-_.])?(?:latest|last|best|final|newest|current)(?:[-_.].*)?$")
_MOVING = re.compile(r"^(?:.*[-_.])?(?:latest|last|newest|current)(?:[-_.].*)?$")
_COPY = re.compile(r"(?:^|[-_.])(?:latest|last|best|final|newest|current|unsharded)(?:[-_.=]|$)")
_RECOVERY = re.compile(r"^recovery-[0-9]+-[0-9]+$")


@dataclass(frozen=True, slots=True)
class Named:
    """What a name says about when a checkpoint was saved."""

    step: int
    epoch: float | None = None
    unit: Unit = "step"
    """Another than `step` gives way to a step that is written inside or beside it."""


@lru_cache(maxsize=_NAMES_KEPT)
def from_name(name: str, *, weak: bool = True) -> Named | None:
    """Return the step in a file's or directory's name; an epoch stands in where there is none.

    `weak` also takes a bare or a trailing number (`1000`, `model_1000`) for a step.
    """
    text, had_suffix = without_suffix(name)
    text = _VERSION.sub("", _RANK.sub("", text.lower()))
    if _HASH.match(text):
        return None
    both = _EPOCH_AND_UPDATE.match(text)
    if both is not None:
        return Named(int(both[2]), float(both[1]))
    epochs = [float(number) for number in _EPOCH.findall(text)[-1:]]
    epoch = epochs[0] if epochs else None
    for pattern, unit in (*_STEPS, *_WEAK) if weak and epoch is None else _STEPS:
        numbers = pattern.findall(text)
        if numbers:
            # Directories are numbered by steps; for files it is as often the epoch.
            return Named(int(numbers[-1]), epoch, unit if had_suffix else "step")
    return None if epoch is None else Named(int(epoch), epoch, "epoch")


def is_checkpoint_name(name: str) -> bool:
    """Return whether a directory of this name is a checkpoint or nothing: no run is."""
    return from_name(name, weak=False) is not None or _WEAK[0][0].match(name) is not None


def is_alias(name: str) -> bool:
    """Return whether a name without a step is one of those that point at another checkpoint."""
    return _ALIAS.match(without_suffix(name)[0].lower()) is not None


def is_moving_alias(name: str) -> bool:
    """Return whether an alias is of the newest checkpoint, so that it may be one of its own."""
    return _MOVING.match(without_suffix(name)[0].lower()) is not None


def is_copy(name: str) -> bool:
    """Return whether a name with a step is what trainers call a second copy of that step."""
    return _COPY.search(without_suffix(name)[0].lower()) is not None


def is_recovery(name: str) -> bool:
    """Return whether a file is a copy for emergencies inside an epoch (timm's)."""
    return _RECOVERY.match(without_suffix(name)[0].lower()) is not None


def rank_of(name: str) -> tuple[str, int]:
    """Return a file's name without its rank, and the rank: 0 where it names none."""
    text, _ = without_suffix(name)
    match = _RANK.search(text)
    return (text, 0) if match is None else (text[: match.start()], int(match[1]))


def from_state(directory: Path) -> Named | None:
    """Return step and epoch from the directory's trainer_state.json."""
    state = read_state(directory / TRAINER_STATE)
    step = whole_number(state.get("global_step"))
    return None if step is None else Named(step, finite_number(state.get("epoch")))


def whole_number(value: object) -> int | None:
    """Return a value that can be a step, None for any other."""
    return value if type(value) is int and 0 <= value < 10**18 else None


def finite_number(value: object) -> float | None:
    """Return a value that can be an epoch, None for any other."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e18 else None


def read_state(path: Path) -> dict[str, object]:
    """Return a JSON file's top object; an unusable one is as good as none."""
    try:
        fd = os.open(path, _FLAGS)
    except (OSError, ValueError):
        return {}
    try:
        with os.fdopen(fd, "rb") as file:
            is_plain = stat.S_ISREG(os.fstat(fd).st_mode)
            raw = file.read(STATE_CAP + 1) if is_plain else b""
        is_small = len(raw) <= STATE_CAP and values_in(raw) <= _VALUES_CAP
        body: object = json.loads(raw) if is_small else None
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(key): value for key, value in _items(body)}


def _items(body: object) -> list[tuple[object, object]]:
    return list(body.items()) if isinstance(body, dict) else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
