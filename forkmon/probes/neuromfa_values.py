"""What NeuroMFA takes and gives: parameters, samples, layers, the result."""

from __future__ import annotations

from dataclasses import dataclass

from forkmon.errors import UsageError
from forkmon.probes.jackknife import Estimate
from forkmon.probes.neuromfa_bins import Mode


@dataclass(frozen=True, slots=True)
class Parameters:
    """The published choices; results of other ones, of another s above all, do not compare."""

    mode: Mode = "paper"
    s: int = 32
    """Neurons taken of each layer (twice as many of hidden ones); 0 for all."""
    samples: int = 10
    """Networks sampled, with seeds 0, 1, ...: the same neurons at every step."""
    min_edges: int = 11
    """Neurons with fewer edges of a length in (1, longest] are left out."""
    longest: int = 150
    surrogate: bool = True
    """Also analyse the same weights shuffled: what that shows is scale."""
    experts: int = 8
    """Experts taken of each block, at most."""
    first_radius: float = 0.0
    """Where the robust mode's radii begin; 0: where half of the balls hold 4 neurons."""
    threads: int = 2


_RANGES = {
    "s": (0, 1 << 20),
    "samples": (1, 1000),
    "min_edges": (1, 1 << 20),
    "longest": (3, 250),
    "experts": (1, 4096),
    "threads": (1, 64),
}


def check(parameters: Parameters) -> None:
    """Raise UsageError for parameters that make no sense."""
    for name, (low, high) in _RANGES.items():
        value = getattr(parameters, name)
        if not low <= value <= high:
            raise UsageError(f"neuromfa: {name}={value}: from {low:,} to {high:,}")
    if parameters.first_radius and not 1 < parameters.first_radius < parameters.longest:
        raise UsageError(f"neuromfa: first_radius={parameters.first_radius}: above 1")


@dataclass(frozen=True, slots=True)
class Sample:
    """The metrics of one sampled network."""

    seed: int
    alpha_0: float
    width: float
    alpha_0_argmax: float
    """As published: on which side of q = 0 it is read, rounding decides."""
    r_squared: float
    nodes: int
    kept: int
    r_min: float


@dataclass(frozen=True, slots=True)
class Layer:
    """The slopes of one layer of neurons, over all samples."""

    block: str
    site: str
    """`stream`, `heads`, `middle`, `hidden`; `own` for a matrix of no known role."""
    nodes: int
    kept: int
    mean: float | None
    std: float | None
    low: float | None
    """A tenth of the slopes is below."""
    high: float | None
    """A tenth is above."""


@dataclass(frozen=True, slots=True)
class Population:
    """The spectrum of the real weights, or of the shuffled ones: means over the samples."""

    alpha_0: Estimate
    """In closed form, the mean slope of the neurons; smaller is more regular."""
    width: Estimate
    """The largest alpha less the smallest for q in [-3, 3]: heterogeneity."""
    alpha_0_argmax: float
    r_squared: float
    """Of the worst line of each sample; far below 1 there is no power law."""
    tau: tuple[float, ...]
    alpha: tuple[float, ...]
    """Forward differences: one fewer than q, as is f."""
    f: tuple[float, ...]
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """The multifractal analysis of one checkpoint."""

    rule: str
    """What the model was taken for: gpt-neox, gpt-2, llama, transformer; `any` for no known one."""
    blocks: int
    matrices: int
    left_out: int
    """Matrices in blocks whose role is not known."""
    edges: int
    """Weights looked at, all samples together."""
    nodes: int
    """Neurons of all samples together."""
    kept: int
    first_radius: float
    """The smallest radius of the fit, mean over the samples."""
    q: tuple[float, ...]
    real: Population
    shuffled: Population | None
    layers: tuple[Layer, ...]
