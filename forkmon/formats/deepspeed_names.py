"""Which files of a directory are a DeepSpeed checkpoint, and what each is, told from its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from forkmon.formats.layout import Layout

Kind = Literal["states", "optim", "layer", "expert", "universal"]

# runtime/engine.py: _get_ckpt_name, _get_rank_zero_ckpt_name, _get_expert_ckpt_name;
# runtime/pipe/module.py: ckpt_layer_path; checkpoint/ds_to_universal.py for the last.
_NAMES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (
        "states",
        re.compile(
            r"(?:zero_pp_rank_(?P<dp>[0-9]{1,6})_)?mp_rank_(?P<mp>[0-9]{2,6})_model_states\.pt"
        ),
    ),
    (
        "optim",
        re.compile(
            r"(?:bf16_|fp16_)?zero_pp_rank_(?P<dp>[0-9]{1,6})_mp_rank_(?P<mp>[0-9]{2,6})_?"
            r"optim_states\.pt"
        ),
    ),
    (
        "layer",
        re.compile(r"layer_(?P<layer>[0-9]{2,6})(?:-model_(?P<mp>[0-9]{2,6}))?-model_states\.pt"),
    ),
    (
        "expert",
        re.compile(
            r"(?:layer_(?P<layer>[0-9]{1,6})_)?expert_(?P<expert>[0-9]{1,6})_"
            r"mp_rank_(?P<mp>[0-9]{2,6})_model_states\.pt"
        ),
    ),
    (
        "universal",
        re.compile(r"zero/(?P<name>[^/\0]{1,512})/(?P<state>[A-Za-z_][A-Za-z0-9_]{0,63})\.pt"),
    ),
)
_UNIVERSAL_SIDE = frozenset({"step", "optimizer_state"})

# What lies beside `global_stepN/` where it is a part of a Hugging Face Trainer's checkpoint.
_TRAINER_FILES = frozenset(
    {"trainer_state.json", "training_args.bin", "scheduler.pt", "rng_state.pth", "rng_state_0.pth"}
)
_LIGHTNING_FOLDER = "checkpoint"
_LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a checkpoint: what it holds, and of which rank."""

    kind: Kind
    file: str
    """Its name in the checkpoint, with the folder it lies in."""
    dp: int | None = None
    """Data-parallel rank; None where the file's kind has none."""
    mp: int = 0
    """Model-parallel rank: pipeline stage x tensor-parallel size + tensor-parallel rank."""
    layer: int = -1
    expert: int = -1
    parameter: str = ""
    state: str = ""


def part_of(name: str) -> Part | None:
    """Return what the file called `name` is; folders before it mean nothing, but for `zero/`."""
    for kind, pattern in _NAMES:
        found = pattern.fullmatch(name if kind == "universal" else name.rpartition("/")[2])
        if found is None and kind == "universal":
            found = pattern.fullmatch(name.partition("/")[2])
        if found is not None:
            return _part(kind, name, found.groupdict())
    return None


def parts_of(names: Iterable[str]) -> tuple[Part, ...]:
    """Return the parts that the names are, in name order, what is none left out."""
    return tuple(part for name in sorted(names) if (part := part_of(name)) is not None)


def recognise(names: frozenset[str]) -> Layout | None:
    """Return the files of a DeepSpeed checkpoint among the names in a directory, None without.

    They lie in the directory itself, or in its only folder of them where what is beside it shows
    that the directory is one checkpoint (Hugging Face Trainer, Lightning) and no run of many.
    """
    by_folder: dict[str, list[str]] = {}
    for name in names:
        part = part_of(name)
        if part is not None and "/" not in (folder := _folder(part)):
            by_folder.setdefault(folder, []).append(name)
    if "" in by_folder:
        return Layout("deepspeed", tuple(sorted(by_folder[""])), None)
    if len(by_folder) != 1:
        return None
    [(folder, files)] = by_folder.items()
    wrapped = folder == _LIGHTNING_FOLDER and _LATEST in names
    if not wrapped and not names & _TRAINER_FILES:
        return None
    return Layout("deepspeed", tuple(sorted(files)), _marker(names))


def _marker(names: frozenset[str]) -> str | None:
    return next((name for name in ("trainer_state.json", _LATEST) if name in names), None)


def _folder(part: Part) -> str:
    """Return the folder that a part's checkpoint lies in."""
    outer = part.file.split("/")[:-3] if part.kind == "universal" else part.file.split("/")[:-1]
    return "/".join(outer)


def _part(kind: Kind, file: str, found: dict[str, str | None]) -> Part | None:
    state = found.get("state") or ""
    if state in _UNIVERSAL_SIDE:
        return None
    dp, mp = found.get("dp"), found.get("mp")
    layer, expert = found.get("layer"), found.get("expert")
    return Part(
        kind,
        file,
        None if dp is None else int(dp),
        int(mp or 0),
        int(layer or -1),
        int(expert or -1),
        found.get("name") or "",
        state,
    )
