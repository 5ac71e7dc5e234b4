"""Counting the edges of sampled neurons by length, block by block on a few threads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import numpy as np
from numpy.typing import NDArray

from forkmon.probes.neuromfa_bins import Classes, counted
from forkmon.probes.neuromfa_network import Matrix, Network
from forkmon.probes.neuromfa_sampling import SITES, Edges, Plan, Read, Site, edges
from forkmon.probes.neuromfa_values import Parameters
from forkmon.probes.protocol import Progress

Counts = NDArray[np.int32]

SHUFFLES = 20_240_209
"""Seed of the surrogates; a constant, so that they compare over steps."""


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """One layer of neurons in one sample: edges by neuron and class of length."""

    block: int
    site: Site
    node: int
    real: Counts
    shuffled: Counts | None
    edges: int

    def plus(self, other: Nodes) -> Nodes:
        """Return the same neurons with the edges of another matrix added."""
        both = None
        if self.shuffled is not None and other.shuffled is not None:
            both = self.shuffled + other.shuffled
        total = self.edges + other.edges
        return Nodes(self.block, self.site, self.node, self.real + other.real, both, total)


Samples = list[list[Nodes]]
"""For each seed, its layers of neurons in order."""


def gather(network: Network, parameters: Parameters, read: Read, progress: Progress) -> Samples:
    """Return the counts of every layer of neurons, seed by seed."""
    plan = Plan(parameters.s, parameters.samples if parameters.s else 1)
    blocks: dict[int, list[tuple[int, Matrix]]] = {}
    for place, matrix in enumerate(network.matrices):
        # Without roles there are no blocks: each matrix is counted by itself.
        key = place if matrix.role == "other" else matrix.block
        blocks.setdefault(key, []).append((place, matrix))
    stop = Event()

    def block(matrices: list[tuple[int, Matrix]]) -> Samples:
        return [] if stop.is_set() else _block(matrices, plan, parameters, read)

    samples: Samples = [[] for _ in range(plan.seeds)]
    with ThreadPoolExecutor(parameters.threads, "forkmon-probe") as pool:
        try:
            for done, found in enumerate(pool.map(block, blocks.values()), 1):
                for sample, layers in zip(samples, found, strict=True):
                    sample.extend(layers)
                progress(done / len(blocks), f"block {done:,} of {len(blocks):,}")
        finally:
            stop.set()
    return samples


def _block(
    matrices: Sequence[tuple[int, Matrix]], plan: Plan, parameters: Parameters, read: Read
) -> Samples:  # fmt: skip
    layers: list[dict[tuple[Site, int], Nodes]] = [{} for _ in range(plan.seeds)]
    classes = Classes(parameters.mode, parameters.longest)
    for place, matrix in matrices:
        for seed, part in enumerate(edges(matrix, place, plan, read)):
            key = (place, seed) if parameters.surrogate else None
            nodes = _counted(matrix, part, classes, key)
            before = layers[seed].get((part.site, part.node))
            layers[seed][part.site, part.node] = nodes if before is None else before.plus(nodes)
    order = {site: at for at, site in enumerate(SITES)}
    return [[one[key] for key in sorted(one, key=lambda k: (order[k[0]], k[1]))] for one in layers]


def _counted(
    matrix: Matrix, part: Edges, classes: Classes, shuffle: tuple[int, int] | None
) -> Nodes:  # fmt: skip
    found = classes.of(matrix.tensor.dtype, part.values)
    real = counted(classes, found).astype(np.int32)
    shuffled = None
    if shuffle is not None:
        draw = np.random.RandomState([SHUFFLES, *shuffle])
        mixed = draw.permutation(found.ravel()).reshape(found.shape)
        shuffled = counted(classes, mixed).astype(np.int32)
    return Nodes(matrix.block, part.site, part.node, real, shuffled, found.size)
