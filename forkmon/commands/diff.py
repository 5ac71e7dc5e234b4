"""`forkmon diff`: two checkpoints (or the newest of two runs), tensor by tensor, exactly."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from forkmon import config
from forkmon.commands import setup
from forkmon.commands.show import settled
from forkmon.commands.triage import output_glyphs
from forkmon.draw import cells, numbers
from forkmon.draw.glyphs import Glyphs
from forkmon.errors import ForkmonError
from forkmon.formats import reading
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import ITEM_BYTES, TensorRef
from forkmon.stats.names import tree_key
from forkmon.text import safe

CHUNK = 1 << 20
"""Elements compared at once."""

NAME_CELLS = 52
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Difference:
    """One tensor of both checkpoints; numbers are None where it cannot be compared."""

    name: str
    note: str
    """Why it cannot be compared: only in one of them, or of another shape."""
    n: int = 0
    distance: float | None = None
    ratio: float | None = None
    cosine: float | None = None
    largest: float | None = None
    changed: int | None = None
    skipped: int = 0


def run(options: argparse.Namespace) -> int:
    """Print how two checkpoints differ, the most changed tensors first."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(config.cache_home() / "numba"))
    ref_a = settled(setup.existing(options.a))
    ref_b = settled(setup.existing(options.b))
    tensors_a = {t.name: t for t in reading.listing(ref_a).tensors}
    tensors_b = {t.name: t for t in reading.listing(ref_b).tensors}
    if not tensors_a.keys() & tensors_b.keys():
        raise ForkmonError("the two checkpoints have no tensor of the same name")
    with reading.OpenFiles(ref_a) as files_a, reading.OpenFiles(ref_b) as files_b:
        found = list(differences(tensors_a, files_a, tensors_b, files_b))
        files_a.verify()
        files_b.verify()
    found.sort(key=lambda d: (-(d.ratio if d.ratio is not None else -1.0), tree_key(d.name)))
    heading = {
        "a": str(ref_a.path),
        "b": str(ref_b.path),
        "a_step": ref_a.step,
        "b_step": ref_b.step,
    }
    if options.json:
        body = {"schema": SCHEMA, **heading, "tensors": [_json(d) for d in found]}
        json.dump(body, sys.stdout, allow_nan=False)
        print()
        return 0
    print(f"a  {safe(ref_a.path)} (step {ref_a.step:,})")
    print(f"b  {safe(ref_b.path)} (step {ref_b.step:,})")
    for line in _lines(found, output_glyphs()):
        print(line)
    return 0


def differences(
    tensors_a: dict[str, TensorRef],
    files_a: OpenFiles,
    tensors_b: dict[str, TensorRef],
    files_b: OpenFiles,
) -> Iterator[Difference]:
    """Yield the difference of every tensor that is in one of the checkpoints or both."""
    for name in sorted(tensors_a.keys() | tensors_b.keys(), key=tree_key):
        a, b = tensors_a.get(name), tensors_b.get(name)
        if a is None or b is None:
            yield Difference(name, "only in b" if a is None else "only in a")
        elif a.shape != b.shape:
            yield Difference(name, f"shape {list(a.shape)} in a, {list(b.shape)} in b")
        else:
            yield _measured(a, files_a, b, files_b)


def _measured(a: TensorRef, files_a: OpenFiles, b: TensorRef, files_b: OpenFiles) -> Difference:
    from forkmon.kernels.pairs import PairSums, compare

    sums = PairSums()
    for first in range(0, a.size, CHUNK):
        count = min(CHUNK, a.size - first)
        data_a = np.empty(count * ITEM_BYTES[a.dtype], np.uint8)
        data_b = np.empty(count * ITEM_BYTES[b.dtype], np.uint8)
        files_a.read_into(a, first, data_a.data)
        files_b.read_into(b, first, data_b.data)
        sums = sums.add(compare(a.dtype, data_a, b.dtype, data_b))
    return Difference(
        name=a.name,
        note="" if a.dtype == b.dtype else f"{a.dtype} in a, {b.dtype} in b",
        n=a.size,
        distance=sums.distance if np.isfinite(sums.distance) else None,
        ratio=sums.ratio if sums.ratio is not None and np.isfinite(sums.ratio) else None,
        cosine=sums.cosine,
        largest=sums.largest,
        changed=sums.changed,
        skipped=sums.skipped,
    )


def _json(found: Difference) -> dict[str, object]:
    return {
        "name": found.name,
        "n": found.n,
        "distance": found.distance,
        "ratio": found.ratio,
        "cosine": found.cosine,
        "largest": found.largest,
        "changed": found.changed,
        "nonfinite": found.skipped,
        "note": found.note or None,
    }


def _lines(found: list[Difference], glyphs: Glyphs) -> Iterator[str]:
    yield (
        f"{'tensor':<{NAME_CELLS}} {'|a-b|/|a|':>10} {'cosine':>9} {'max |a-b|':>10} {'changed':>8}"
    )
    for d in found:
        name = cells.pad(cells.clip_middle(safe(d.name), NAME_CELLS, glyphs), NAME_CELLS)
        if d.distance is None and d.changed is None:
            yield f"{name} {safe(d.note)}"
            continue
        share = numbers.share(d.changed or 0, d.n) if d.n else glyphs.dash
        note = f"  {d.skipped:,} not finite" if d.skipped else ""
        yield (
            f"{name} {numbers.short(d.ratio, 10, glyphs):>10} "
            f"{_cosine(d.cosine, glyphs):>9} {numbers.short(d.largest, 10, glyphs):>10} "
            f"{share:>8}{note}{'  ' + safe(d.note) if d.note else ''}"
        )


def _cosine(value: float | None, glyphs: Glyphs) -> str:
    return glyphs.dash if value is None else f"{value:.5f}"
