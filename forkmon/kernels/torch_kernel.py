"""The torch kernel: on the CPU where numba cannot be imported, and on CUDA devices.

Codes and content hash have the same bits as the CPU kernel's; sums of floats agree with it to
`TOLERANCE`, for every device adds in an order of its own.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from forkmon.kernels import torch_hash, torch_sums, torch_values
from forkmon.kernels.protocol import Bytes, numpy_dtype
from forkmon.kernels.torch_count import Count, counter
from forkmon.kernels.torch_sums import Squares
from forkmon.stats import grids, reduced
from forkmon.stats.blocks import BLOCK, Blocks
from forkmon.stats.codes import SHIFTED_SIZE, Codes, Counts
from forkmon.stats.parts import Part
from forkmon.stats.sketch import WIDTH
from forkmon.stats.summary import Summary

TOLERANCE = 1e-12
"""Of a float sum of one block or span, relative to the sum of its terms' magnitudes."""

HOST_SLICE = 4 * BLOCK
"""Elements that the CPU works on at once: intermediates stay small enough for its caches."""


class Loader(Protocol):
    """Brings bytes to the device, a slice at a time."""

    device: str

    @property
    def slice_elements(self) -> int:
        """Return how many elements to bring at once, a multiple of `BLOCK`."""
        ...

    def load(self, data: Bytes) -> AbstractContextManager[Tensor]:
        """Return the bytes on the device, valid inside the context, where kernels must run."""
        ...

    def computing(self) -> AbstractContextManager[None]:
        """Return a context for work on the device that needs no bytes brought."""
        ...

    def recover(self, error: Exception) -> None:
        """Make room after an error, so that the slice can be tried again; or raise."""
        ...


class HostLoader:
    """The CPU's: bytes are where they are needed."""

    device = "cpu"
    slice_elements = HOST_SLICE

    @contextmanager
    def load(self, data: Bytes) -> Generator[Tensor]:
        """Return the same bytes as a tensor; read-only ones are copied, torch has no such thing."""
        yield torch.as_tensor(data if data.flags.writeable else data.copy())

    @contextmanager
    def computing(self) -> Generator[None]:
        """Return a context without a meaning."""
        yield

    def recover(self, error: Exception) -> None:
        """Raise the error: the CPU's memory is not ours to manage."""
        raise error


class TorchKernel:
    """Exact code tables, prefixes and block moments with torch."""

    def __init__(self, loader: Loader | None = None, *, distribution_only: bool = False) -> None:
        """Count on the CPU, or where `loader` brings the bytes."""
        self._loader: Loader = loader or HostLoader()
        self._distribution_only = distribution_only
        self.name = f"torch on {self._loader.device}"

    def accumulator(self, dtype: str, columns: int = 0) -> TorchAccumulator:
        """Return a fresh accumulator for a stretch of elements of one tensor.

        `columns` is the row length of a matrix; 0 for vectors, which have no channels.
        """
        wanted = 0 if self._distribution_only else columns
        with self._loader.computing():
            return TorchAccumulator(
                dtype, wanted, self._loader, distribution_only=self._distribution_only
            )


@dataclass(frozen=True, slots=True)
class _Found:
    """What one slice adds to the sums."""

    counts: Tensor
    moments: Tensor | None
    digest: Tensor | None
    sketch: Tensor | None
    squares: Squares | None


