"""A directory in which each rank left its own safetensors file (torch's DCP writer for the hub)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from forkmon.errors import AccessError, FormatError, IncompleteError, TornError, VanishedError
from forkmon.formats.layout import Layout
from forkmon.formats.opening import file_print
from forkmon.formats.proof import Damaged, Partial, Proof, Whole
from forkmon.formats.safetensors_joined import joined
from forkmon.formats.safetensors_reader import file_listing
from forkmon.text import safe

_SHARD = re.compile(
    r"(?P<directory>(?:sharded/)?)shard-\d{5,7}-model-\d{5,7}-of-\d{5,7}\.safetensors"
)
_WHOLE = re.compile(r"model(?:-\d{5,6}-of-\d{5,6})?\.safetensors|model\.safetensors\.index\.json")


def recognise(names: frozenset[str]) -> Layout | None:
    """Return the layout of the ranks' files, None where the whole ones lie beside them."""
    if any(_WHOLE.fullmatch(name) for name in names):
        return None
    told = [match for name in sorted(names) if (match := _SHARD.fullmatch(name)) is not None]
    directories = {match["directory"] for match in told}
    if not told:
        return None
    wanted = min(directories)
    files = tuple(match.string for match in told if match["directory"] == wanted)
    return Layout("safetensors", files)


def prove(directory: Path, files: Sequence[str]) -> Proof:
    """Return whether each file is of its full length and together they make whole tensors."""
    try:
        parts = [
            file_listing(directory / name, file_print(name, os.lstat(directory / name)))
            for name in files
        ]
        joined(parts)
    except (FormatError, AccessError) as error:
        return Damaged(str(error))
    except (IncompleteError, TornError, VanishedError) as error:
        return Partial(f"still being written: {error}", f"incomplete: {error}")
    except FileNotFoundError as error:
        return Partial("still being written", f"incomplete: {safe(error)}")
    return Whole(zero_tail=False)
