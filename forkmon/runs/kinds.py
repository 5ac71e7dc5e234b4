"""What a candidate's files are by their content, whatever they are called."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from forkmon.errors import CheckpointError, VanishedError
from forkmon.formats.sniff import SUPPORTED, refusal, sniff
from forkmon.runs.candidates import Candidate
from forkmon.runs.contents import Weight
from forkmon.runs.looking import Stats
from forkmon.runs.refs import Ignored
from forkmon.runs.remembered import Remembered
from forkmon.runs.suffixes import SAFETENSORS, is_surely_weights
from forkmon.text import safe

_TOGETHER = {"safetensors": frozenset({"safetensors", "torch"})}
"""Formats of an optimizer's state that are read beside weights; else only the weights' own."""

_PREFERRED = ("safetensors", "torch", "npz", "gguf")
"""Where a directory holds weights in several formats, the first of these is read."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A candidate reduced to the files that are weights, and the format they are in."""

    candidate: Candidate | None
    """None where no file of it is a checkpoint."""
    format: str = ""
    ignored: tuple[Ignored, ...] = ()


class Kinds:
    """Sniffs files, each content once."""

    def __init__(self, stats: Stats, *, with_optimizer: bool) -> None:
        self._sniffed = Remembered(_sniffed, stats)
        self._with_optimizer = with_optimizer

    def drop_unasked(self) -> None:
        """Forget the files that nobody asked about since the last call."""
        self._sniffed.drop_unasked()

    def of(self, candidate: Candidate) -> Kind:
        """Return a candidate's format; files that are no weights are left out and named."""
        if candidate.layout:
            return Kind(candidate, candidate.layout)
        if candidate.held_back or not candidate.files:
            return Kind(candidate)
        found = {weight: self._sniffed(weight.real) for weight in candidate.files}
        refused = {w: why for w, f in found.items() if (why := _refusal(w, f, candidate))}
        kept = tuple(weight for weight in candidate.files if weight not in refused)
        formats = {found[weight] for weight in kept} & SUPPORTED
        chosen = next((name for name in _PREFERRED if name in formats), "")
        for weight in kept:
            if chosen and found[weight] in formats - {chosen}:
                refused[weight] = f"{found[weight]}: beside weights in {chosen}, which are read"
        kept = tuple(weight for weight in kept if weight not in refused)
        ignored = tuple(Ignored(_path(candidate, w), why) for w, why in refused.items())
        if not kept:
            return Kind(None, ignored=ignored)
        optimizer = self._optimizer(candidate, chosen)
        said = f"optimizer state in another format than the weights ({chosen}): not read"
        ignored += tuple(
            Ignored(_path(candidate, weight), said)
            for weight in candidate.optimizer
            if self._with_optimizer and weight not in optimizer
        )
        return Kind(_with(candidate, kept, optimizer), chosen, ignored)

    def _optimizer(self, candidate: Candidate, chosen: str) -> tuple[Weight, ...]:
        """Return the files of the optimizer's state that can be read together with the weights."""
        if not self._with_optimizer:
            return ()
        readable = _TOGETHER.get(chosen, frozenset({chosen}))
        return tuple(w for w in candidate.optimizer if self._sniffed(w.real) in readable)


def _with(candidate: Candidate, kept: tuple[Weight, ...], more: tuple[Weight, ...]) -> Candidate:
    """Return the candidate with the files that were kept, and some more, alone."""
    gone = {weight.real for weight in candidate.files} - {weight.real for weight in kept}
    if not gone and not more:
        return candidate
    watched = tuple(path for path in candidate.watched if path not in gone)
    return replace(
        candidate,
        files=tuple(sorted((*kept, *more), key=lambda weight: weight.name)),
        watched=(*watched, *(weight.real for weight in more)),
    )


def _path(candidate: Candidate, weight: Weight) -> Path:
    if candidate.directory is None:
        return candidate.path.with_name(weight.name)
    return candidate.path / weight.name


def _refusal(weight: Weight, found: str, candidate: Candidate) -> str:
    """Return why a file is no part of a checkpoint; empty where it is, or where it is broken."""
    if candidate.is_asked_for or found in SUPPORTED or weight.name.endswith(SAFETENSORS):
        return ""
    if candidate.named is not None and (is_surely_weights(weight.name) or found == "empty"):
        return ""
    return safe(found)


def _sniffed(path: Path) -> str:
    try:
        return sniff(path)
    except VanishedError:
        raise
    except CheckpointError as error:
        return str(error)


def refusal_of(path: Path) -> str:
    """Return why a file is not read, whatever it is called; empty where it is."""
    try:
        return refusal(path)
    except CheckpointError as error:
        return str(error)
