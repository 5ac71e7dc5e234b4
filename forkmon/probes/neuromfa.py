"""NeuroMFA: how regular and how heterogeneous the network of a model's neurons is.

Neuron-based multifractal analysis (arXiv 2402.09099) as published: the ball around a neuron is
itself and those of its direct outgoing edges that are short enough; an edge's length is 1/|w|.
alpha_0 follows the scale of the weights: the shuffled weights beside it say how far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from forkmon.probes import multifractal, neuromfa_bins
from forkmon.probes.jackknife import Estimate, of_function, of_mean
from forkmon.probes.multifractal import QS, Spectrum
from forkmon.probes.neuromfa_bins import Classes
from forkmon.probes.neuromfa_counts import Counts, Samples, gather
from forkmon.probes.neuromfa_network import Network, network_of
from forkmon.probes.neuromfa_values import (
    Layer,
    Parameters,
    Population,
    Result,
    Sample,
    check,
)
from forkmon.probes.protocol import Declined, Probe, Progress, Subject

READING = 0.7
"""Part of the work that reading and counting is, as progress tells it."""

_Fitted = tuple[int, int, Spectrum]
"""Seed, neurons and the spectrum of one sample."""


def measure(subject: Subject, parameters: Parameters, progress: Progress) -> Result | Declined:
    """Return a checkpoint's spectrum; reads nothing but the rows of sampled neurons."""
    check(parameters)
    progress(0.0, "reading headers")
    network = network_of(subject, parameters.experts)
    if isinstance(network, Declined):
        return network

    def reading(share: float, what: str) -> None:
        progress(READING * share, what)

    samples = gather(network, parameters, subject.read_into, reading)
    progress(READING, "fitting")
    return analysed(network, samples, parameters)


def analysed(network: Network, samples: Samples, parameters: Parameters) -> Result | Declined:
    """Return the result of counted samples."""
    classes = Classes(parameters.mode, parameters.longest)
    first = parameters.first_radius or _first_radius(samples, classes, parameters)
    real = [np.concatenate([nodes.real for nodes in layers]) for layers in samples]
    fits = list(_fits(real, classes, first, parameters))
    if not fits:
        return Declined(
            f"no neuron has {parameters.min_edges} edges with 1 < 1/|w| <= {parameters.longest}, "
            f"in {len(network.matrices):,} matrices of the kind {network.rule}"
        )
    return Result(
        rule=network.rule,
        blocks=len(network.blocks),
        matrices=len(network.matrices),
        left_out=network.left_out,
        edges=sum(nodes.edges for layers in samples for nodes in layers),
        nodes=sum(map(len, real)),
        kept=sum(int(found.kept.sum()) for _, _, found in fits),
        first_radius=float(np.mean([found.radii[0] for _, _, found in fits])),
        q=tuple(QS.tolist()),
        real=_population(fits),
        shuffled=_shuffled(samples, classes, first, parameters),
        layers=tuple(_layers(network, samples, fits)),
    )


def emergence(now: Sequence[Sample], reference: Sequence[Sample]) -> Estimate | None:
    """Return E = w/w' ln(alpha_0'/alpha_0) against a reference's samples, of means over seeds.

    The error is of the paired samples, the jackknife's. None where it is not defined.
    """
    before = {sample.seed: sample for sample in reference}
    pairs = [(sample, before[sample.seed]) for sample in now if sample.seed in before]
    if not pairs:
        return None
    rows = np.array([(a.alpha_0, a.width, b.alpha_0, b.width) for a, b in pairs])
    alpha, _, alpha_before, width_before = rows.mean(axis=0)
    if not (alpha > 0 and alpha_before > 0 and width_before > 0):
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        return of_function(_emergence, rows)


def _emergence(rows: NDArray[np.float64]) -> float:
    alpha, width, alpha_before, width_before = rows.mean(axis=0)
    return float(width / width_before * np.log(alpha_before / alpha))


