"""What pruning by magnitude would cost: the energy that a model's small weights hold.

Weights alone cannot show that pruning is harmless, only how little of the weights it takes away.
A Gaussian tensor gives up 1 % of its energy with its smallest 26.5 % of weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from forkmon.errors import UsageError
from forkmon.formats.refs import TensorRef
from forkmon.probes.protocol import Declined, Probe, Progress, Subject
from forkmon.probes.pruning_ladder import Floats, Ladder, Tallies, Tally, ladder, together
from forkmon.probes.pruning_pass import NO_PATTERN, Passed, Pattern, passed
from forkmon.probes.pruning_rounding import TARGETS
from forkmon.stats import grids
from forkmon.stats.names import ancestors, tree_key
from forkmon.text import safe

FRACTIONS: Final = (
    0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85,
    0.9, 0.95, 0.99,
)  # fmt: skip
"""Parts of the elements that are pruned, smallest first, in every curve."""

_FLOATS = frozenset({"bf16", "f16", "f32", "f64", "f8_e4m3", "f8_e5m2"})

Kind = Literal["tensor", "block"]


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is pruned."""

    matrices_only: bool = True
    """Leave vectors (gains, biases) alone, as pruning does."""
    share: float = 0.01
    """Of the energy, that `prunable` may take."""


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor, or a block with one threshold for all its tensors; the model is block ''."""

    name: str
    kind: Kind
    n: int
    nonfinite: int
    """Left out of everything else."""
    zeros: int
    gini: float | None
    hoyer: float | None
    prunable: float | None
    """The largest part of the elements that holds no more than `share` of the energy."""
    threshold: float | None
    """The largest magnitude among those."""
    spike: float | None
    """Part of the elements below a hundredth of the root mean square; a Gaussian has .8 %."""
    spike_energy: float | None
    kept: tuple[float, ...]
    """Part of the energy that stays when `FRACTIONS` are pruned; empty without energy."""
    two_four: float | None
    """Part of the groups of four along the inputs with two zeros or more; None for vectors."""
    empty_tiles: float | None
    """Part of the 32 x 32 tiles that are all zero."""
    int8: float | None
    """Relative error of rounding, ||q(w) - w|| / ||w||, one scale a tensor."""
    int4: float | None
    fp8: float | None
    bf16: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """Sparsity of one checkpoint."""

    fractions: tuple[float, ...]
    rows: tuple[Row, ...]
    """In tree order, a block before its tensors; the first is the model."""
    uniform: tuple[float, ...]
    """Part of the model's energy that stays when each tensor loses the same fraction."""
    tensors: int
    left_out: int
    """Vectors, and what is no floating point number."""

    @property
    def model(self) -> Row:
        """Return the row of the whole model."""
        return self.rows[0]


@dataclass(frozen=True, slots=True)
class Block:
    """What tensors together hold."""

    tallies: Tallies = field(default_factory=dict[str, Tally])
    nonfinite: int = 0
    pattern: Pattern = NO_PATTERN
    errors: tuple[float, ...] = (0.0,) * len(TARGETS)

    def plus(self, other: Block) -> Block:
        """Return both together."""
        return Block(
            together(self.tallies, other.tallies),
            self.nonfinite + other.nonfinite,
            self.pattern.plus(other.pattern),
            tuple(a + b for a, b in zip(self.errors, other.errors, strict=True)),
        )


def block_of(found: Passed) -> Block:
    """Return a tensor as a block of one."""
    errors = tuple(found.errors[target] for target in TARGETS)
    return Block({found.grid: found.tally}, found.nonfinite, found.pattern, errors)


def measure(subject: Subject, parameters: Parameters, progress: Progress) -> Result | Declined:
    """Return a checkpoint's sparsity; reads every byte of what it looks at."""
    if not 0 < parameters.share < 1:
        raise UsageError(f"pruning: share={parameters.share:g}: between 0 and 1")
    progress(0.0, "reading headers")
    listed = [t for t in subject.logical().tensors if t.role == "model"]
    chosen = [t for t in listed if _may_be_pruned(t, parameters)]
    if not chosen:
        return Declined("no matrix of floating point numbers; it looks for tensors of two axes")
    chosen.sort(key=lambda t: tree_key(t.name))
    tree = _Tree(parameters)
    meter = _Meter(sum(_to_read(t) for t in chosen), progress)
    for tensor in chosen:
        meter.what = safe(tensor.name, 60)
        tree.add(tensor, block_of(passed(tensor, subject.read_into, meter.took)))
    left_out = len(listed) - len(chosen)
    return Result(FRACTIONS, tree.rows(), tree.uniform(), len(chosen), left_out)


