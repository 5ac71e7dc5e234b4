"""Tensors as a person means them: fused ones split, stacked ones apart, buffers left out.

A fusion fakes structure: the bias of a fused QKV is a spike and a slab, because K has hardly a
gradient there. What is not known for sure stays whole, with a note that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forkmon.formats import reading
from forkmon.formats.logical_buffers import buffer_reason
from forkmon.formats.logical_config import Config, find_config, numbers
from forkmon.formats.logical_experts import Stack, experts, parts_of, stack_of
from forkmon.formats.logical_fused import Model, fused, model_of
from forkmon.formats.logical_layout import Unknown
from forkmon.formats.logical_rules import Rule, by_rule
from forkmon.formats.logical_split import Outcome
from forkmon.formats.refs import Listing, Skipped, TensorRef
from forkmon.runs.refs import CheckpointRef
from forkmon.text import safe

LOGICAL_CAP = 100_000
"""Stacks that would make more tensors than this, all together, stay whole."""


def logical_listing(
    ref: CheckpointRef, rules: Sequence[Rule] = (), root: Path | None = None
) -> Listing:  # fmt: skip
    """Return what a checkpoint holds in logical tensors; reads headers and config.json."""
    return logical(reading.listing(ref), find_config(ref, root), rules)


def logical(listing: Listing, config: Config | None, rules: Sequence[Rule] = ()) -> Listing:
    """Return a listing in logical tensors, parts in the place of what they are parts of."""
    work = _Work(listing, model_of(listing.tensors, numbers(config)), tuple(rules))
    for tensor in listing.tensors:
        work.take(tensor)
    return Listing(
        tuple(work.tensors),
        (*listing.skipped, *work.skipped),
        listing.metadata,
        (*listing.notes, *work.notes),
    )


@dataclass(slots=True)
class _Work:
    """A listing on its way."""

    listing: Listing
    model: Model
    rules: tuple[Rule, ...]
    tensors: list[TensorRef] = field(default_factory=list[TensorRef])
    skipped: list[Skipped] = field(default_factory=list[Skipped])
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    names: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """(role, name): an average of the weights has its names in common with them."""
    places: dict[tuple[object, ...], str] = field(default_factory=dict[tuple[object, ...], str])

    def __post_init__(self) -> None:
        self.names.update((tensor.role, tensor.name) for tensor in self.listing.tensors)
        self.names.update(("model", skip.name) for skip in self.listing.skipped)

    def take(self, tensor: TensorRef) -> None:
        """Add one tensor of the disk as what it is."""
        reason = buffer_reason(tensor)
        if reason:
            self.skipped.append(Skipped(tensor.name, tensor.dtype, reason, is_parameter=False))
            return
        if self._tied(tensor):
            return
        parts = self._parts(tensor)
        if isinstance(parts, Unknown):
            self.notes.append((tensor.name, parts.reason))
            parts = None
        elif parts is not None:
            parts = self._unless_taken(tensor, parts)
        self.tensors.extend(parts or (tensor,))

    def _tied(self, tensor: TensorRef) -> bool:
        """Return whether another name stands for the very same bytes; they count once."""
        place = (
            tensor.role,
            tensor.file,
            tensor.offset,
            tensor.shape,
            tensor.dtype,
            tensor.view,
            tensor.tiled,
        )
        first = self.places.setdefault(place, tensor.name) if tensor.size else tensor.name
        if first == tensor.name:
            return False
        self.notes.append((tensor.name, f"the same bytes as {safe(first)}: counted once, there"))
        return True

    def _parts(self, tensor: TensorRef) -> Outcome:
        ruled = by_rule(tensor, self.rules)
        if isinstance(ruled, Rule):
            return None
        if ruled is not None:
            return ruled
        stack = stack_of(tensor, self.model)
        if isinstance(stack, Stack):
            return self._experts(stack)
        return stack or fused(tensor, self.model)

    def _experts(self, stack: Stack) -> Outcome:
        if len(self.tensors) + parts_of(stack) > LOGICAL_CAP:
            return Unknown(f"stacked experts left whole: more than {LOGICAL_CAP:,} tensors")
        found, note = experts(stack, self.model)
        if note:
            self.notes.append((stack.tensor.name, note))
        return found

    def _unless_taken(
        self, tensor: TensorRef, parts: tuple[TensorRef, ...]
    ) -> tuple[TensorRef, ...] | None:  # fmt: skip
        """Return the parts unless a name of theirs is in use already."""
        new = [(part.role, part.name) for part in parts if part.name != tensor.name]
        clash = next((named for named in new if named in self.names), None)
        if clash is not None:
            self.notes.append((tensor.name, f"left whole: {safe(clash[1])} is there as well"))
            return None
        self.names.update(new)
        return parts
