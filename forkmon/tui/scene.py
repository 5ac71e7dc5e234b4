"""Everything the store said at one moment that the whole screen needs; loaded in a thread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkmon.text import SafeText, safe
from forkmon.tui import tree_model
from forkmon.tui.tree_model import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forkmon import wire
    from forkmon.stats.alert import Alert
    from forkmon.store.values import CheckpointRow, IgnoredRow, TensorEntry, Timeline
    from forkmon.tui.source import Source


@dataclass(frozen=True, slots=True)
class Scene:
    """A consistent look at a run's history."""

    title: SafeText
    timeline: Timeline = ()
    """Analysed checkpoints, oldest first; then one being analysed, if each tensor has a number."""
    failed: tuple[CheckpointRow, ...] = ()
    ignored: tuple[IgnoredRow, ...] = ()
    attempt: CheckpointRow | None = None
    tree: Tree = tree_model.EMPTY
    entries: Mapping[int, TensorEntry] | None = None
    alerts: tuple[Alert, ...] = ()
    metrics: Mapping[str, Sequence[tuple[int, float]]] | None = None
    verdict: tuple[str, ...] = ()
    """The state of the run and its reasons; empty where the store keeps none."""

    def index_of(self, checkpoint_id: int | None) -> int | None:
        """Return a checkpoint's place on the timeline."""
        return next((i for i, row in enumerate(self.timeline) if row.id == checkpoint_id), None)

    def checkpoint(self, checkpoint_id: int | None) -> CheckpointRow | None:
        """Return a checkpoint of the timeline by its id."""
        return next((row for row in self.timeline if row.id == checkpoint_id), None)

    def entry(self, tensor_id: int | None) -> TensorEntry | None:
        """Return a tensor or block of the newest checkpoint by its id."""
        return None if tensor_id is None or not self.entries else self.entries.get(tensor_id)


def load(
    open_source: Callable[[], Source],
    title: str,
    before: Scene | None,
    progress: wire.Progress | None = None,
) -> Scene:
    """Read a new scene; the tree of `before` is kept where the tensors are the same.

    Without a title the run is called what the store calls it.
    """
    source = open_source()
    try:
        title = title or source.run().name
        attempt = source.attempt()
        timeline = source.timeline()
        if attempt is not None and _whole(attempt, timeline, progress):
            timeline = (*timeline, attempt)
        entries = _entries(source, timeline, before)
        if before is not None and (before.entries is entries or before.entries == entries):
            tree = before.tree
        else:
            tree = tree_model.build(tuple(entries.values()), title)
        return Scene(
            title=safe(title),
            timeline=timeline,
            failed=source.failed(),
            ignored=source.ignored(),
            attempt=attempt,
            tree=tree,
            entries=entries,
            alerts=source.alerts(),
            metrics=source.metrics(),
            verdict=_verdict(source),
        )
    finally:
        source.close()


def _verdict(source: Source) -> tuple[str, ...]:
    found = source.verdict()
    return () if found is None else (found.state, *found.reasons)


def _entries(source: Source, timeline: Timeline, before: Scene | None) -> Mapping[int, TensorEntry]:
    """Return the rows of the newest checkpoint; those of `before` where it is the same one."""
    if not timeline:
        return {}
    same = before is not None and before.timeline[-1:] == timeline[-1:]
    if same and before is not None and before.entries and timeline[-1].status != "attempt":
        return before.entries
    return {entry.id: entry for entry in source.tensors(timeline[-1].id)}


def alike(one: Scene, other: Scene) -> bool:
    """Tell whether two scenes differ at most in how far an attempt that is not shown has come."""
    if other.timeline and other.timeline[-1].status == "attempt":
        return False
    return replace(one, attempt=None) == replace(other, attempt=None)


def _whole(attempt: CheckpointRow, timeline: Timeline, progress: wire.Progress | None) -> bool:
    """Tell whether an attempt can be shown: the newest there is, no tensor without a number.

    That is so once its preview is stored; exact numbers then replace those of the preview.
    """
    if timeline:
        last = timeline[-1]
        if attempt.segment != last.segment or attempt.step <= last.step:
            return False
    if progress is None or progress.step != attempt.step:
        return False
    return 0 < progress.total <= attempt.tensors
