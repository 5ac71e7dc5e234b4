"""Stores for the UI's tests: real ones, written with the store's own writer."""

from __future__ import annotations

import math
import random
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from textual.app import App
from textual.pilot import Pilot

from forkmon.stats.alert import Alert, Severity
from forkmon.stats.channels import measure
from forkmon.stats.modality import Modality, Peak, View, encode
from forkmon.stats.names import ancestors
from forkmon.stats.reduced import Reduced, key_of
from forkmon.stats.row import StatRow
from forkmon.store.reader import Reader
from forkmon.store.values import Candidate, TensorKey, Trace
from forkmon.store.writer import Writer
from forkmon.tui.launch import Launch

NAMES = (
    *(
        f"blocks.{block}.{part}"
        for block in range(12)
        for part in (
            "attn.q.weight",
            "attn.k.weight",
            "attn.out.weight",
            "ln_1.weight",
            "mlp.in.weight",
            "mlp.in.bias",
            "mlp.out.weight",
        )
    ),
    "embed.weight",
    "head.weight",
)

STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
NOW = 1_790_000_000.0


def values_at(name: str, step: int, count: int = 400) -> list[float]:
    """Return plausible weights: a bell that widens, gains that split in two after step 200."""
    seed = random.Random(name)
    draw = random.Random(f"{name} {step}")
    spread = 0.02 * (1 + seed.random() * math.log1p(step) / 4)
    if "ln_" in name:
        gap = 0.25 if step > 200 else 0.0
        return [1 + draw.gauss(0, 0.05) + (gap if i % 3 == 0 else -gap) for i in range(count)]
    return [draw.gauss(0, spread) for _ in range(count)]


def stat_of(values: list[float], nan: int = 0) -> StatRow:
    """Return the numbers of some values."""
    n = len(values)
    mean = sum(values) / n
    mu = [sum((v - mean) ** k for v in values) / n for k in (2, 3, 4)]
    ordered = sorted(values)
    levels = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
    return StatRow(
        n=n + nan,
        mean=mean,
        std=math.sqrt(mu[0]),
        skew=mu[1] / mu[0] ** 1.5,
        kurtosis=mu[2] / mu[0] ** 2 - 3,
        min=ordered[0],
        max=ordered[-1],
        l1=sum(map(abs, values)),
        l2=math.sqrt(sum(v * v for v in values)),
        zeros=0,
        nan=nan,
        inf=0,
        quantiles=tuple(ordered[int(level * (n - 1))] for level in levels),
    )


def reduced_of(values: list[float], pivot: float = 0.0) -> Reduced:
    """Return the histogram of some values."""
    counts: dict[int, int] = {}
    for value in values:
        key = key_of(value - pivot)
        counts[key] = counts.get(key, 0) + 1
    keys = tuple(sorted(counts))
    return Reduced(pivot, keys, tuple(counts[k] for k in keys))


def modality_at(name: str, step: int) -> dict[View, Modality]:
    """Return what the values of a step have: two peaks where they split, one elsewhere."""
    one = Modality("peaks", 1, 1, (Peak(0.0, 1.0, 1.0),), (), 0.0, 0.0, 0.01, 0.9, 400, 0.0)
    if "ln_" not in name or step <= 200:
        return {"elements": one, "rows": one} if "ln_" not in name else {"elements": one}
    peaks = (Peak(0.75, 0.67, 0.9), Peak(1.25, 0.33, 0.9))
    return {"elements": Modality("peaks", 2, 2, peaks, (1.0,), 0.9, 9.0, 0.1, 1e-9, 400, 10.0)}