def row_of(name: str, kind: Kind, block: Block, parameters: Parameters) -> Row:
    """Return the numbers of a block."""
    rungs = ladder(block.tallies)
    prunable = rungs.prunable(parameters.share)
    spike = rungs.spike()
    energy = rungs.total
    int8, int4, fp8, bf16 = (
        float(np.sqrt(error / energy)) if energy > 0 else None for error in block.errors
    )
    pattern = block.pattern
    return Row(
        name=name,
        kind=kind,
        n=rungs.n + block.nonfinite,
        nonfinite=block.nonfinite,
        zeros=rungs.zeros(),
        gini=rungs.gini(),
        hoyer=rungs.hoyer(),
        prunable=prunable[0] if prunable else None,
        threshold=prunable[1] if prunable else None,
        spike=spike[0] if spike else None,
        spike_energy=spike[1] if spike else None,
        kept=tuple((1 - lost_energy(rungs) / energy).tolist()) if energy > 0 else (),
        two_four=pattern.two_four / pattern.groups if pattern.groups else None,
        empty_tiles=pattern.empty_tiles / pattern.tiles if pattern.tiles else None,
        int8=int8,
        int4=int4,
        fp8=fp8,
        bf16=bf16,
    )


def lost_energy(rungs: Ladder) -> Floats:
    """Return the energy that goes when each of `FRACTIONS` of the elements is pruned."""
    return rungs.energy_below(np.floor(np.array(FRACTIONS) * rungs.n))


class _Tree:
    """Tensors in tree order on their way to rows: only the blocks around the last are open."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._open: dict[str, Block] = {}
        self._rows: dict[tuple[Kind, str], Row | None] = {}
        self._lost = np.zeros(len(FRACTIONS))
        self._energy = 0.0

    def add(self, tensor: TensorRef, alone: Block) -> None:
        """Take the next tensor."""
        around = list(ancestors(tensor.name))
        self._close(around)
        for name in around:
            self._rows.setdefault(("block", name), None)
            self._open[name] = self._open.get(name, Block()).plus(alone)
        self._rows["tensor", tensor.name] = row_of(tensor.name, "tensor", alone, self._parameters)
        rungs = ladder(alone.tallies)
        self._lost += lost_energy(rungs)
        self._energy += rungs.total

    def rows(self) -> tuple[Row, ...]:
        """Return all rows, once every tensor was taken."""
        self._close([])
        return tuple(row for row in self._rows.values() if row is not None)

    def uniform(self) -> tuple[float, ...]:
        """Return what stays when every tensor loses the same fraction."""
        return tuple((1 - self._lost / self._energy).tolist()) if self._energy > 0 else ()

    def _close(self, around: list[str]) -> None:
        for name in [name for name in self._open if name not in around]:
            found = self._open.pop(name)
            self._rows["block", name] = row_of(name, "block", found, self._parameters)


class _Meter:
    """Tells how far the reading is."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.what = ""
        self._total = total
        self._done = 0
        self._progress = progress

    def took(self, size: int) -> None:
        """Count bytes that were read."""
        self._done += size
        self._progress(self._done / self._total, self.what)


def _to_read(tensor: TensorRef) -> int:
    exact = grids.grid(grids.GRID_OF_DTYPE[tensor.dtype]).exact
    return max(1, tensor.bytes * (1 if exact else 2))


def _may_be_pruned(tensor: TensorRef, parameters: Parameters) -> bool:
    long = len(tensor.shape) > 1 or not parameters.matrices_only
    return long and tensor.dtype in _FLOATS and tensor.size > 0


PROBE = Probe("pruning", 1, Parameters, Result, measure)
