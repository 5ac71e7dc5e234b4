"""The step and the epoch that a checkpoint names among its objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, cast

from forkmon.formats.pickle_values import Stub

_STEPS: Final = (
    "global_step", "global_steps", "iteration", "step_count", "iter_num", "step", "steps_run",
    "num_updates", "iter", "updates", "current_step",
)  # fmt: skip
"""In the order of how sure they are; LitGPT counts micro-batches too, in its `iter_num`."""
_EPOCHS: Final = ("epoch", "epochs_run", "current_epoch")
_SECTIONS: Final = ("meta", "state", "trainer_state", "train_state", "trainer", "extra_state")
_STEP_END: Final = 1 << 53


def step_of(root: object) -> tuple[int | None, float | None]:
    """Return the step and the epoch that a checkpoint names, None for what it does not."""
    step: int | None = None
    epoch: float | None = None
    for fields in _levels(root):
        if step is None:
            found = next((n for key in _STEPS if (n := _number(fields.get(key))) is not None), None)
            step = int(found) if found is not None and found == int(found) else None
        if epoch is None:
            named = (_number(fields.get(key)) for key in _EPOCHS)
            epoch = next((float(number) for number in named if number is not None), None)
    return step, epoch


def _levels(root: object) -> Iterator[Mapping[object, object]]:
    """Yield the mappings in which a step may stand, the surest first."""
    top = _fields(root)
    if top is None:
        return
    yield top
    for key in _SECTIONS:
        inner = _fields(top.get(key))
        if inner is None:
            continue
        if key != "state" or "timestamp" not in inner:
            # An optimizer's states lie under `state` too: numbers of parameters, no step.
            if key != "state":
                yield inner
            continue
        yield from _timestamp(inner["timestamp"])
    yield from _history(top.get("optimizer_history"))
    train = _fields(_fields_of(top, "extra_state").get("train_iterator"))
    if train is not None:
        yield train


def _timestamp(value: object) -> Iterator[Mapping[object, object]]:
    """Yield Composer's clock, which newer versions wrap once more.

    It counts batches; what it calls iterations are something else.
    """
    stamp = _fields(value) or {}
    for fields in (stamp, _fields(stamp.get("Timestamp")) or {}):
        yield {"step": fields.get("batch"), "epoch": fields.get("epoch")}


def _history(value: object) -> Iterator[Mapping[object, object]]:
    """Yield the last entry of fairseq's list of optimizers."""
    if isinstance(value, list) and value:
        last = _fields(cast("list[object]", value)[-1])
        if last is not None:
            yield last


def _fields_of(top: Mapping[object, object], key: str) -> Mapping[object, object]:
    return _fields(top.get(key)) or {}


def _fields(value: object) -> Mapping[object, object] | None:
    if isinstance(value, dict):
        return cast("dict[object, object]", value)
    if isinstance(value, Stub):
        return value.entries or cast("Mapping[object, object]", value.fields)
    return None


def _number(value: object) -> float | int | None:
    """Return a count: a number from 0 on, as training loops count."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if 0 <= value < _STEP_END else None
