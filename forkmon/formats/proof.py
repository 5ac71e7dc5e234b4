"""Is a weight file all there? Structure only: the poller adds stability and markers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from forkmon.errors import AccessError, FormatError, IncompleteError, TornError
from forkmon.formats.opening import open_regular, read_bytes
from forkmon.formats.safetensors import PREFIX_BYTES, Header, read_header
from forkmon.formats.sniff import SAFETENSORS, UNKNOWN, sniff_bytes
from forkmon.text import safe

TAIL_BYTES = 4096
_STEP_KEYS = ("step", "global_step", "iteration")
_STEP_DIGITS = 18
_HEAD_BYTES = 512


@dataclass(frozen=True, slots=True)
class Whole:
    """The structure is complete: every promised byte has its place in the file."""

    zero_tail: bool
    """The last bytes are all zero: a file made at its full length may still be filled."""
    step: int | None = None
    """The step that the file's own metadata names."""


@dataclass(frozen=True, slots=True)
class Partial:
    """Bytes are missing: it grows, or it was cut off."""

    growing: str
    """What to say while it may still grow."""
    final: str
    """What to say once it has not changed for long."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """No amount of further bytes makes this readable."""

    reason: str
    final: bool = False
    """Told from what does not change while a file grows: no second look is needed."""


Proof = Whole | Partial | Damaged


def prove(path: Path) -> Proof:
    """Return whether the file at `path` is complete; VanishedError where it is gone."""
    try:
        fd = open_regular(path)
    except (FormatError, AccessError) as error:
        return Damaged(str(error), final=True)
    try:
        return _prove_open(fd, os.fstat(fd).st_size, path)
    except (FormatError, AccessError) as error:
        return Damaged(str(error))
    except IncompleteError as error:
        return Partial(f"still being written: {error}", f"truncated: {error}")
    except TornError as error:
        return Partial(f"still being written: {error}", str(error))
    finally:
        os.close(fd)


def _prove_open(fd: int, size: int, path: Path) -> Proof:
    found = sniff_bytes(read_bytes(fd, 0, min(size, _HEAD_BYTES), path))
    if size > PREFIX_BYTES and found not in (SAFETENSORS, UNKNOWN):
        return Damaged(f"{safe(path.name)}: {found}", final=True)
    header = read_header(fd, size, path)
    if size < header.promised:
        return _partial(header.promised, size)
    if size > header.promised:
        extra = size - header.promised
        return Damaged(f"{safe(path.name)}: {extra:,} bytes after its last tensor")
    return Whole(_zero_tail(fd, size, header, path), _step(header))


def _partial(promised: int, size: int) -> Partial:
    share = 100 * size // promised
    return Partial(
        f"still being written, {share} %",
        f"truncated: the header promises {promised:,} bytes, the file has {size:,}",
    )


def _zero_tail(fd: int, size: int, header: Header, path: Path) -> bool:
    length = min(TAIL_BYTES, size - header.data_start)
    return length > 0 and not any(read_bytes(fd, size - length, length, path))


def _step(header: Header) -> int | None:
    metadata = dict(header.listing.metadata)
    for key in _STEP_KEYS:
        text = metadata.get(key, "").strip()
        if text.isascii() and text.isdecimal() and len(text) <= _STEP_DIGITS:
            return int(text)
    return None
