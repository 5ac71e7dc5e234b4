"""Float sums on any torch device: block moments, sketch, and squares by row and column."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from forkmon.stats import sketch
from forkmon.stats.blocks import BLOCK
from forkmon.stats.sketch import WIDTH

COLUMNS = 13
"""Of a row of block numbers: start, span, then n, zeros, NaN, Inf and the seven floats."""


@dataclass(frozen=True, slots=True)
class Tile:
    """`rows` whole periods of a slice, or a piece of one: `width` elements a row."""

    offset: int
    """In the slice."""
    first: int
    """Global index."""
    rows: int
    width: int

    def of(self, x: Tensor) -> Tensor:
        """Return the tile's elements as a matrix."""
        return x[self.offset : self.offset + self.rows * self.width].view(self.rows, self.width)


def tiles(first: int, size: int, period: int) -> list[Tile]:
    """Return elements [first, first + size) cut at the multiples of `period`: at most 3 tiles."""
    head = min(-first % period, size)
    body = (size - head) // period
    tail = size - head - body * period
    found: list[Tile] = []
    if head:
        found.append(Tile(0, first, 1, head))
    if body:
        found.append(Tile(head, first + head, body, period))
    if tail:
        found.append(Tile(size - tail, first + size - tail, 1, tail))
    return found


def block_moments(x: Tensor, first: int) -> Tensor:
    """Return one row of `COLUMNS` float64 numbers for each block, or piece of one."""
    return torch.cat([_moments(tile.of(x), tile) for tile in tiles(first, len(x), BLOCK)])


def _moments(x: Tensor, tile: Tile) -> Tensor:
    finite = torch.isfinite(x)
    n = finite.sum(1)
    clean = torch.where(finite, x, 0.0)
    nan = torch.isnan(x).sum(1)
    zeros = (x == 0).sum(1)
    low = torch.where(finite, x, torch.inf).amin(1)
    high = torch.where(finite, x, -torch.inf).amax(1)
    some = n.clamp(min=1)
    mean = torch.where(low < high, clean.sum(1) / some, low)
    mean_abs = clean.abs_().sum(1) / some
    del clean
    d = torch.where(finite, x - mean[:, None], 0.0)
    squares = d * d
    real = [mean, squares.sum(1) / some]
    real.append(d.mul_(squares).sum(1) / some)
    real += [squares.mul_(squares).sum(1) / some, low, high, mean_abs]
    start = torch.arange(tile.rows, device=x.device, dtype=torch.float64) * tile.width + tile.first
    counts = [n, zeros, nan, tile.width - n - nan]
    out = torch.stack([start, torch.full_like(start, tile.width), *counts, *real], 1)
    out[:, 6:] = torch.where((n > 0)[:, None], out[:, 6:], 0.0)
    return out


def sketch_sums(x: Tensor, first: int) -> Tensor:
    """Return the 256 sums of finite values (see `stats.sketch`).

    Each run is turned by its own rotation through a gather and then added: no atomics, so one
    device gives the same bits every time.
    """
    total = torch.zeros(WIDTH, dtype=torch.float64, device=x.device)
    for tile in tiles(first, len(x), WIDTH):
        rotation, sign = _rotations(tile, x.device)
        place = tile.first % WIDTH
        buckets = torch.arange(WIDTH, device=x.device)
        if tile.width < WIDTH:
            into = (buckets[place : place + tile.width] + rotation) & (WIDTH - 1)
            signs = _signs(str(x.device))[tile.first // WIDTH % len(_signs(str(x.device)))]
            piece = tile.of(x)[0] * signs[place : place + tile.width]
            total[into] += piece * sign
            continue
        signs = _signs_of_rows(tile, x.device)
        signed = (tile.of(x) * signs).mul_(sign[:, None])
        source = (buckets - rotation[:, None]) & (WIDTH - 1)
        total += signed.gather(1, source).sum(0)
    return total


def _rotations(tile: Tile, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the rotation and the sign of each run of a tile."""
    coded = sketch.runs(tile.first // WIDTH, tile.rows)
    rotation = torch.as_tensor(coded % WIDTH).to(device)
    sign = torch.as_tensor(np.where(coded >= 2 * WIDTH, -1.0, 1.0)).to(device)
    return rotation, sign


def _signs_of_rows(tile: Tile, device: torch.device) -> Tensor:
    table = _signs(str(device))
    at = torch.arange(tile.rows, device=device) + tile.first // WIDTH
    return table[at % len(table)]


@cache
def _signs(device: str) -> Tensor:
    """Return the fixed signs as (256 runs, 256), float32."""
    return torch.as_tensor(sketch.signs()).view(-1, WIDTH).to(device)


@dataclass(frozen=True, slots=True)
class Squares:
    """Sums of squares of one slice."""

    columns: list[tuple[int, Tensor]]
    """(first column, sums)."""
    rows: list[tuple[int, Tensor]]
    """(first row, sums)."""


def channel_squares(x: Tensor, first: int, width: int) -> Squares:
    """Return the squares of finite values, added by row and by column of `width` columns."""
    found = Squares([], [])
    for tile in tiles(first, len(x), width):
        part = tile.of(x)
        squares = part * part
        found.columns.append((tile.first % width, squares.sum(0)))
        found.rows.append((tile.first // width, squares.sum(1)))
    return found
