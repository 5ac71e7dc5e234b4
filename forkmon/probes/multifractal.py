"""Multifractal spectrum of balls that grow around nodes: partition sums, tau(q), alpha, f(alpha).

Formulas: NeuroMFA (arXiv 2402.09099). The partition sum is over node-centred balls with the power
q, so tau(0) = 0, f never exceeds 0, and tau here is the standard tau at q + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEP = 0.1
QS: Floats = np.arange(-300, 301, 10) / 100
"""The powers q, from -3 to 3."""

MIDDLE = len(QS) // 2
"""Index of q = 0."""

_BABY = 8
"""Powers of mu^0.1 are made 8 by 8: 16 arrays instead of 61."""

_NODES_AT_ONCE = 256
"""Nodes whose powers are in memory together: they stay in a core's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """What the balls of one population of nodes yield."""

    tau: Floats
    """At `QS`: the slope of ln Z_q(r) on ln(r/R), all radii, unweighted."""
    alpha: Floats
    """Forward differences of tau, one fewer than `QS`."""
    f: Floats
    """q alpha - tau, at the alphas."""
    r_squared: float
    """Of the worst straight line among all q but 0."""
    slopes: Floats
    """Of ln mu_i(r) on ln(r/R): one a node that is kept."""
    kept: NDArray[np.bool_]
    """Which nodes had enough edges."""
    radii: Floats
    """Those of the fit."""

    @property
    def alpha_0(self) -> float:
        """Return dtau/dq at q = 0 in closed form: the mean slope of the nodes."""
        return float(self.slopes.mean())

    @property
    def alpha_0_argmax(self) -> float:
        """Return alpha where f is largest, as published: rounding picks the side of q = 0."""
        return float(self.alpha[np.argmax(self.f)])

    @property
    def width(self) -> float:
        """Return the largest alpha less the smallest."""
        return float(self.alpha.max() - self.alpha.min())


def spectrum(
    counts: NDArray[np.integer], radii: Floats, *, min_edges: int = 11, occupied_only: bool = True
) -> Spectrum | None:  # fmt: skip
    """Return the spectrum of nodes whose edges of each radius class are counted.

    `counts` is (nodes, radii): edges longer than the radius before and at most this one.
    `occupied_only` fits only at radii that some node has an edge at. None where fewer than two
    radii or no node with `min_edges` edges is there: then no slope is defined.
    """
    edges = counts.sum(axis=1)
    kept = edges >= min_edges
    chosen = counts[kept]
    used = chosen.any(axis=0) if occupied_only else np.ones(len(radii), np.bool_)
    if not kept.any() or int(used.sum()) < 2:
        return None
    balls = (1 + np.cumsum(chosen, axis=1, dtype=np.int64))[:, used]
    log_mu = np.log(balls / balls[:, -1:])
    return _fitted(log_mu, radii[used], kept)


def spectrum_of_balls(balls: NDArray[np.integer], radii: Floats) -> Spectrum:
    """Return the spectrum of nodes whose balls hold `balls` (nodes, radii) nodes each."""
    return _fitted(np.log(balls / balls[:, -1:]), radii, np.ones(len(balls), np.bool_))


def _fitted(log_mu: Floats, radii: Floats, kept: NDArray[np.bool_]) -> Spectrum:
    x = np.log(radii / radii[-1])
    x = x - x.mean()
    log_z = np.log(partition_sums(log_mu))
    tau = log_z @ x / (x @ x)
    alpha = np.diff(tau) / np.diff(QS)
    return Spectrum(
        tau=tau,
        alpha=alpha,
        f=QS[:-1] * alpha - tau[:-1],
        r_squared=_worst_r_squared(log_z, tau, x),
        slopes=log_mu @ x / (x @ x),
        kept=kept,
        radii=radii,
    )


def partition_sums(log_mu: Floats) -> Floats:
    """Return Z_q(r), the sum over nodes of mu^q; shapes (nodes, radii) to (qs, radii).

    With t = mu^0.1 every power is mu^-3 t^(8a + b): eight arrays of each kind, and their sums
    over nodes are products of small matrices.
    """
    total = np.zeros((log_mu.shape[1], _BABY * _BABY))
    for first in range(0, len(log_mu), _NODES_AT_ONCE):
        part = np.ascontiguousarray(log_mu[first : first + _NODES_AT_ONCE].T)
        total += _sums(part)
    return np.ascontiguousarray(total[:, : len(QS)].T)


def _sums(log_mu: Floats) -> Floats:
    """Return (radii, 64) sums of one batch of nodes, given as (radii, nodes)."""
    radii, nodes = log_mu.shape
    small = np.empty((radii, _BABY, nodes))
    large = np.empty((radii, _BABY, nodes))
    t = np.exp(STEP * log_mu)
    small[:, 0] = 1.0
    for power in range(1, _BABY):
        np.multiply(small[:, power - 1], t, out=small[:, power])
    t8 = small[:, -1] * t
    np.exp(QS[0] * log_mu, out=large[:, 0])
    for power in range(1, _BABY):
        np.multiply(large[:, power - 1], t8, out=large[:, power])
    sums: Floats = np.matmul(large, small.transpose(0, 2, 1))
    return sums.reshape(radii, _BABY * _BABY)


def _worst_r_squared(log_z: Floats, tau: Floats, x: Floats) -> float:
    centred = log_z - log_z.mean(axis=1, keepdims=True)
    total = (centred**2).sum(axis=1)
    left = ((centred - tau[:, None] * x) ** 2).sum(axis=1)
    told = (np.arange(len(QS)) != MIDDLE) & (total > 0)
    return float((1 - left[told] / total[told]).min()) if told.any() else 1.0
