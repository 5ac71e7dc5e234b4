"""Everything the store said at one moment that the whole screen needs; loaded in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkmon.text import SafeText, safe
from forkmon.tui import tree_model
from forkmon.tui.tree_model import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forkmon.stats.alert import Alert
    from forkmon.store.values import CheckpointRow, IgnoredRow, TensorEntry, Timeline
    from forkmon.tui.source import Source


@dataclass(frozen=True, slots=True)
class Scene:
    """A consistent look at a run's history."""

    title: SafeText
    timeline: Timeline = ()
    """Analysed checkpoints, oldest first."""
    failed: tuple[CheckpointRow, ...] = ()
    ignored: tuple[IgnoredRow, ...] = ()
    attempt: CheckpointRow | None = None
    tree: Tree = tree_model.EMPTY
    entries: Mapping[int, TensorEntry] | None = None
    alerts: tuple[Alert, ...] = ()
    metrics: Mapping[str, Sequence[tuple[int, float]]] | None = None

    def index_of(self, checkpoint_id: int | None) -> int | None:
        """Return a checkpoint's place on the timeline."""
        return next((i for i, row in enumerate(self.timeline) if row.id == checkpoint_id), None)

    def checkpoint(self, checkpoint_id: int | None) -> CheckpointRow | None:
        """Return a checkpoint of the timeline by its id."""
        return next((row for row in self.timeline if row.id == checkpoint_id), None)

    def entry(self, tensor_id: int | None) -> TensorEntry | None:
        """Return a tensor or block of the newest checkpoint by its id."""
        return None if tensor_id is None or not self.entries else self.entries.get(tensor_id)


def load(open_source: Callable[[], Source], title: str, before: Scene | None) -> Scene:
    """Read a new scene; the tree of `before` is kept where the tensors are the same."""
    source = open_source()
    try:
        timeline = source.timeline()
        newest = timeline[-1].id if timeline else None
        entries = {} if newest is None else {e.id: e for e in source.tensors(newest)}
        if before is not None and before.entries == entries:
            tree = before.tree
        else:
            tree = tree_model.build(tuple(entries.values()), title)
        return Scene(
            title=safe(title),
            timeline=timeline,
            failed=source.failed(),
            ignored=source.ignored(),
            attempt=source.attempt(),
            tree=tree,
            entries=entries,
            alerts=source.alerts(),
            metrics=source.metrics(),
        )
    finally:
        source.close()
