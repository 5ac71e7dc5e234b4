"""Directories of many files: which format the names tell, and whether everything is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forkmon.errors import FormatError
from forkmon.formats import dcp, deepspeed, megatron, nanotron, ranks
from forkmon.formats.layout import Layout
from forkmon.formats.opening import explained
from forkmon.formats.proof import Proof
from forkmon.text import safe


@dataclass(frozen=True, slots=True)
class Directory:
    """What the module of a directory format offers."""

    recognise: Callable[[frozenset[str]], Layout | None]
    """From the names of all files: how to read the directory, None where it is another's."""
    prove: Callable[[Path, Sequence[str]], Proof]
    """Whether the files are complete and belong together; no data is read."""


DIRECTORIES = {
    # In the order in which they are asked: the names of the first tell most.
    "nanotron": Directory(nanotron.recognise, nanotron.prove),
    "megatron": Directory(megatron.recognise, megatron.prove),
    "deepspeed": Directory(deepspeed.recognise, deepspeed.prove),
    "ranks": Directory(ranks.recognise, ranks.prove),
    "dcp": Directory(dcp.recognise, dcp.prove),
}


def recognise(names: frozenset[str]) -> Layout | None:
    """Return the layout that the names in a directory make, None where they make none.

    `names` are relative to the directory, with `/` between parts.
    """
    for directory in DIRECTORIES.values():
        layout = directory.recognise(names)
        if layout is not None:
            return layout
    return None


def prove(name: str, directory: Path, files: Sequence[str]) -> Proof:
    """Return whether a directory of the format called `name` is complete.

    VanishedError where it is gone, AccessError where the operating system fails.
    """
    if name not in DIRECTORIES:
        raise FormatError(f"{safe(directory.name)}: no directory format {safe(name)}")
    try:
        return DIRECTORIES[name].prove(directory, files)
    except OSError as error:
        raise explained(error, directory) from None
