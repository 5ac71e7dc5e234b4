"""Singular values of every matrix: norm, ranks, the power law of the tail, the noise below it.

Exact for matrices with a short side; for others estimated (see `spectrum_lanczos`) and marked so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forkmon.errors import UsageError
from forkmon.formats.refs import ITEM_BYTES, TensorRef
from forkmon.kernels.protocol import numpy_dtype
from forkmon.probes.protocol import Declined, Probe, Progress, Subject
from forkmon.probes.spectrum_fits import effective_rank, power_law, random_matrix
from forkmon.probes.spectrum_lanczos import Matrix, converged, quadrature, singular_values
from forkmon.stats import grids
from forkmon.stats.names import tree_key
from forkmon.text import safe

Floats = NDArray[np.float64]
Read = Callable[[TensorRef, int, memoryview], None]

BINS = 48
"""Of the density of singular values, from 0 to the norm."""

CHUNK = 1 << 22
"""Elements read at once."""

_FLOATS = frozenset({"bf16", "f16", "f32", "f64", "f8_e4m3", "f8_e5m2"})


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is decomposed, and how."""

    filter: str = ""
    """A regular expression that names must match somewhere."""
    exact: int = 512
    """Longest short side of a matrix whose singular values are all computed."""
    vectors: int = 8
    steps: int = 64
    """Of Lanczos, for each random vector."""


@dataclass(frozen=True, slots=True)
class Row:
    """One matrix; numbers are null where it is all zero or not finite."""

    name: str
    rows: int
    columns: int
    method: Literal["exact", "lanczos"]
    note: str
    """Why there are no numbers; empty where there are."""
    norm: float | None = None
    """The largest singular value."""
    frobenius: float | None = None
    stable_rank: float | None = None
    """||W||_F^2 / ||W||^2."""
    effective_rank: float | None = None
    nuclear: float | None = None
    alpha: float | None = None
    """Of the eigenvalues of W'W; 2 to 6 is usual for trained layers."""
    alpha_begin: float | None = None
    alpha_tail: int | None = None
    alpha_distance: float | None = None
    noise: float | None = None
    """Standard deviation of random elements with the same median singular value."""
    edge: float | None = None
    """Their largest singular value (Marchenko and Pastur)."""
    outliers: int | None = None
    noise_distance: float | None = None
    density: tuple[float, ...] = ()
    """Part of the singular values in each of BINS equal parts of [0, norm]."""


@dataclass(frozen=True, slots=True)
class Result:
    """The spectra of one checkpoint."""

    rows: tuple[Row, ...]
    left_out: int


def measure(subject: Subject, parameters: Parameters, progress: Progress) -> Result | Declined:
    """Return the spectrum of every matrix whose name matches."""
    pattern = _checked(parameters)
    progress(0.0, "reading headers")
    listed = [t for t in subject.logical().tensors if t.role == "model"]
    chosen = [t for t in listed if _is_matrix(t) and pattern.search(t.name)]
    if not chosen:
        return Declined("no matrix of floating point numbers with a name that matches")
    chosen.sort(key=lambda t: tree_key(t.name))
    total = sum(_work(t, parameters) for t in chosen)
    done, rows = 0.0, list[Row]()
    for tensor in chosen:
        share = _work(tensor, parameters) / total
        tick = partial(_tell, progress, done, share, safe(tensor.name, 60))
        rows.append(row_of(tensor, parameters, subject.read_into, tick))
        done += share
    return Result(tuple(rows), len(listed) - len(chosen))


def _tell(progress: Progress, before: float, share: float, what: str, part: float) -> None:
    progress(before + share * part, what)


