"""What an alert does not mean, in one sentence a kind: the trap its reader is nearest to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CAVEATS: Mapping[str, str] = {
    "SPLIT": "Two heaps are a shape, not a fault: many healthy runs fork as they learn; "
    "look whether the loss moved at the same step.",
    "MERGE": "One peak does not mean that the weights came back: heaps can also grow into each "
    "other as they widen.",
    "INIT_SPLIT": "This says nothing of the task: Adam's first steps have one size and two signs, "
    "and part every constant start.",
    "REGIME": "A new scale is no damage by itself: a schedule's turn, weight decay or a phase of "
    "learning do the same.",
    "GLOBAL": "Many tensors at once point to one cause outside of them (learning rate, restart, "
    "data), not to many faults.",
    "SHAPE": "Heavier tails are not divergence: a few useful outliers grow in most large models.",
    "DRIFT": "A distribution that changes its form can belong to a function that does not change.",
    "DIVERGE": "Two families of layers are no failure: first, last and middle layers often settle "
    "at different scales.",
    "PEER": "A layer that differs from its kind is not broken: the first and the last one "
    "usually do.",
    "FROZEN": "A still tensor is not always lost: it may be meant to be frozen, or its gradient "
    "may be below what its type can hold.",
    "RUNAWAY": "Fast growth is not yet overflow: the loss can look healthy until the last moment, "
    "and normalised layers can bear it.",
    "NONFINITE": "The tensor named first need not be where it began: one step carries NaN through "
    "the whole model.",
    "DEAD_ROWS": "Rows of zeros are no damage where tokens never occur or a mask prunes them.",
    "OUTLIER_CH": "One large channel is not an error: massive activations of trained models need "
    "it; it matters for quantisation.",
    "SPARSITY": "Zeros that appear together are mostly a mask, a pruning step or an underflow of "
    "the type, not learning.",
    "RANK": "A low rank is not a loss of knowledge: trained matrices concentrate.",
    "TWIN": "Equal tensors may be tied on purpose; they are counted once, so that they do not "
    "confirm each other.",
    "PROVENANCE": "The training itself may be fine: the file under this step's name is not what "
    "it says.",
    "UNREADABLE": "The file may still be being written, or its disk be full: the weights in "
    "memory can be in order.",
    "STALLED": "No new file does not mean that the training died: saving may have become rare, or "
    "the disk slow.",
}
"""Kind -> the sentence."""

UNKNOWN = "An alert tells that something changed, not that it is wrong."


def caveat(kind: str) -> str:
    """Return what an alert of this kind does not mean."""
    return CAVEATS.get(kind, UNKNOWN)
