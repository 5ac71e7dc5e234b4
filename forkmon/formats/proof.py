"""Is a weight file all there? Structure only: the poller adds stability and markers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from forkmon.errors import AccessError, FormatError, IncompleteError, TornError
from forkmon.formats import sniff
from forkmon.formats.gguf import read_gguf
from forkmon.formats.npz import read_npz
from forkmon.formats.opening import open_regular, read_bytes
from forkmon.formats.safetensors import PREFIX_BYTES, Header, read_header
from forkmon.formats.torch_file import ZIP_MAGIC, read_root
from forkmon.formats.torch_legacy import read_legacy
from forkmon.formats.torch_steps import step_of
from forkmon.text import safe

TAIL_BYTES = 4096
_STEP_KEYS = ("step", "global_step", "iteration")
_STEP_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Whole:
    """The structure is complete: every promised byte has its place in the file."""

    zero_tail: bool
    """The last bytes are all zero: a file made at its full length may still be filled."""
    step: int | None = None
    """The step that the file's own metadata names."""
    epoch: float | None = None
    """The epoch that it names, or the only thing it names."""


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
    found = sniff.sniff_open(fd, size, path)
    if size <= PREFIX_BYTES or found in (sniff.SAFETENSORS, sniff.UNKNOWN):
        return _prove_safetensors(fd, size, path)
    match found:
        case sniff.TORCH:
            return _prove_torch(fd, size, path)
        case sniff.NPZ:
            read_npz(fd, size, path)
            return Whole(zero_tail=False)
        case sniff.GGUF:
            return _prove_gguf(fd, size, path)
        case _:
            return Damaged(f"{safe(path.name)}: {found}", final=True)


def _prove_safetensors(fd: int, size: int, path: Path) -> Proof:
    header = read_header(fd, size, path)
    if size < header.promised:
        return _partial(header.promised, size)
    if size > header.promised:
        extra = size - header.promised
        return Damaged(f"{safe(path.name)}: {extra:,} bytes after its last tensor")
    return Whole(_zero_tail(fd, size, header.data_start, path), _step(header))


def _prove_torch(fd: int, size: int, path: Path) -> Proof:
    """Hold a zip against its directory, which is written last; a legacy file against its sizes."""
    if read_bytes(fd, 0, min(size, len(ZIP_MAGIC)), path) == ZIP_MAGIC:
        step, epoch = step_of(read_root(fd, size, path))
        return Whole(zero_tail=False, step=step, epoch=epoch)
    legacy = read_legacy(fd, size, path)
    if size < legacy.promised:
        return _partial(legacy.promised, size, "the pickle in it")
    if size > legacy.promised:
        extra = size - legacy.promised
        return Damaged(f"{safe(path.name)}: {extra:,} bytes after its last storage")
    step, epoch = step_of(legacy.root)
    return Whole(_zero_tail(fd, size, legacy.data_start, path), step, epoch)


def _prove_gguf(fd: int, size: int, path: Path) -> Proof:
    header = read_gguf(fd, size, path)
    if size < header.promised:
        return _partial(header.promised, size)
    if size >= header.promised + header.alignment:
        extra = size - header.promised
        return Damaged(f"{safe(path.name)}: {extra:,} bytes after its last tensor")
    return Whole(_zero_tail(fd, header.promised, header.data_start, path))


def _partial(promised: int, size: int, by: str = "the header") -> Partial:
    share = 100 * size // promised
    return Partial(
        f"still being written, {share} %",
        f"truncated: {by} promises {promised:,} bytes, the file has {size:,}",
    )


def _zero_tail(fd: int, size: int, data_start: int, path: Path) -> bool:
    length = min(TAIL_BYTES, size - data_start)
    return length > 0 and not any(read_bytes(fd, size - length, length, path))


def _step(header: Header) -> int | None:
    metadata = dict(header.listing.metadata)
    for key in _STEP_KEYS:
        text = metadata.get(key, "").strip()
        if text.isascii() and text.isdecimal() and len(text) <= _STEP_DIGITS:
            return int(text)
    return None