class TorchAccumulator:
    """Takes chunks that follow one another in one tensor; one a thread."""

    def __init__(
        self, dtype: str, columns: int, loader: Loader, *, distribution_only: bool = False
    ) -> None:
        self._dtype = dtype
        self._item_bytes = numpy_dtype(dtype).itemsize
        self._loader = loader
        self._distribution_only = distribution_only
        self._count: Count = counter(loader.device).count
        self._grid = grids.grid(grids.GRID_OF_DTYPE[dtype])
        self._first = self._size = 0
        self._counts = self._zeros(self._grid.size, torch.int64)
        self._digest = self._zeros(1, torch.int64)
        self._digest_known = not distribution_only
        self._sketch = self._zeros(WIDTH)
        self._columns = self._zeros(columns)
        self._rows: list[tuple[int, Tensor]] = []
        self._moments: list[Tensor] = []

    @property
    def size(self) -> int:
        """Return how many elements it has taken."""
        return self._size

    def add(self, data: Bytes, first: int) -> None:
        """Take the little-endian elements in `data`; `first` is the global index of the first.

        Chunks must follow one another without a gap. An error leaves the sums as they were after
        the last whole slice, which is where `size` stands.
        """
        item = self._item_bytes
        if self._size == 0:
            self._first = first
        elif first != self._first + self._size:
            raise ValueError(f"chunk at element {first}, expected {self._first + self._size}")
        at, end = 0, len(data) // item
        while at < end:
            start = first + at
            room = self._loader.slice_elements
            length = min(room - start % room, end - at)
            try:
                with self._loader.load(data[at * item : (at + length) * item]) as raw:
                    found = self._measured(raw, start)
            except Exception as error:  # noqa: BLE001 -- the loader tells which can be mended
                self._loader.recover(error)
                continue
            with self._loader.computing():
                self._commit(found, length)
            at += length

    def summary(self) -> Summary:
        """Return the summary of everything added."""
        with self._loader.computing():
            counts = self._counts.cpu().numpy()
            digest = int(self._digest.item()) % 2**64 if self._digest_known else None
            full = self._size and not self._distribution_only
            return Summary(
                self._dtype,
                Codes(self._grid.name, counts.copy()),
                self._blocks(),
                (self._part(),) if full else (),
                digest,
            )

    def shifted(self, data: Bytes, pivot: float) -> Counts:
        """Return counts by reduced key of `float32(x - pivot)` over the finite elements."""
        item = self._item_bytes
        total = np.zeros(SHIFTED_SIZE, np.int64)
        at, end = 0, len(data) // item
        while at < end:
            length = min(self._loader.slice_elements, end - at)
            try:
                with self._loader.load(data[at * item : (at + length) * item]) as raw:
                    total += self._shifted(raw, pivot).cpu().numpy()
            except Exception as error:  # noqa: BLE001 -- the loader tells which can be mended
                self._loader.recover(error)
            else:
                at += length
        return total

    def _shifted(self, raw: Tensor, pivot: float) -> Tensor:
        x = torch_values.values(raw, self._dtype)
        x = x[torch.isfinite(x)]
        keys = torch_values.keys(x - pivot, reduced.SHIFT) + reduced.MAX_KEY
        return torch.bincount(keys, minlength=SHIFTED_SIZE)

    def _measured(self, raw: Tensor, first: int) -> _Found:
        """Return what a slice adds; nothing of this object changes, for memory may run out."""
        bits = torch_values.patterns(raw, self._dtype)
        counts = self._count(bits, self._grid.size)
        if self._grid.exact and self._distribution_only:
            return _Found(counts, None, None, None, None)
        x = torch_values.values(raw, self._dtype)
        moments = None if self._grid.exact else torch_sums.block_moments(x, first)
        if self._distribution_only:
            return _Found(counts, moments, None, None, None)
        offset = first * self._item_bytes
        aligned = self._digest_known and offset % torch_hash.KILOBYTE == 0
        if not self._grid.exact:
            x = torch.where(torch.isfinite(x), x, 0.0)
        squares = None
        if len(self._columns):
            squares = torch_sums.channel_squares(x, first, len(self._columns))
        return _Found(
            counts,
            moments,
            torch_hash.digest(raw, offset) if aligned else None,
            torch_sums.sketch_sums(x, first),
            squares,
        )

    def _commit(self, found: _Found, length: int) -> None:
        """Add a slice's sums in place, without asking the device for memory."""
        self._counts.add_(found.counts)
        if found.moments is not None:
            self._moments.append(found.moments)
        if found.digest is None:
            self._digest_known = False
        else:
            self._digest.add_(found.digest)
        if found.sketch is not None:
            self._sketch.add_(found.sketch)
        if found.squares is not None:
            for column, sums in found.squares.columns:
                self._columns[column : column + len(sums)].add_(sums)
            self._rows += found.squares.rows
        self._size += length

    def _blocks(self) -> Blocks:
        if not self._moments:
            return Blocks(np.zeros((0, 6), np.int64), np.zeros((0, 7)))
        table = torch.cat([part.cpu() for part in self._moments]).numpy()
        return Blocks(table[:, :6].astype(np.int64), np.ascontiguousarray(table[:, 6:]))

    def _part(self) -> Part:
        width = len(self._columns)
        first_row = self._first // width if width else 0
        last_row = (self._first + self._size - 1) // width + 1 if width else 0
        rows = np.zeros(last_row - first_row)
        for row, sums in self._rows:
            rows[row - first_row : row - first_row + len(sums)] += sums.cpu().numpy()
        columns = self._columns.cpu().numpy().copy()
        sketch = self._sketch.cpu().numpy().copy()
        return Part(self._first, self._size, sketch, columns, rows, first_row)

    def _zeros(self, size: int, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.zeros(size, dtype=dtype, device=self._loader.device)
