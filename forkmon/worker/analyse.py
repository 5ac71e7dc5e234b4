"""One checkpoint from its files to its rows: read, summarise, group, store, promote."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from forkmon.engines.protocol import Engine
from forkmon.errors import CheckpointError, FormatError
from forkmon.formats import reading
from forkmon.formats.logical import logical_listing
from forkmon.formats.logical_rules import Rule
from forkmon.formats.logical_view import describe
from forkmon.formats.pacing import pace_of
from forkmon.formats.refs import Listing, TensorRef
from forkmon.runs.refs import CheckpointRef
from forkmon.stats.modality import encode
from forkmon.stats.names import ancestors, tree_key
from forkmon.stats.notes import OF_CHECKPOINT, Note, Whereabouts
from forkmon.stats.reduced import Reduced
from forkmon.stats.roles import DEFAULT_ROLES, qualified
from forkmon.stats.row import StatRow
from forkmon.stats.summary import Finished, Group, empty_group, group_of
from forkmon.store.values import Candidate, TensorKey, Trace
from forkmon.store.writer import Writer
from forkmon.worker import preview
from forkmon.worker.progress import Meter, Standing

FLUSH_SECONDS = 0.25
"""How long finished rows wait before a small transaction shows them to the UI."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is stored of one tensor or block."""

    key: TensorKey
    stat: StatRow
    reduced: Reduced | None
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with one checkpoint, decided before its bytes are read."""

    ref: CheckpointRef
    candidate: Candidate
    focus: str | None = None
    """The tensor under the cursor (`qualified`): first, so that its reader waits least."""
    quarantined: frozenset[str] = frozenset()
    """Tensors (`qualified`) at which a worker died twice: left out until the file changes."""
    roles: frozenset[str] = DEFAULT_ROLES
    """Whose tensors are read."""
    note_each: bool = False
    """Write down each tensor before it is touched: a worker died in this file."""
    root: Path | None = None
    """The run's directory, where config.json may lie."""
    rules: Sequence[Rule] = ()
    """The user's own layouts of fused tensors."""
    read_rate: float = 0.0
    """MB a second at most; 0 for no limit."""
    rate: float | None = None
    """Bytes a second of the analysis before."""


@dataclass(frozen=True, slots=True)
class Analysed:
    """What became of a plan that was carried out."""

    tensors: int
    partial: str | None
    rate: float | None
    """Bytes a second."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How far an analysis is."""

    tensors: int
    of: int
    standing: Standing


Report = Callable[[Tally], None]
"""Called now and then; raises to stop."""


def analyse(plan: Plan, writer: Writer, engine: Engine, report: Report) -> Analysed:
    """Analyse a checkpoint and promote it; CheckpointError or what `report` raises drops it.

    Either the checkpoint is promoted whole, with files that did not change while they were
    read, or nothing of it stays.
    """
    began = time.monotonic()
    listing = of_roles(logical_listing(plan.ref, plan.rules, plan.root), plan.roles)
    attempt = writer.begin(**plan.candidate)
    try:
        with reading.OpenFiles(plan.ref, pace=pace_of(plan.read_rate)) as files:
            rate = _store_rows(plan, listing, files, Batch(writer, attempt), engine, report)
            files.verify()
    except BaseException:
        writer.drop(attempt)
        raise
    skipped = [(s.name, s.dtype, s.reason) for s in listing.skipped]
    skipped += [(name, "", "a worker died at it twice") for name in sorted(plan.quarantined)]
    missing = len(plan.quarantined) + sum(s.is_parameter for s in listing.skipped)
    partial = f"{missing:,} tensors not analysed" if missing else None
    writer.promote(
        attempt,
        seconds=time.monotonic() - began,
        status="partial" if partial else "complete",
        reason=partial,
        skipped=skipped,
    )
    writer.set_notes([*notes(plan.ref, listing), _noted_checkpoint(plan.ref, attempt)])
    return Analysed(len(listing.tensors) - len(plan.quarantined), partial, rate)


def of_roles(listing: Listing, roles: frozenset[str]) -> Listing:
    """Return the tensors of some roles; FormatError names the others where there are none."""
    kept = tuple(tensor for tensor in listing.tensors if tensor.role in roles)
    if listing.tensors and not kept:
        others = ",".join(sorted({tensor.role for tensor in listing.tensors}))
        raise FormatError(f"it holds only other tensors: --roles {others} shows them")
    return replace(listing, tensors=kept)


def notes(ref: CheckpointRef, listing: Listing) -> Iterator[tuple[str, str]]:
    """Yield what is to be said of each tensor: its part, its ties, its place on disk."""
    prints = {file: seen.name for file, seen in zip(ref.files, ref.fingerprint.files, strict=True)}
    alone = len(prints) == 1 and ref.path.name in prints.values()
    words: dict[str, list[str]] = {}
    for name, text in listing.notes:
        words.setdefault(name, []).append(text)
    for tensor in listing.tensors:
        said: list[str] = [] if tensor.view is None else [describe(tensor.view)]
        said += words.pop(tensor.name, [])
        file = "" if alone else prints.get(tensor.file, "")
        yield qualified(tensor.name, tensor.role), _note(tensor, file, "; ".join(said)).encode()
    yield from ((name, "; ".join(said)) for name, said in words.items())


def _note(tensor: TensorRef, file: str, words: str) -> Note:
    tiles = () if tensor.tiled is None else tensor.tiled.tiles
    return Note(
        words,
        file=file,
        offset=None if len(tiles) > 1 else tiles[0].offset if tiles else tensor.offset,
        pieces=max(1, len(tiles)),
        files=len({tile.file for tile in tiles}) or 1,
        stored_as=tensor.stored_as if tensor.stored_as != tensor.name else "",
    )