def row_of(
    tensor: TensorRef, parameters: Parameters, read: Read, tick: Callable[[float], None]
) -> Row:  # fmt: skip
    """Return the spectrum of one matrix."""
    tick(0.0)
    matrix = _read(tensor, read, tick)
    rows, columns = matrix.shape
    method: Literal["exact", "lanczos"] = "exact"
    if min(matrix.shape) > parameters.exact:
        method = "lanczos"
    name = tensor.name
    if not np.isfinite(matrix).all():
        return Row(name, rows, columns, method, "it holds NaN or infinities")
    largest = float(np.abs(matrix).max())
    if largest == 0:
        return Row(name, rows, columns, method, "it is all zero")
    # Squares of float32 must neither vanish nor overflow.
    scaled = matrix / np.float32(largest)
    if method == "exact":
        exact = np.linalg.svd(scaled.astype(np.float64), compute_uv=False)
        values: Floats = exact.astype(np.float64)
        square = float((values**2).sum())
        return _told(name, matrix.shape, method, values, square, largest)
    found = quadrature(scaled, vectors=parameters.vectors, steps=parameters.steps, tick=tick)
    values = singular_values(found, min(matrix.shape))
    if not len(converged(found)):
        values[0] = max(values[0], float(np.sqrt(found.nodes.max())))
    square = float(np.einsum("ij,ij->", scaled, scaled, dtype=np.float64))
    return _told(name, matrix.shape, method, values, square, largest)


def _told(
    name: str,
    shape: tuple[int, ...],
    method: Literal["exact", "lanczos"],
    values: Floats,
    square: float,
    unit: float,
) -> Row:
    """Return a matrix's numbers from its singular values in units of its largest element."""
    tail = power_law(values**2)
    noise = random_matrix(values, (shape[0], shape[1]))
    top = float(values[0])
    counts, _ = np.histogram(values, BINS, (0.0, top))
    return Row(
        name=name,
        rows=shape[0],
        columns=shape[1],
        method=method,
        note="",
        norm=top * unit,
        frobenius=float(np.sqrt(square)) * unit,
        stable_rank=square / top**2,
        effective_rank=effective_rank(values),
        nuclear=float(values.sum()) * unit,
        alpha=tail.alpha if tail else None,
        alpha_begin=tail.begin * unit**2 if tail else None,
        alpha_tail=tail.tail if tail else None,
        alpha_distance=tail.distance if tail else None,
        noise=noise.scale * unit if noise else None,
        edge=noise.edge * unit if noise else None,
        outliers=noise.outliers if noise else None,
        noise_distance=noise.distance if noise else None,
        density=tuple((counts / len(values)).tolist()),
    )


def _read(tensor: TensorRef, read: Read, tick: Callable[[float], None]) -> Matrix:
    """Return a tensor as a matrix of float32, its axes but the first taken as one."""
    found = np.empty(tensor.size, np.float32)
    item = ITEM_BYTES[tensor.dtype]
    for first in range(0, tensor.size, CHUNK):
        tick(0.0)
        raw = np.empty(min(CHUNK, tensor.size - first) * item, np.uint8)
        read(tensor, first, raw.data)
        stored = raw.view(numpy_dtype(tensor.dtype))
        found[first : first + len(stored)] = _values(tensor.dtype, stored)
    return found.reshape(tensor.shape[0], -1)


def _values(dtype: str, stored: NDArray[np.generic]) -> NDArray[np.generic]:
    if stored.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return stored.astype(np.float32)
    if dtype == "bf16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype == "f16":
        return stored.view(np.float16)
    return grids.grid(grids.GRID_OF_DTYPE[dtype]).low[stored.astype(np.intp)]


def _is_matrix(tensor: TensorRef) -> bool:
    if len(tensor.shape) < 2 or tensor.dtype not in _FLOATS or tensor.size == 0:
        return False
    return tensor.shape[0] > 1 and tensor.size > tensor.shape[0]


def _work(tensor: TensorRef, parameters: Parameters) -> float:
    """Return about how long a matrix takes, in multiplications."""
    short = min(tensor.shape[0], tensor.size // tensor.shape[0])
    return tensor.size * (short if short <= parameters.exact else parameters.steps * 4.0)


def _checked(parameters: Parameters) -> re.Pattern[str]:
    for name, value, high in (
        ("exact", parameters.exact, 1 << 14), ("vectors", parameters.vectors, 256),
        ("steps", parameters.steps, 1024),
    ):  # fmt: skip
        if not 2 <= value <= high:
            raise UsageError(f"spectrum: {name}={value}: from 2 to {high:,}")
    try:
        return re.compile(parameters.filter)
    except (re.error, RecursionError, OverflowError) as error:
        text = safe(parameters.filter)
        raise UsageError(f"spectrum: filter={text}: {safe(error)}") from None


PROBE = Probe("spectrum", 1, Parameters, Result, measure)
