"""What trainers call the usual numbers: one name for the loss, the gradient norm, the rate."""

from __future__ import annotations

import re
from collections.abc import Mapping

LOSS, GRAD_NORM, RATE, EVAL_LOSS = "loss", "grad_norm", "learning_rate", "eval_loss"

USUAL: tuple[str, ...] = (LOSS, RATE, GRAD_NORM, EVAL_LOSS)
"""The numbers that have one name whatever the trainer, the most telling first."""

_KNOWN: dict[str, tuple[str, ...]] = {
    LOSS: (
        "loss", "train/loss", "train_loss", "loss/train", "training_loss", "training/loss",
        "train/train_loss", "train_loss_step", "train/loss_step", "loss_step", "losses/train",
        "lm_loss", "train/lm_loss", "train/ce_loss", "train/crossentropyloss", "total_loss",
        "train/total_loss", "loss/train/total", "loss_metrics/global_avg_loss", "loss/total",
        "train_inner/loss", "epoch_loss", "train/epoch_loss", "train_loss_epoch",
        "train/loss_epoch", "loss_epoch",
    ),
    RATE: (
        "learning_rate", "lr", "train/learning_rate", "train/lr", "lr/pg0", "base_lr",
        "optim/learning_rate_group0", "optim/lr", "charts/learning_rate", "train_inner/lr",
        "lr/group0", "optimizer/lr", "trainer/lr",
    ),
    GRAD_NORM: (
        "grad_norm", "train/grad_norm", "gradient_norm", "train/gradient_norm", "gnorm",
        "train_inner/gnorm", "grad_norm/total", "total_grad_norm", "optim/total_grad_norm",
        "global_grad_norm", "train/global_grad_norm", "gradients/global_norm", "grad/norm",
        "grad_2_0_norm_total", "grad_2_norm_total", "grad_2_0_norm/total", "grad_2_norm",
        "l2_norm/grad/global", "optim/grad_norm", "train/grad/norm",
    ),
    EVAL_LOSS: (
        "eval_loss", "eval/loss", "val_loss", "val/loss", "valid_loss", "valid/loss",
        "validation_loss", "validation/loss", "loss/val", "loss/valid", "loss/validation",
        "loss/eval", "lm_loss_validation", "validation/epoch_loss", "val/epoch_loss",
        "val_loss_epoch", "valid/loss_epoch",
    ),
}  # fmt: skip

_RANK: dict[str, tuple[str, int]] = {
    tag: (name, rank) for name, tags in _KNOWN.items() for rank, tag in enumerate(tags)
}
_SEPARATORS = re.compile(r"[\s\-.:|]+")
# `lr-AdamW`, `lr-AdamW/pg1-momentum` is a momentum: Lightning's LearningRateMonitor.
_RATE_OF = re.compile(r"lr_[a-z0-9_]+(?:/(?:pg|group)[0-9]+)?(?<!momentum)(?<!decay)$")


def canonical(tag: str) -> str:
    """Return the usual name of what a trainer calls `tag`; `tag` itself where it has none."""
    return _rank(tag)[0] or tag


def usual(sizes: Mapping[str, int]) -> dict[str, str]:
    """Return for each of `USUAL` that was logged the trainer's own name of it.

    `sizes` are the logged names with their numbers of points; of several names the one with the
    most counts, then the more common one.
    """
    best: dict[str, tuple[int, int, str]] = {}
    for tag, size in sizes.items():
        name, rank = _rank(tag)
        found = (-size, rank, tag)
        if name and (name not in best or found < best[name]):
            best[name] = found
    return {name: best[name][2] for name in USUAL if name in best}


def _rank(tag: str) -> tuple[str, int]:
    """Return a tag's usual name ("" for none) and how common this way to write it is."""
    plain = _SEPARATORS.sub("_", tag.strip().lower())
    if plain in _RANK:
        return _RANK[plain]
    return (RATE, len(_RANK)) if _RATE_OF.match(plain) else ("", 0)
