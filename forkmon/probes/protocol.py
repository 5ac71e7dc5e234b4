"""What a probe is: a long measurement of one checkpoint, with parameters and a typed result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar

from forkmon.errors import UsageError
from forkmon.formats import reading
from forkmon.formats.logical import logical
from forkmon.formats.logical_config import Config, find_config
from forkmon.formats.logical_rules import Rule
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import Listing, TensorRef
from forkmon.probes.encoding import Json, decode, encode, fields_of, from_text
from forkmon.runs.refs import CheckpointRef
from forkmon.text import safe

P = TypeVar("P")
R = TypeVar("R")

Progress = Callable[[float, str], None]
"""Told the part that is done, from 0 to 1, and what comes next; raises to end the probe."""


class Subject:
    """A checkpoint under a probe: what it holds, and its bytes, for any thread, counted."""

    def __init__(self, ref: CheckpointRef, files: OpenFiles, root: Path | None = None) -> None:
        self.ref = ref
        self.bytes_read = 0
        self._files = files
        self._root = root
        self._counting = Lock()

    @cached_property
    def listing(self) -> Listing:
        """Return everything the checkpoint holds, fused tensors left whole."""
        return reading.listing(self.ref)

    @cached_property
    def config(self) -> Config | None:
        """Return its config.json, where there is a usable one."""
        return find_config(self.ref, self._root)

    def logical(self, rules: tuple[Rule, ...] = ()) -> Listing:
        """Return everything it holds in logical tensors."""
        return logical(self.listing, self.config, rules)

    def read_into(self, tensor: TensorRef, first: int, out: memoryview) -> None:
        """Fill `out` with the bytes of the tensor's elements from index `first` on."""
        self._files.read_into(tensor, first, out)
        with self._counting:
            self.bytes_read += out.nbytes


@dataclass(frozen=True, slots=True)
class Declined:
    """A probe has nothing to say of a checkpoint: what it looked for and did not find."""

    reason: str


@dataclass(frozen=True, slots=True)
class Probe(Generic[P, R]):
    """One instrument. `version` goes up whenever the same weights would give other numbers."""

    name: str
    version: int
    parameters: type[P]
    """A frozen dataclass with a default for everything."""
    result: type[R]
    """A frozen dataclass that `encoding` can write."""
    measure: Callable[[Subject, P, Progress], R | Declined]
    """Pure but for reading; raises CheckpointError, MemoryError and what `Progress` raises."""

    def read_parameters(self, given: Json) -> P:
        """Return parameters from JSON; UsageError for what they cannot be."""
        unknown = given.keys() - fields_of(self.parameters).keys()
        if unknown:
            raise UsageError(self._known(min(unknown)))
        try:
            return decode(self.parameters, given)
        except ValueError as error:
            raise UsageError(f"{self.name}: {safe(error)}") from None

    def parameters_from(self, pairs: tuple[str, ...]) -> Json:
        """Return the parameters that `key=value` texts change, and all others at their defaults."""
        given: Json = {}
        hints = fields_of(self.parameters)
        for pair in pairs:
            key, equals, text = pair.partition("=")
            if not equals or key not in hints:
                raise UsageError(self._known(key))
            try:
                given[key] = from_text(hints[key], text)
            except ValueError as error:
                raise UsageError(f"{self.name}: {key}={safe(text)}: {safe(error)}") from None
        return encode(self.read_parameters(given))

    def read_result(self, given: object) -> R:
        """Return a result from JSON; ValueError for what is none."""
        return decode(self.result, given)

    def answer(self, subject: Subject, given: Json, progress: Progress) -> Json | Declined:
        """Measure with parameters and a result in JSON: what crosses processes."""
        found = self.measure(subject, self.read_parameters(given), progress)
        return found if isinstance(found, Declined) else encode(found)

    def _known(self, key: str) -> str:
        known = ", ".join(fields_of(self.parameters))
        return f"{self.name} has no parameter {safe(key)!r}; it has {known}"


class AnyProbe(Protocol):
    """A probe whose types nobody needs to know: JSON in, JSON out."""

    @property
    def name(self) -> str:
        """Return what it is called on the command line."""
        ...

    @property
    def version(self) -> int:
        """Return the version of its numbers."""
        ...

    def parameters_from(self, pairs: tuple[str, ...]) -> Json:
        """Return all parameters, those of `key=value` texts changed."""
        ...

    def answer(self, subject: Subject, given: Json, progress: Progress) -> Json | Declined:
        """Measure."""
        ...


PROBES: Final[dict[str, str]] = {
    "neuromfa": "forkmon.probes.neuromfa",
    "pruning": "forkmon.probes.pruning",
    "spectrum": "forkmon.probes.spectrum",
}
"""Where each probe is; imported only when it is asked for."""


def find(name: str) -> AnyProbe:
    """Return a probe by its name; UsageError names those there are."""
    if name not in PROBES:
        raise UsageError(f"no probe is called {safe(name)!r}; there are {', '.join(PROBES)}")
    probe: AnyProbe = import_module(PROBES[name]).PROBE
    return probe