@dataclass
class Maker:
    """Writes checkpoints into a real store."""

    path: Path
    names: tuple[str, ...] = NAMES
    nan_at: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])

    def __post_init__(self) -> None:
        self.run = self.path.with_suffix("")
        self.writer = Writer.open(self.path, run=self.run, name="tiny-lm", kernel="test")

    def candidate(self, step: int) -> Candidate:
        """Return the place of a step: one segment, one generation."""
        return Candidate(
            segment=1, generation=1, parent_segment=None, step=step, version=1,
            path=str(self.run / f"step{step}.safetensors"), format="safetensors",
            digest=f"d{step}", content_digest=f"c{step}", bytes=123_456,
            mtime=NOW - 3600 + 60 * math.log2(1 + step), epoch=None, device="cpu",
        )  # fmt: skip

    def rows(self, step: int) -> Iterable[tuple[TensorKey, StatRow, Reduced | None]]:
        """Yield the rows of a step: every tensor, and every block over its tensors."""
        blocks: dict[str, list[float]] = {}
        for name in self.names:
            values = values_at(name, step)
            for block in ancestors(name):
                blocks.setdefault(block, []).extend(values[:40])
            pivot = 1.0 if "ln_" in name else 0.0
            shape = (len(values),) if "ln_" in name or "bias" in name else (20, len(values) // 20)
            key = TensorKey(name, "tensor", "model", "f32", shape)
            yield key, stat_of(values, self.nan_at.get((name, step), 0)), reduced_of(values, pivot)
        for name, values in blocks.items():
            yield TensorKey(name, "block"), stat_of(values), reduced_of(values)

    def traces(self, step: int) -> Iterable[tuple[TensorKey, Trace]]:
        """Yield what tells each tensor at a step apart: hash, sketch, channels of a matrix."""
        for name in self.names:
            values = values_at(name, step)
            sums = [0.0] * 256
            for i, value in enumerate(values):
                sums[i % 256] += value if i % 3 else -value
            matrix = np.array(values).reshape(20, -1) ** 2
            vector = "ln_" in name or "bias" in name
            channels = None if vector else measure(matrix.sum(1), matrix.sum(0)).encode()
            shape = (len(values),) if vector else (20, len(values) // 20)
            digest = hash((name, step)) & (2**64 - 1)
            modality = encode(modality_at(name, step))
            yield (
                TensorKey(name, "tensor", "model", "f32", shape),
                Trace(digest, struct.pack("<256f", *sums), channels, modality),
            )

    def add(self, step: int) -> None:
        """Store one checkpoint."""
        attempt = self.writer.begin(**self.candidate(step))
        self.writer.add(attempt, self.rows(step), self.traces(step))
        self.writer.promote(attempt, seconds=1.5)

    def close(self) -> None:
        """Close the writer."""
        self.writer.close()


def some_alerts() -> list[Alert]:
    """Return one alert of each severity."""
    return [
        Alert("NONFINITE", Severity.ERROR, "blocks.3.mlp.in.weight", 512, 512,
              "12 of 400 values are NaN", {"nan": 12, "share": 0.03}),
        Alert("REGIME", Severity.WARN, "blocks.0.attn.out.weight", 256, 512,
              "std +52 % since 384", {"cusum": 21.4, "threshold": 17.0}),
        Alert("INIT_SPLIT", Severity.INFO, "blocks.1.ln_1.weight", 1, 8, "merged by 8", {}),
    ]  # fmt: skip


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[..., Maker]]:
    """Return a function that makes a store with some steps."""
    made: list[Maker] = []

    def make(
        steps: Iterable[int] = STEPS[:6], names: tuple[str, ...] = NAMES[:14], **more: object
    ) -> Maker:
        maker = Maker(tmp_path / f"run{len(made)}.store", names, **more)  # type: ignore[arg-type]
        made.append(maker)
        for step in steps:
            maker.add(step)
        return maker

    yield make
    for maker in made:
        maker.close()


LaunchOf = Callable[..., Launch]


@pytest.fixture
def launch_of() -> LaunchOf:
    """Return a function that makes a viewer's launch on a store, its clock standing still."""

    def launch(maker: Maker, **more: object) -> Launch:
        return Launch(
            run=maker.run,
            store=maker.path,
            open_source=lambda: Reader.open(maker.path),
            **{"title": "tiny-lm", "now": lambda: NOW, **more},  # type: ignore[arg-type]
        )

    return launch


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Return a wait for a condition of a running app; it fails with what it waited for."""

    async def wait(
        pilot: Pilot[int], condition: Callable[[], bool], what: str, seconds: float = 20.0
    ) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds} s for {what}\n{_text(pilot.app)}")
            await pilot.pause(0.01)

    return wait


@pytest.fixture
def screen_text() -> Callable[[App[int]], str]:
    """Return a function that gives the text on an app's screen, line by line."""
    return _text


def _text(app: App[int]) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)
