"""The report of `scan` for people: state, what was read, what changed most, what is wrong."""

from __future__ import annotations

import locale
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forkmon.commands.as_json import Choice, alerts_of
from forkmon.draw import cells, numbers
from forkmon.draw.glyphs import Glyphs, choose
from forkmon.draw.sparkline import sparkline
from forkmon.stats.alert import Alert, Severity
from forkmon.stats.names import tree_key
from forkmon.store.reader import Reader
from forkmon.store.values import CheckpointRow, TensorEntry
from forkmon.text import safe
from forkmon.worker.devices import Device
from forkmon.worker.judge import verdict

NAME_CELLS = 44
SPARK_CELLS = 16
ROWS = 16
ALERTS = 20


@dataclass(frozen=True, slots=True)
class Change:
    """How far a tensor's or block's standard deviation has moved since the first checkpoint."""

    entry: TensorEntry
    trace: tuple[float | None, ...]

    @property
    def now(self) -> float | None:
        """Return the value at the newest checkpoint."""
        return self.trace[-1]

    @property
    def ratio(self) -> float | None:
        """Return the relative change; None where the first value is 0 or missing."""
        first, now = self.trace[0], self.now
        return None if not first or now is None else now / first - 1


def output_glyphs(ascii_only: bool = False) -> Glyphs:  # noqa: FBT001, FBT002 - a switch
    """Return the characters that stdout can carry."""
    encoding = (sys.stdout.encoding or locale.getpreferredencoding()).lower().replace("-", "")
    return choose(ascii_only or not encoding.startswith("utf"))


def lines(reader: Reader, choice: Choice, device: Device) -> Iterator[str]:
    """Yield the report."""
    glyphs = output_glyphs()
    found = verdict(reader)
    run = reader.run()
    yield f"{safe(run.name)}: {found.state} ({'; '.join(found.reasons)})"
    timeline = reader.timeline()
    if choice.last is not None:
        timeline = timeline[-choice.last :]
    if timeline:
        yield _what_was_read(reader.checkpoints(), device, glyphs)
        yield ""
        yield from _changes(reader, timeline, choice, glyphs)
    yield ""
    yield from _alerts(alerts_of(reader, choice), glyphs)
    for ignored in reader.ignored():
        yield f"ignored: {safe(Path(ignored.path).name)}: {safe(ignored.reason)}"


def _what_was_read(rows: Sequence[CheckpointRow], device: Device, glyphs: Glyphs) -> str:
    good = [row for row in rows if row.status != "failed"]
    size = numbers.bytesize(sum(row.bytes for row in good), glyphs)
    spent = numbers.duration(sum(row.seconds for row in good), glyphs)
    span = f"step {numbers.step(good[0].step)}"
    if len(good) > 1:
        span = f"steps {numbers.step(good[0].step)} to {numbers.step(good[-1].step)}"
    where = f"{device.name} ({safe(device.why)})"
    many = f"{len(good):,} checkpoint{'' if len(good) == 1 else 's'}"
    return f"{many}, {span}; {size} in {spent} on {where}"


def _changes(
    reader: Reader, timeline: Sequence[CheckpointRow], choice: Choice, glyphs: Glyphs
) -> Iterator[str]:
    entries = [
        e for e in reader.tensors(timeline[-1].id) if choice.takes(e.name) or e.name == ""
    ]  # fmt: skip
    traces = reader.sparks([e.id for e in entries], "std", [row.id for row in timeline])
    changes = [Change(e, traces[e.id]) for e in entries if e.id in traces]
    tensors = [c for c in changes if c.entry.kind == "tensor"]
    most = sorted(tensors, key=lambda c: -abs(c.ratio or 0.0))[: ROWS - 4]
    blocks = [c for c in changes if c.entry.kind == "block" and c.entry.name == ""]
    yield (
        f"{'most changed':<{NAME_CELLS}} {'std over time':<{SPARK_CELLS}} "
        f"{'now':>8} {'since first':>12}"
    )
    for change in blocks + sorted(most, key=lambda c: tree_key(c.entry.name)):
        yield _change_line(change, glyphs)
    if len(tensors) > len(most):
        yield f"{glyphs.ellipsis} and {len(tensors) - len(most):,} tensors that changed less"


def _change_line(change: Change, glyphs: Glyphs) -> str:
    name = safe(change.entry.name) or "(whole model)"
    trace = sparkline(change.trace, SPARK_CELLS, glyphs)
    return (
        f"{cells.pad(cells.clip_middle(name, NAME_CELLS, glyphs), NAME_CELLS)} "
        f"{cells.pad(trace, SPARK_CELLS)} {numbers.short(change.now, 8, glyphs):>8} "
        f"{numbers.percent(change.ratio, glyphs):>12}"
    )


def _alerts(alerts: Sequence[Alert], glyphs: Glyphs) -> Iterator[str]:
    yield f"alerts {len(alerts):,}"
    marks = {
        Severity.INFO: glyphs.info, Severity.WARN: glyphs.warn, Severity.ERROR: glyphs.error,
    }  # fmt: skip
    for alert in alerts[:ALERTS]:
        where = safe(alert.tensor) if alert.tensor is not None else "run"
        yield (
            f"{marks[alert.severity]} {numbers.step(alert.onset):>9} "
            f"{cells.pad(cells.clip_middle(where, NAME_CELLS, glyphs), NAME_CELLS)} "
            f"{alert.kind:<11} {safe(alert.message)}"
        )
    if len(alerts) > ALERTS:
        yield f"{glyphs.ellipsis} and {len(alerts) - ALERTS:,} more (--json has them all)"
