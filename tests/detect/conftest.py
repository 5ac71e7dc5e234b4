"""Histories made by hand: series with planted events, cut and shuffled at will."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from forkmon.stats.channels import Axis, Channels
from forkmon.stats.modality import Modality, Peak, State
from forkmon.stats.row import QUANTILES
from forkmon.stats.series import Series

Column = Sequence[float | None]
Peaks = Callable[..., Modality]
Told = Callable[..., Series]
Cut = Callable[[Series, int], Series]
History = Callable[[int], list[Series]]
Norms = Callable[..., Channels]


def modality(
    modes: int = 1,
    *,
    held: int | None = None,
    state: State = "peaks",
    sides: bytes | None = None,
    separation: float = 4.0,
) -> Modality:
    """Return a measurement with so many peaks."""
    held = modes if held is None else held
    peaks = tuple(Peak(float(i), 1 / max(held, 1), 1.0) for i in range(max(held, 1)))
    several = held > 1
    sides = sides if sides is not None else (b"\x0f" * 8 if several else b"")
    return Modality(
        state=state, modes=modes, held=held, peaks=peaks, valleys=(0.5,) * (held - 1),
        depth=0.9 if several else 0.0, z=20.0 if several else 0.0, dip=0.1 if several else 0.001,
        p=1e-12 if several else 1.0, n=64, separation=separation if several else 0.0,
        sides=sides, sampled=8 * len(sides),
    )  # fmt: skip


def series(
    name: str = "w",
    count: int | None = None,
    *,
    steps: Sequence[int] = (),
    segments: tuple[int, ...] = (),
    digests: Sequence[int | None] = (),
    views: Mapping[str, Sequence[Modality | None]] | None = None,
    channels: Sequence[Channels | None] = (),
    role: str = "model",
    **columns: Column,
) -> Series:
    """Return a series of a healthy tensor of 4,096 elements, but for the columns given."""
    if count is None:
        count = len(steps) or max(len(c) for c in columns.values())
    steps = tuple(steps) or tuple(range(0, 100 * count, 100))
    values: dict[str, Column] = {
        "n": (4096.0,) * count, "nan": (0.0,) * count, "inf": (0.0,) * count,
        "zeros": (0.0,) * count, "std": (1.0,) * count, "l2": (64.0,) * count,
    }  # fmt: skip
    values |= columns
    return Series(
        tensor=name,
        steps=steps,
        values={key: tuple(column) for key, column in values.items()},
        segments=segments,
        digests=tuple(digests),
        modality={view: tuple(column) for view, column in (views or {}).items()},
        channels=tuple(channels),
        role=role,
    )


def cut(whole: Series, count: int) -> Series:
    """Return what was known when only the first checkpoints were there."""
    values = {name: column[:count] for name, column in whole.values.items()}
    if "return_jump" in values:
        values["return_jump"] = (*values["return_jump"][: count - 1], None)
    return replace(
        whole,
        steps=whole.steps[:count],
        segments=whole.segments[:count],
        digests=whole.digests[:count],
        channels=whole.channels[:count],
        values=values,
        modality={view: column[:count] for view, column in whole.modality.items()},
    )


def norms(count: int = 100, *, dead: int = 0, top: Mapping[int, float] | None = None) -> Channels:
    """Return the channels of a matrix whose median row norm is 1."""
    large = tuple((top or {}).items())
    rows = Axis(count, dead, len(large), 0.0, 2.0, (1.0,) * len(QUANTILES), (*large, (99, 1.1)))
    return Channels(rows, Axis(count, 0, 0, 1.0, 1.0, (1.0,) * len(QUANTILES), ()))


def history(seed: int) -> list[Series]:
    """Return a run of 24 tensors and 60 checkpoints in which a lot goes wrong."""
    rng = np.random.default_rng(seed)
    count, layers = 60, 12
    out: list[Series] = []
    for layer in range(layers):
        names = (f"h.{layer}.{place}.weight" for place in ("q", "up"))
        out += [_tensor(rng, name, layer, count) for name in names]
    return out


def _tensor(rng: np.random.Generator, name: str, layer: int, count: int) -> Series:
    level = 0.3 * np.log1p(np.arange(count)) + rng.normal(0, 0.002, count)
    level[rng.integers(35, count) :] += rng.choice([0.0, 0.0, 0.3, -0.3])
    if layer % 2:
        level += np.where(np.arange(count) >= 45, 1.0, 0.0)
    digests: list[int] = [int(x) for x in rng.integers(1, 2**63, count)]
    update = rng.uniform(0.9, 1.1, count) * 2
    across = rng.uniform(1.2, 1.5, count) * 2
    if layer < 4:
        digests[50], across[20] = digests[10], 0.05
        update[30:] = 0.0 if name.endswith("up.weight") and layer == 1 else update[30:]
    start, end = sorted(rng.integers(8, count, 2).tolist())
    forked = [modality(2 if start <= t < end and rng.random() > 0.1 else 1) for t in range(count)]
    outlying = {3: 5.0} if layer == 2 else {}
    channels = [
        norms(dead=int(t >= 25) * 3 * (layer == 5), top=outlying if t >= 40 else {})
        for t in range(count)
    ]
    nan = [float(t in range(52, 55)) * (layer == 7) for t in range(count)]
    return series(
        name, count, l2=(64 * np.exp(level)).tolist(), std=np.exp(level).tolist(), digests=digests,
        update=[None, *update[1:].tolist()], return_jump=[None, *across[1:-1].tolist(), None],
        kurtosis=(rng.normal(0, 0.05, count) + 3.0 * (np.arange(count) >= 44)).tolist(),
        zeros=[400.0 * (t >= 33) * (layer == 3) for t in range(count)],
        nan=nan, views={"elements": forked}, channels=channels,
        **{f"q{q}": (z * np.exp(level)).tolist() for q, z in QUARTERS.items()},
    )  # fmt: skip


QUARTERS = {0.05: -1.64, 0.25: -0.67, 0.5: 0.0, 0.75: 0.67, 0.95: 1.64}


@pytest.fixture
def peaks() -> Peaks:
    """Return the maker of measurements."""
    return modality


@pytest.fixture
def told() -> Told:
    """Return the maker of series."""
    return series


@pytest.fixture
def shorten() -> Cut:
    """Return the function that forgets the newest checkpoints."""
    return cut


@pytest.fixture
def row_norms() -> Norms:
    """Return the maker of channels."""
    return norms


@pytest.fixture
def troubled() -> History:
    """Return the maker of runs in which a lot goes wrong."""
    return history