def _first_radius(samples: Samples, classes: Classes, parameters: Parameters) -> float:
    """Return where the robust radii begin, all samples taken together; 0 in paper mode."""
    if classes.mode == "paper":
        return 0.0
    every = np.concatenate([nodes.real for layers in samples for nodes in layers])
    return neuromfa_bins.first_radius(classes, every, parameters.min_edges)


def _fits(
    samples: Sequence[Counts], classes: Classes, first: float, parameters: Parameters
) -> Iterator[_Fitted]:
    """Yield the spectrum of each sample that has one."""

    def fit(counts: Counts) -> Spectrum | None:
        at_least = parameters.min_edges
        if classes.mode == "paper":
            return multifractal.spectrum(counts, classes.radii(), min_edges=at_least)
        coarse, radii = neuromfa_bins.coarsened(classes, counts, first)
        return multifractal.spectrum(coarse, radii, min_edges=at_least, occupied_only=False)

    with ThreadPoolExecutor(parameters.threads, "forkmon-probe") as pool:
        for seed, found in enumerate(pool.map(fit, samples)):
            if found is not None:
                yield seed, len(samples[seed]), found


def _shuffled(
    samples: Samples, classes: Classes, first: float, parameters: Parameters
) -> Population | None:
    if not parameters.surrogate:
        return None
    counts = [
        np.concatenate([nodes.shuffled for nodes in layers if nodes.shuffled is not None])
        for layers in samples
    ]
    fits = list(_fits(counts, classes, first, parameters))
    return _population(fits) if fits else None


def _population(fits: Sequence[_Fitted]) -> Population:
    spectra = [found for _, _, found in fits]
    tau = np.mean([found.tau for found in spectra], axis=0)
    alpha = np.mean([found.alpha for found in spectra], axis=0)
    f = np.mean([found.f for found in spectra], axis=0)
    return Population(
        alpha_0=of_mean(np.array([found.alpha_0 for found in spectra])),
        width=of_mean(np.array([found.width for found in spectra])),
        alpha_0_argmax=float(np.mean([found.alpha_0_argmax for found in spectra])),
        r_squared=float(np.mean([found.r_squared for found in spectra])),
        tau=tuple(tau.tolist()),
        alpha=tuple(alpha.tolist()),
        f=tuple(f.tolist()),
        samples=tuple(_sample(seed, nodes, found) for seed, nodes, found in fits),
    )


def _sample(seed: int, nodes: int, found: Spectrum) -> Sample:
    return Sample(
        seed=seed,
        alpha_0=found.alpha_0,
        width=found.width,
        alpha_0_argmax=found.alpha_0_argmax,
        r_squared=found.r_squared,
        nodes=nodes,
        kept=int(found.kept.sum()),
        r_min=float(found.radii[0]),
    )


def _layers(network: Network, samples: Samples, fits: Sequence[_Fitted]) -> Iterator[Layer]:
    """Yield the slopes of each layer of neurons, those of all samples together."""
    slopes: dict[tuple[int, str], list[NDArray[np.float64]]] = {}
    for seed, _, found in fits:
        every = np.full(len(found.kept), np.nan)
        every[found.kept] = found.slopes
        first = 0
        for layer in samples[seed]:
            size = len(layer.real)
            key = (layer.block, layer.site)
            slopes.setdefault(key, []).append(every[first : first + size])
            first += size
    for (block, site), found_slopes in slopes.items():
        yield _layer(network.blocks[block], site, np.concatenate(found_slopes))


def _layer(block: str, site: str, slopes: NDArray[np.float64]) -> Layer:
    kept = slopes[np.isfinite(slopes)]
    if not len(kept):
        return Layer(block, site, len(slopes), 0, None, None, None, None)
    low, high = np.quantile(kept, (0.1, 0.9)).tolist()
    return Layer(
        block, site, len(slopes), len(kept), float(kept.mean()), float(kept.std()), low, high
    )


PROBE = Probe("neuromfa", 1, Parameters, Result, measure)
