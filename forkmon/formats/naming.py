"""Names as the model's author wrote them: what wrappers put around them is taken off."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from forkmon.formats.refs import Listing, Role, Skipped, TensorRef
from forkmon.text import safe

_WRAPPERS: Final = re.compile(
    r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\."
)
"""torch.compile, FSDP, activation checkpointing, Fabric: anywhere in a name."""
_PARALLEL: Final = "module."
"""DistributedDataParallel: only at the begin, further in it may be the author's own."""

_Key = tuple[Role, str]


def normalised(listing: Listing) -> Listing:
    """Return a listing under its plain names; doing it twice changes nothing more.

    Two tensors of a role whose plain names are the same keep the names they have on disk.
    """
    plain = Counter(_plain_keys(listing))
    renamed: dict[str, str] = {}
    notes: list[tuple[str, str]] = []
    tensors: list[TensorRef] = []
    for tensor in listing.tensors:
        name = plain_name(tensor.name)
        if name == tensor.name:
            tensors.append(tensor)
        elif plain[tensor.role, name] > 1:
            notes.append((tensor.name, f"keeps its name: another tensor is {safe(name)} as well"))
            tensors.append(tensor)
        else:
            stored = tensor.stored_as or tensor.name
            notes.append((name, f"stored as {safe(stored)}"))
            renamed.setdefault(tensor.name, name)
            tensors.append(replace(tensor, name=name, stored_as=stored))
    skipped = tuple(_skip(skip, plain) for skip in listing.skipped)
    kept = [(renamed.get(name, name), said) for name, said in listing.notes]
    unseen = [note for note in notes if note not in set(kept)]
    return Listing(tuple(tensors), skipped, listing.metadata, (*kept, *unseen))


def plain_name(name: str) -> str:
    """Return a name without what wrappers put around it; never an empty one."""
    before = ""
    found = name
    while found != before:
        before = found
        found = _WRAPPERS.sub("", found).removeprefix(_PARALLEL)
    return found or name


def _plain_keys(listing: Listing) -> Iterable[_Key]:
    for tensor in listing.tensors:
        yield tensor.role, plain_name(tensor.name)
    for skip in listing.skipped:
        yield "model", plain_name(skip.name)


def _skip(skip: Skipped, plain: Counter[_Key]) -> Skipped:
    name = plain_name(skip.name)
    return skip if plain["model", name] > 1 else replace(skip, name=name)
