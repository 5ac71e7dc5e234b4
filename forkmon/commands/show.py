"""`forkmon show`: one checkpoint's statistics and histograms on stdout, without a store."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from forkmon.commands import setup
from forkmon.commands.triage import output_glyphs
from forkmon.draw import cells, numbers
from forkmon.draw.glyphs import Glyphs
from forkmon.draw.histogram import histogram
from forkmon.draw.ink import ansi
from forkmon.errors import CheckpointError, UsageError
from forkmon.formats import reading
from forkmon.formats.logical import logical_listing
from forkmon.formats.refs import Listing, TensorRef
from forkmon.runs.poll import Poller
from forkmon.runs.refs import CheckpointRef
from forkmon.stats.names import tree_key
from forkmon.stats.roles import DEFAULT_ROLES, qualified
from forkmon.stats.row import QUANTILES, StatRow
from forkmon.stats.summary import Finished
from forkmon.text import safe

SMALL_ROWS = 6
LARGE_ROWS = 16


def run(options: argparse.Namespace) -> int:
    """Print the whole checkpoint, or one tensor of it."""
    settings = setup.settings(options)
    means = setup.means(settings)
    from forkmon.worker.analyse import of_roles
    from forkmon.worker.backends import open_engine

    ref = settled(setup.existing(options.checkpoint), means.roles)
    listing = of_roles(logical_listing(ref, means.rules), means.roles)
    chosen = _chosen(listing, options.tensor)
    glyphs = output_glyphs(settings.flag("ascii"))
    width = shutil.get_terminal_size((100, 24)).columns
    rows = LARGE_ROWS if options.tensor else SMALL_ROWS
    with (
        open_engine(threads=means.threads, device=means.device) as engine,
        reading.OpenFiles(ref) as files,
    ):
        print(_heading(ref, listing))
        for tensor, finished in engine.run(files, chosen):
            for line in _panel(tensor, finished, width, rows, glyphs):
                print(line)
        files.verify()
    for skipped in listing.skipped:
        print(f"not analysed: {safe(skipped.name)} {safe(skipped.dtype)}: {safe(skipped.reason)}")
    return 0


def settled(path: Path, roles: frozenset[str] = DEFAULT_ROLES) -> CheckpointRef:
    """Return the one checkpoint at `path`, or raise with the reason why there is none."""
    poller = Poller(path, interval=0.1, settle=0.2, roles=roles)
    deadline = time.monotonic() + 3.0
    while True:
        sight = poller.poll()
        if sight.ready:
            return max(sight.ready, key=lambda ref: ref.step)
        if sight.broken:
            raise CheckpointError(f"{safe(path)}: {safe(sight.broken[0].reason)}")
        if not sight.waiting or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if sight.waiting:
        raise CheckpointError(f"{safe(path)}: {safe(sight.waiting[0].reason)}; try again later")
    reasons = [i.reason for i in sight.ignored] or [sight.note or "no checkpoint is there"]
    raise CheckpointError(f"{safe(path)}: {safe(reasons[0])}")


def _chosen(listing: Listing, name: str | None) -> list[TensorRef]:
    ordered = sorted(listing.tensors, key=lambda t: (t.role, tree_key(t.name)))
    if name is None:
        return ordered
    exact = [t for t in ordered if name in (t.name, qualified(t.name, t.role))]
    if exact:
        return exact
    near = [t.name for t in ordered if name in t.name][:5]
    hint = f"; did you mean {', '.join(map(safe, near))}?" if near else ""
    raise UsageError(f"no tensor is named {safe(name)}{hint}")


def _heading(ref: CheckpointRef, listing: Listing) -> str:
    size = numbers.bytesize(ref.fingerprint.bytes)
    return f"{safe(ref.path)}: step {ref.step:,}, {len(listing.tensors):,} tensors, {size}"


def _panel(
    tensor: TensorRef, finished: Finished, width: int, height: int, glyphs: Glyphs
) -> Iterator[str]:
    row = finished.row()
    shape = " x ".join(map(str, tensor.shape)) or "scalar"
    yield ""
    name = qualified(tensor.name, tensor.role)
    yield cells.clip(f"{safe(name)}   {tensor.dtype} [{shape}]", width, glyphs)
    for line in _numbers(row, glyphs):
        yield cells.clip(line, width, glyphs)
    drawn = histogram(finished.reduced(), width=width, height=height, glyphs=glyphs)
    yield from ansi(drawn, color=sys.stdout.isatty() and "NO_COLOR" not in os.environ)


def _numbers(row: StatRow, glyphs: Glyphs) -> Iterator[str]:
    def text(value: float | None) -> str:
        return numbers.short(value, 8, glyphs)

    yield (
        f"  mean {text(row.mean)}  std {text(row.std)}  skew {text(row.skew)}  "
        f"ex.kurtosis {text(row.kurtosis)}  L2 {text(row.l2)}  "
        f"zeros {row.zeros:,}  NaN {row.nan:,}  Inf {row.inf:,}"
    )
    quantiles = "  ".join(
        f"{level:g}: {text(value)}" for level, value in zip(QUANTILES, row.quantiles, strict=True)
    )
    yield f"  min {text(row.min)}  {quantiles}  max {text(row.max)}"
