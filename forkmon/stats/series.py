"""What a detector or a curve sees: one tensor's columns over steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forkmon.stats.channels import Channels
    from forkmon.stats.modality import Modality


@dataclass(frozen=True, slots=True)
class Series:
    """Parallel columns of one tensor in (segment, step) order; a missing number is None."""

    tensor: str
    """Its name; `roles.qualified` in a stream of several roles."""
    steps: tuple[int, ...]
    values: Mapping[str, tuple[float | None, ...]]
    """Statistic name (see `row.STATISTICS`, and `n`) -> one value a step.

    From the Sketch, where asked for: `update`, the L2 norm of the change since the previous step
    of its lineage, `drift`, since the first, and `return_jump`, between the steps before and after.
    """
    segments: tuple[int, ...] = ()
    """The segment of each step; empty where all are of one."""
    digests: tuple[int | None, ...] = ()
    """Content hash at each step; empty where not asked for."""
    modality: Mapping[str, tuple[Modality | None, ...]] = field(
        default_factory=dict[str, "tuple[Modality | None, ...]"]
    )
    """By view: `elements`, `rows` (their norms), `columns`."""
    channels: tuple[Channels | None, ...] = ()
    """Row and column norms at each step; empty where not asked for."""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    role: str = "model"
