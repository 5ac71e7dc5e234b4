"""Singular values of a large matrix without its decomposition: stochastic Lanczos quadrature.

From random vectors v, Lanczos on the smaller Gram matrix gives nodes and weights with which
v' f(W'W) v is a short sum; their mean over vectors estimates the trace of f (Ubaru, Chen and Saad,
SIAM J. Matrix Anal. Appl. 38, 2017). The largest singular values converge by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]

SEED = 20_240_701
"""Of the random vectors; a constant, so that steps compare."""

CONVERGED = 1e-5
"""Largest residual of a Ritz value, relative to itself, that counts as an eigenvalue."""


NOTHING = 1e-14
"""A weight of a node that is left over from an exhausted Krylov space."""


@dataclass(frozen=True, slots=True, eq=False)
class Quadrature:
    """Nodes (eigenvalues, ascending) and weights of each random vector: (vectors, steps)."""

    nodes: Floats
    weights: Floats
    residuals: Floats
    """Of each node as an eigenvalue."""


def quadrature(
    matrix: Matrix, *, vectors: int, steps: int, tick: Callable[[float], None]
) -> Quadrature:  # fmt: skip
    """Return the quadrature of the smaller Gram matrix; `tick` hears the part done."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    size = tall.shape[1]
    steps = min(steps, size)
    rng = np.random.default_rng(SEED)
    start = rng.choice(np.array([-1.0, 1.0]), (size, vectors)) / np.sqrt(size)
    basis = np.zeros((steps, size, vectors))
    diagonal, beside = np.zeros((steps, vectors)), np.zeros((steps, vectors))
    basis[0] = start
    for step in range(steps):
        tick(step / steps)
        short = basis[step].astype(np.float32)
        after = (tall.T @ (tall @ short)).astype(np.float64)
        diagonal[step] = (after * basis[step]).sum(axis=0)
        after = _orthogonal(after, basis[: step + 1])
        beside[step] = np.sqrt((after**2).sum(axis=0))
        if step + 1 < steps:
            basis[step + 1] = _divided(after, beside[step], diagonal[0])
    return _solved(diagonal, beside)


def _orthogonal(after: Floats, basis: Floats) -> Floats:
    """Return what is orthogonal to all vectors before: twice, for one pass leaves rounding."""
    for _ in range(2):
        along = np.einsum("sdv,dv->sv", basis, after)
        after = after - np.einsum("sdv,sv->dv", basis, along)
    return after


def _divided(after: Floats, norm: Floats, scale: Floats) -> Floats:
    """Return unit vectors; zeros where the Krylov space is exhausted."""
    alive = norm > 1e-6 * np.abs(scale)
    return np.where(alive, after / np.where(alive, norm, 1.0), 0.0)


def _solved(diagonal: Floats, beside: Floats) -> Quadrature:
    steps, vectors = diagonal.shape
    nodes, weights, residuals = (np.zeros((vectors, steps)) for _ in range(3))
    for vector in range(vectors):
        triangle = np.diag(diagonal[:, vector])
        off = beside[:-1, vector]
        triangle += np.diag(off, 1) + np.diag(off, -1)
        values, parts = np.linalg.eigh(triangle)
        nodes[vector] = np.maximum(values, 0.0)
        weights[vector] = parts[0] ** 2
        residuals[vector] = np.abs(beside[-1, vector] * parts[-1])
    return Quadrature(nodes, weights, residuals)


def singular_values(found: Quadrature, size: int) -> Floats:
    """Return estimates of all `size` singular values, descending: quantiles, mean over vectors.

    Those at the top that have converged are eigenvalues, not estimates.
    """
    at = np.linspace(0.5 / size, 1 - 0.5 / size, size)
    every: Floats = np.zeros(size)
    for nodes, weights in zip(np.sqrt(found.nodes), found.weights, strict=True):
        every += _quantiles(at, nodes, weights)
    values = np.flip(every / len(found.nodes)).copy()
    top = converged(found)
    values[: len(top)] = top
    return np.minimum.accumulate(values)


def _quantiles(at: Floats, nodes: Floats, weights: Floats) -> Floats:
    real = weights > NOTHING
    # Between two nodes the law is not known: a straight line through the middle of each step.
    middle = np.cumsum(weights[real]) - weights[real] / 2
    found: Floats = np.interp(at, middle, nodes[real])
    return found


def converged(found: Quadrature) -> Floats:
    """Return the singular values at the top that some vector found, descending."""
    best = np.zeros(0)
    for nodes, residuals, weights in zip(
        found.nodes, found.residuals, found.weights, strict=True
    ):  # fmt: skip
        sure = (residuals <= CONVERGED * nodes) & (weights > NOTHING)
        count = len(sure) if sure.all() else int(np.argmin(sure[::-1]))
        if count > len(best):
            best = np.sqrt(nodes[::-1][:count])
    return best
