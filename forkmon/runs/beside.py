"""When a checkpoint was saved: by its name, by the files beside it, by what is inside it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from forkmon.errors import CheckpointError
from forkmon.formats.opening import open_regular
from forkmon.formats.proof import Proof, Whole, prove
from forkmon.runs.candidates import Candidate
from forkmon.runs.steps import TRAINER_STATE, Named, from_state, read_state, whole_number

_SAVED_BY_TORCH = (
    "random_states_0.pkl",
    "recipe_state.pt",
    "meta.pt",
    "train.pt",
    "train/rank0.pt",
)
"""Accelerate, torchtune, Lightning and Fabric, OLMo, OLMo-core."""
_JSON = {
    "checkpoint_metadata.json": ("last_train_step",),
    "metadata.json": ("step",),
    ".metadata.json": ("step", "global_step"),
}
_HEAD_BYTES = 4096
_EPOCH = re.compile(rb'"epoch":\s*([0-9]{1,9}(?:\.[0-9]{1,20})?)\s*,')


def resolved(candidate: Candidate, proofs: Sequence[Proof], before: Named | None) -> Named | None:
    """Return step and epoch: from the name, from files beside the weights, from inside them.

    `before` is what an earlier version of the same files gave.
    """
    name = candidate.named
    wholes = [proof for proof in proofs if isinstance(proof, Whole)]
    epochs = [proof.epoch for proof in wholes if proof.epoch is not None and proof.epoch >= 0]
    epoch = epochs[0] if epochs else None
    where = candidate.directory
    if name is not None and name.unit == "step":
        known = name.epoch if name.epoch is not None else epoch
        if known is None and where is not None:
            known = epoch_beside(where)
        return Named(name.step, known)
    named = None if where is None else step_beside(where)
    steps = [proof.step for proof in wholes if proof.step is not None]
    if named is None and steps:
        named = Named(steps[0], epoch)
    if named is None and name is not None:
        named = Named(name.step, epoch if name.epoch is None else name.epoch, name.unit)
    if named is None and epoch is not None:
        named = Named(int(epoch), epoch, "epoch")
    return named or before


def step_beside(directory: Path) -> Named | None:
    """Return the step that the files in a checkpoint's directory give."""
    named = from_state(directory)
    if named is not None:
        return named
    for name in _SAVED_BY_TORCH:
        named = _saved(directory / name)
        if named is not None:
            return named
    for name, keys in _JSON.items():
        state = read_state(directory / name)
        steps = [n for key in keys if (n := whole_number(state.get(key))) is not None]
        if steps:
            return Named(steps[0])
    return None


def epoch_beside(directory: Path) -> float | None:
    """Return the epoch near the beginning of the directory's trainer_state.json.

    Its log grows with the run: only the head is read, where transformers sorts the epoch to.
    """
    try:
        fd = open_regular(directory / TRAINER_STATE)
    except CheckpointError:
        return None
    try:
        match = _EPOCH.search(os.read(fd, _HEAD_BYTES).partition(b'"log_history"')[0])
    except OSError:
        return None
    finally:
        os.close(fd)
    return None if match is None else float(match[1])


def _saved(path: Path) -> Named | None:
    if not path.is_file():
        return None
    try:
        proof = prove(path)
    except CheckpointError:
        return None
    if not isinstance(proof, Whole) or not proof.step:
        return None
    return Named(proof.step, proof.epoch)
