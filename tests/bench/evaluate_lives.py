"""From a life to what forkmon and the other methods say about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from evaluate_worlds import Floats, Life

from forkmon.detect import every
from forkmon.detect.settings import DEFAULT, Settings
from forkmon.kernels import modality as measurement
from forkmon.stats import channels
from forkmon.stats.channels import Channels
from forkmon.stats.modality import Modality
from forkmon.stats.series import Series

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Said:
    """An alert, by places on the axis."""

    kind: str
    onset: int
    at: int


def rounded(values: Floats, dtype: str) -> Floats:
    """Return values as a checkpoint of this type holds them."""
    if dtype == "f16":
        return values.astype(np.float16).astype(np.float64)
    single = values.astype(np.float32)
    if dtype == "bf16":
        bits = single.view(np.uint32)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
        single = bits.view(np.float32)
    return single.astype(np.float64)


def series_of(life: Life, dtype: str, name: str = "w") -> Series:
    """Return the series that forkmon would store of a life."""
    values = rounded(life.values, dtype)
    columns: dict[str, Floats] = {
        "n": np.full(len(values), float(values.shape[1])),
        "nan": np.zeros(len(values)),
        "inf": np.zeros(len(values)),
        "zeros": (values == 0).sum(axis=1).astype(np.float64),
        "std": values.std(axis=1),
        "l2": np.sqrt((values**2).sum(axis=1)),
        "kurtosis": _kurtosis(values),
    }
    columns |= {
        f"q{q}": row
        for q, row in zip(QUANTILES, np.quantile(values, QUANTILES, axis=1), strict=True)
    }
    return Series(
        tensor=name,
        steps=life.steps,
        values={
            key: tuple(float(v) if np.isfinite(v) else None for v in column)
            for key, column in columns.items()
        },
        modality={"elements": tuple(measured(row, dtype) for row in values)},
        channels=tuple(_channels(row, life.rows) for row in values) if life.rows else (),
        dtype=dtype,
    )


def measured(row: Floats, dtype: str) -> Modality:
    """Return the modality of one checkpoint, by the function that the worker calls."""
    return measurement.of_values(row, dtype)


def _kurtosis(values: Floats) -> Floats:
    off = values - values.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((off**4).mean(axis=1) / (off**2).mean(axis=1) ** 2 - 3)


def _channels(row: Floats, rows: int) -> Channels:
    square = row.reshape(rows, -1) ** 2
    return channels.measure(square.sum(axis=1), square.sum(axis=0))


def said(series: Sequence[Series], settings: Settings = DEFAULT) -> list[Said]:
    """Return the alerts that a history of tensors of one axis raises, in time order."""
    at = {step: place for place, step in enumerate(series[0].steps)}
    alerts = every.all_alerts(series, (), settings)
    found = [Said(a.kind, at[a.onset], at[a.step]) for a in alerts]
    return sorted(found, key=lambda s: (s.at, s.kind, s.onset))


def debounced(scores: Iterable[float]) -> list[float]:
    """Return at each place the score that 3 of the newest 4 places reach."""
    known = list(scores)
    return [
        sorted(known[max(0, t - 3) : t + 1])[-3] if t >= 2 else float("-inf")
        for t in range(len(known))
    ]


def records(scores: Sequence[float]) -> list[tuple[int, float]]:
    """Return (place, score) wherever a score exceeds all before: enough for any threshold."""
    out: list[tuple[int, float]] = []
    for place, score in enumerate(scores):
        if score > (out[-1][1] if out else float("-inf")):
            out.append((place, round(score, 4)))
    return out


def valley(found: Modality) -> float:
    """Return our statistic: the z of the clearest valley that is deep enough."""
    return found.z if found.held > 1 and found.depth >= 0.15 else 0.0


def dithered_dip(found: Modality) -> float:
    """Return sqrt(n) times the dip of the values spread over their rounding cells."""
    return found.dip * sqrt(found.n)


def diptest_score(row: Floats) -> float:
    """Return sqrt(n) times Hartigan's dip of the values as they are, by the GPL package."""
    import diptest

    return float(diptest.dipstat(row)) * sqrt(len(row))


def bimodality_coefficient(row: Floats) -> float:
    """Return (skew^2 + 1) / kurtosis (SAS; above 5/9 is called bimodal)."""
    off = row - row.mean()
    m2 = float((off**2).mean())
    if m2 == 0:
        return 0.0
    skew = float((off**3).mean()) / m2**1.5
    return float((skew * skew + 1) / ((off**4).mean() / m2**2))


def mixture_gain(row: Floats, rounds: int = 40) -> float:
    """Return BIC of one normal law less that of two, by EM from a split at the median."""
    n = len(row)
    spread = float(row.std())
    if spread == 0:
        return 0.0
    x = (row - row.mean()) / spread
    means, sds = np.array([x[x <= 0].mean(), x[x > 0].mean()]), np.array([0.6, 0.6])
    weights = np.array([0.5, 0.5])
    likelihood = 0.0
    for _ in range(rounds):
        part = weights * np.exp(-0.5 * ((x[:, None] - means) / sds) ** 2) / sds
        total = part.sum(axis=1) + 1e-300
        likelihood = float(np.log(total).sum()) - 0.5 * n * log(2 * np.pi)
        part /= total[:, None]
        mass = part.sum(axis=0) + 1e-9
        means = (part * x[:, None]).sum(axis=0) / mass
        sds = np.sqrt((part * (x[:, None] - means) ** 2).sum(axis=0) / mass + 1e-4)
        weights = mass / n
    single = -0.5 * n * (log(2 * np.pi) + 1)
    return 2 * (likelihood - single) - 3 * log(n)


OTHERS: dict[str, Callable[[Floats], float]] = {
    "diptest": diptest_score,
    "GMM-BIC": mixture_gain,
    "bimodality coefficient": bimodality_coefficient,
}
"""Statistics of one checkpoint that others use; larger means more bimodal."""


def breaks(levels: Floats) -> list[int]:
    """Return the change points of PELT with an l2 cost and the penalty 6 log T (ruptures)."""
    import ruptures

    noise = float(np.median(np.abs(np.diff(levels)))) / 0.6745 / sqrt(2)
    scaled = levels / max(noise, 1e-12)
    model = ruptures.Pelt(model="l2", min_size=3, jump=1).fit(scaled[:, None])
    return [int(b) for b in model.predict(pen=6 * log(len(levels)))[:-1]]