def _noted_checkpoint(ref: CheckpointRef, attempt: int) -> tuple[str, str]:
    return OF_CHECKPOINT, Whereabouts(attempt, ref.complete).encode()


def _store_rows(
    plan: Plan,
    listing: Listing,
    files: reading.OpenFiles,
    rows_out: Batch,
    engine: Engine,
    report: Report,
) -> float | None:
    """Store every tensor and block; return the rate in bytes a second."""
    ordered = sorted(
        (t for t in listing.tensors if qualified(t.name, t.role) not in plan.quarantined),
        key=lambda t: (t.role, tree_key(t.name)),
    )
    if not ordered:
        raise CheckpointError("it holds no tensor that forkmon can read")
    sizes = {qualified(t.name, t.role): t.bytes for t in ordered}
    meter = Meter(sum(sizes.values()), rate=plan.rate)
    report(Tally(0, len(ordered), meter.standing()))
    if not plan.note_each and preview.worth_it(sum(sizes.values()), plan.rate):
        _store_preview(files, ordered, rows_out, engine, report, meter)
    done = 0
    for row in rows(_measured(plan, files, ordered, rows_out, engine)):
        rows_out.add(row)
        if row.key.kind == "tensor":
            done += 1
            meter.advance(sizes[qualified(row.key.name, row.key.role)])
        if rows_out.due():
            rows_out.flush()
            report(Tally(done, len(ordered), meter.standing()))
    rows_out.flush()
    report(Tally(done, len(ordered), meter.standing()))
    return meter.rate


def _store_preview(
    files: reading.OpenFiles,
    ordered: Sequence[TensorRef],
    rows_out: Batch,
    engine: Engine,
    report: Report,
    meter: Meter,
) -> None:
    """Store 1 % of every tensor first: a large checkpoint shows something within a second."""
    for key, stat, reduced in preview.preview_rows(files, ordered, engine.kernel):
        rows_out.add(Row(key, stat, reduced))
        if rows_out.due():
            rows_out.flush()
            report(Tally(0, len(ordered), meter.standing()))
    rows_out.flush()


def _measured(
    plan: Plan,
    files: reading.OpenFiles,
    ordered: Sequence[TensorRef],
    rows_out: Batch,
    engine: Engine,
) -> Iterator[tuple[TensorRef, Finished]]:
    """Yield every tensor's numbers in tree order, the focused one also first of all."""
    if plan.note_each:
        for tensor in ordered:
            rows_out.about_to_read(qualified(tensor.name, tensor.role))
            yield from engine.run(files, [tensor])
        return
    focused = [t for t in ordered if qualified(t.name, t.role) == plan.focus]
    early = dict(engine.run(files, focused))
    for tensor, finished in early.items():
        rows_out.add(tensor_row(tensor, finished))
        rows_out.flush()
    with closing(engine.run(files, [t for t in ordered if t not in early])) as rest:
        for tensor in ordered:
            yield (tensor, early[tensor]) if tensor in early else next(rest)


def rows(measured: Iterator[tuple[TensorRef, Finished]]) -> Iterator[Row]:
    """Yield a row for each tensor and, when its last tensor has passed, for each block.

    Tensors must come in tree order: then only the blocks around the current one are open.
    """
    open_blocks: list[OpenBlock] = []
    for tensor, finished in measured:
        yield tensor_row(tensor, finished)
        path = [(tensor.role, name) for name in ancestors(tensor.name)]
        while open_blocks and (open_blocks[-1].role, open_blocks[-1].name) not in path:
            yield open_blocks.pop().row()
        for role, name in path[len(open_blocks) :]:
            open_blocks.append(OpenBlock(role, name))
        alone = group_of(finished)
        for block in open_blocks:
            block.group = block.group.merge(alone)
    while open_blocks:
        yield open_blocks.pop().row()


@dataclass(slots=True)
class OpenBlock:
    """A block some of whose tensors are still to come."""

    role: str
    name: str
    group: Group = field(default_factory=empty_group)

    def row(self) -> Row:
        """Return the block's row."""
        finished = self.group.finish()
        key = TensorKey(self.name, "block", self.role)
        return Row(key, finished.row(), finished.reduced())


def tensor_row(tensor: TensorRef, finished: Finished) -> Row:
    """Return a tensor's row."""
    key = TensorKey(tensor.name, "tensor", tensor.role, tensor.dtype, tensor.shape)
    trace = Trace(
        finished.digest,
        finished.sketch.encode() if finished.sketch else None,
        finished.channels.encode() if finished.channels else None,
        encode(finished.modality) if finished.modality else None,
    )
    return Row(key, finished.row(), finished.reduced(), trace)


class Batch:
    """Rows on their way to the store, in transactions small enough not to delay readers."""

    def __init__(self, writer: Writer, attempt: int) -> None:
        self._writer = writer
        self._attempt = attempt
        self._rows: list[Row] = []
        self._since = time.monotonic()

    def add(self, row: Row) -> None:
        """Take a row."""
        self._rows.append(row)

    def about_to_read(self, tensor: str) -> None:
        """Leave word of the tensor that is to blame if the process dies now."""
        self._writer.working_on(self._attempt, tensor)

    def due(self) -> bool:
        """Return whether the rows have waited long enough."""
        return time.monotonic() - self._since >= FLUSH_SECONDS

    def flush(self) -> None:
        """Store the rows."""
        self._writer.add(
            self._attempt,
            [(row.key, row.stat, row.reduced) for row in self._rows],
            [(row.key, row.trace) for row in self._rows if row.trace],
        )
        self._rows = []
        self._since = time.monotonic()
