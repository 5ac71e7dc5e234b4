"""The screen before the first checkpoint: what forkmon looks for, what it found, the next key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkmon.draw.cells import clip_middle
from forkmon.draw.ink import Ink, Line, Span
from forkmon.text import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkmon.draw.glyphs import Glyphs
    from forkmon.tui.scene import Scene
    from forkmon.tui.watching import Watch
    from forkmon.tui.widgets.words import Box

LOOKS_FOR = (
    "checkpoint-N/    a Hugging Face Trainer run (its trainer_state.json comes last)",
    "step*.safetensors, *-N.pt, *.npz, *.gguf    one file a checkpoint",
    "*.index.json    shards, once all of them are there",
    "global_stepN/, iter_N/, .metadata    DeepSpeed, Megatron, torch.distributed",
)

SHOWN = 5
"""Ignored or unreadable paths that are named; the rest are counted."""


def waiting_lines(
    scene: Scene,
    watch: Watch,
    stderr: Sequence[str],
    run: str,
    box: Box,
) -> list[Line]:
    """Return the screen of a run without an analysed checkpoint."""
    width, glyphs = box.width, box.glyphs
    room = max(20, width - 6)
    title, text = _headline(scene, watch)
    lines: list[Line] = [
        (),
        (Span(f"   {title}", Ink.TITLE),),
        (Span(f"   {clip_middle(safe(run), room, glyphs)}", Ink.ACCENT),),
        (),
    ]
    if text:
        lines += [(Span(f"   {safe(text, room)}"),), ()]
    lines += _found(scene, room, glyphs)
    if watch.worker.phase in ("restarting", "stopped") and not watch.viewer:
        lines += _died(stderr, room)
    elif not watch.viewer:
        lines.append((Span("   looked for", Ink.MUTED),))
        lines += [(Span(f"   {glyphs.nothing} {what}"[: width - 1]),) for what in LOOKS_FOR]
        lines.append(())
    keys = "   r look again   ? help   q quit"
    return [*lines[: box.height - 2], (), (Span(keys, Ink.MUTED),)]


def _headline(scene: Scene, watch: Watch) -> tuple[str, str]:
    if watch.viewer:
        problem = watch.store_problem
        return "this history holds no analysed checkpoint", problem
    if watch.progress is not None:
        progress = watch.progress
        done = f"  {progress.done:,}/{progress.total:,} tensors" if progress.total else ""
        note = f"  {progress.note}" if progress.note else ""
        return "analysing the first checkpoint", f"step {progress.step:,}{done}{note}"
    if watch.worker.phase == "starting":
        return "starting the worker", ""
    if watch.worker.phase == "stopped":
        return "the worker stopped", watch.worker.why
    if watch.worker.phase == "restarting":
        return "the worker died; a new one starts soon", watch.worker.why
    note = watch.polled.note if watch.polled is not None else ""
    if watch.polled is not None and watch.polled.queued:
        return "a checkpoint is ready", "its analysis starts now"
    if watch.polled is not None and watch.polled.waiting:
        return "a checkpoint is being written", "its analysis starts once its files rest"
    if scene.failed:
        return "no readable checkpoint yet", note
    return "waiting for the first checkpoint", note


def _found(scene: Scene, room: int, glyphs: Glyphs) -> list[Line]:
    rows = [(row.path, row.reason or "unreadable", Ink.WARN) for row in scene.failed]
    rows += [(row.path, row.reason, Ink.MUTED) for row in scene.ignored]
    if not rows:
        return []
    lines: list[Line] = [(Span("   found", Ink.MUTED),)]
    for path, reason, ink in rows[:SHOWN]:
        name = clip_middle(safe(path.rstrip("/").rpartition("/")[2] or path), room // 3, glyphs)
        lines.append(
            (Span(f"   {glyphs.nothing} {name}  "), Span(safe(reason, 2 * room // 3), ink))
        )
    if len(rows) > SHOWN:
        lines.append((Span(f"   {glyphs.ellipsis} {len(rows) - SHOWN:,} more", Ink.MUTED),))
    return [*lines, ()]


def _died(stderr: Sequence[str], room: int) -> list[Line]:
    if not stderr:
        return []
    lines: list[Line] = [(Span("   its last words", Ink.MUTED),)]
    lines += [(Span(f"   {safe(text, room)}"),) for text in list(stderr)[-4:]]
    return [*lines, ()]
