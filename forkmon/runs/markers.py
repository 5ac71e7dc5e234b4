"""The files that trainers write last, and the notes beside checkpoints that name the newest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from forkmon.runs.looking import Stats
from forkmon.runs.refs import FilePrint
from forkmon.runs.settling import Marker, marker_of
from forkmon.runs.steps import TRAINER_STATE

_INSIDE = (
    TRAINER_STATE,  # transformers
    "recipe_state.pt",  # torchtune, but for the last checkpoint
    "meta.pt",  # Lightning and Fabric, sharded
    ".metadata.json",  # OLMo-core
    "metadata.json",  # Megatron's distributed checkpoints
    "hyperparameters.yaml",  # LitGPT
    "random_states_0.pkl",  # Accelerate
    "checkpoint_metadata.json",  # nanotron
)
_MARKS = frozenset({*_INSIDE, ".metadata"})
_TRACKERS = (
    "latest",  # DeepSpeed
    "latest_checkpointed_iteration.txt",  # Megatron, verl
    "last_checkpoint",  # detectron2, mmengine
)
_TRACKER_CAP = 4096


def inside(directory: Path, names: frozenset[str]) -> tuple[Path, ...]:
    """Return the markers that are in a checkpoint's directory."""
    return tuple(directory / name for name in _INSIDE if name in names)


def required(directory: Path, names: frozenset[str], called: str) -> Path | None:
    """Return the marker that must be there before the directory is finished, None for most.

    `names` are all below the directory; `called` is what the directory is called.
    """
    top = {name.partition("/")[0] for name in names}
    if {"model_and_optim", "train"} <= top:
        return directory / ".metadata.json"
    if called.endswith((".ckpt", ".pth")) and ".metadata" in top:
        return directory / "meta.pt"
    inner = next((n for n in top if n.endswith(".pth") and f"{n}/.metadata" in names), None)
    return None if inner is None else directory / inner / "meta.pt"


def beside(directory: Path, names: frozenset[str]) -> tuple[Path, ...]:
    """Return the notes in the directory that holds checkpoints."""
    return tuple(directory / name for name in _TRACKERS if name in names)


def beside_file(directory: Path, stem: str, names: frozenset[str]) -> tuple[Path, ...]:
    """Return the marker of a checkpoint that is one file: nanochat's meta_N.json."""
    name = f"meta_{stem.rpartition('_')[2]}.json"
    return (directory / name,) if stem.startswith("model_") and name in names else ()


def newest_data(files: Iterable[Path], prints: Iterable[FilePrint], marks: Iterable[Path]) -> int:
    """Return when the data of a checkpoint were last written, its markers left out."""
    left_out = set(marks)
    times = [
        seen.mtime_ns
        for path, seen in zip(files, prints, strict=True)
        if path not in left_out and path.name not in _MARKS
    ]
    return max(times, default=0)


def state_of(
    newest_ns: int,
    *,
    markers: Iterable[Path],
    must: Iterable[Path],
    trackers: Iterable[Path],
    names: Callable[[str], bool],
    stats: Stats,
) -> Marker:
    """Return what all of a checkpoint's markers say; a tracker counts where it `names` it."""
    needed = [_mtime(path, stats) for path in must]
    if None in needed:
        return "stale"
    times = [*needed, *(_mtime(path, stats) for path in markers)]
    times += [_mtime(path, stats) for path in trackers if names(_text(path))]
    return marker_of(newest_ns, [time for time in times if time is not None])


def _mtime(path: Path, stats: Stats) -> int | None:
    found = stats.of(path)
    return None if isinstance(found, OSError) else found.st_mtime_ns


def _text(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW)
    except (OSError, ValueError):
        return ""
    try:
        return os.read(fd, _TRACKER_CAP).decode("utf-8", "replace").strip()
    except OSError:
        return ""
    finally:
        os.close(fd)
