"""What the ending of a file's name suggests; what the file is, its content says."""

from __future__ import annotations

import re

SAFETENSORS = ".safetensors"
_TORCH = (".pth.tar", ".pt", ".pth", ".bin", ".ckpt", ".th", ".pth.lora", ".pth.adapter")
_WEIGHTS = (SAFETENSORS, *_TORCH, ".npz", ".gguf")
_FOREIGN = (
    ".tar", ".h5", ".hdf5", ".keras", ".msgpack", ".npy", ".pkl", ".pickle", ".nemo", ".onnx",
    ".gz", ".tgz", ".zst", ".distcp",
)  # fmt: skip
_SURE = (SAFETENSORS, ".pth.tar", ".pt", ".pth", ".ckpt")
_BESIDE = re.compile(
    r"(?:^|[-_.])(?:optim|optims|optimizer|optimizers|scheduler|scaler|rng|random[-_]states"
    r"|training[-_]args|sampler|custom[-_]checkpoint|recipe[-_]state|extra[-_]state|train[-_]state"
    r"|trainer[-_]state|dataloader)(?:[-_.0-9]|$)",
    re.IGNORECASE,
)
_OPTIMIZER = re.compile(
    r"(?:^|[-_.])(?:optim|optims|optimizer|optimizers)(?:[-_.0-9]|$)", re.IGNORECASE
)
_BESIDE_STEMS = frozenset({
    "args", "common", "config", "data", "dataset", "meta", "stats", "test", "tokenizer", "tokens",
    "train", "val", "valid", "vocab",
})  # fmt: skip


def is_weights(name: str) -> bool:
    """Return whether a name ends like the files that weights are saved in."""
    return name.lower().endswith(_WEIGHTS)


def is_foreign(name: str) -> bool:
    """Return whether a name ends like a checkpoint of a format that is mostly not read."""
    return name.lower().endswith(_FOREIGN)


def is_surely_weights(name: str) -> bool:
    """Return whether a file of this name that cannot be read is worth an error."""
    return name.lower().endswith(_SURE)


def is_beside(name: str) -> bool:
    """Return whether a name is of a file that is saved beside the weights, not of weights."""
    return without_suffix(name)[0] in _BESIDE_STEMS or _BESIDE.search(name) is not None


def is_optimizer(name: str) -> bool:
    """Return whether a name is of the optimizer's state."""
    return _OPTIMIZER.search(name) is not None


def without_suffix(name: str) -> tuple[str, bool]:
    """Return a name without the suffix of weights, and whether it had one."""
    lower = name.lower()
    for suffix in _WEIGHTS:
        if lower.endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)], True
    return name, False
