"""Tensors on their way over the ranks: their parts are gathered, then shown to be all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats.ranks_parts import Kind, Part, Unsupported
from forkmon.formats.refs import ITEM_BYTES, Listing, Role, Skipped, TensorRef, Tile
from forkmon.formats.safetensors import NAME_CAP, TENSOR_CAP
from forkmon.formats.tiles_join import joined_tensor
from forkmon.formats.tiles_torch import Storages, torch_tile
from forkmon.text import safe

_COPY_NOTE = "every rank has one of its own: the first rank's is read"
_FLAT_NOTE = "flat: a local state of FSDP does not tell its shape"


@dataclass(slots=True)
class _Whole:
    """A tensor of which some ranks' parts are known."""

    shape: tuple[int, ...]
    dtype: str
    kind: Kind
    file: Path
    ranks: int = 0
    tiles: list[Tile] = field(default_factory=list[Tile])


class Joined:
    """The tensors of one state dict, in the order in which ranks name them."""

    def __init__(self, role: Role) -> None:
        self._role: Role = role
        self._found: dict[str, _Whole | Skipped] = {}

    def take(self, name: str, part: Part | Unsupported, path: Path, storages: Storages) -> None:
        """Add a rank's share of a tensor; FormatError where it contradicts the ranks before."""
        reason = part.reason if isinstance(part, Unsupported) else _unreadable(name, part)
        if reason or isinstance(part, Unsupported):
            self._found[name] = Skipped(name[:NAME_CAP], "?", reason)
            return
        what = f"{safe(path.name)}: tensor {safe(name)!r}"
        whole = self._found.setdefault(name, _Whole(part.shape, "", part.kind, path))
        if len(self._found) > TENSOR_CAP:
            raise FormatError(f"{safe(path.name)}: more than {TENSOR_CAP:,} tensors")
        if isinstance(whole, Skipped):
            return
        _check_same(whole, part, what)
        whole.ranks += 1
        if part.kind != "everywhere" or not whole.tiles:
            for start, tensor in part.pieces:
                whole.tiles.append(torch_tile(tensor, storages, start, path, what))

    def listing(self, prefix: str) -> Listing:
        """Return the tensors, names behind a prefix; an error where a part is missing."""
        tensors: list[TensorRef] = []
        skipped: list[Skipped] = []
        notes: list[tuple[str, str]] = []
        for name, whole in self._found.items():
            if isinstance(whole, Skipped):
                skipped.append(replace(whole, name=f"{prefix}{whole.name}"))
            elif not whole.dtype and whole.kind != "flat":
                skipped.append(Skipped(f"{prefix}{name}"[:NAME_CAP], "?", "no rank has a part"))
            else:
                found, note = self._finished(f"{prefix}{name}", whole)
                tensors += found
                notes += [(tensor.name, note) for tensor in found if note]
        return Listing(tuple(tensors), tuple(skipped), (), tuple(notes))

    def _finished(self, name: str, whole: _Whole) -> tuple[list[TensorRef], str]:
        what = f"tensor {safe(name)!r}"
        if whole.kind == "flat":
            if not whole.tiles:
                return [], ""
            length, tiles = _stretch(whole.tiles, what)
            flat = TensorRef(name, whole.dtype, (length,), whole.file, 0, self._role)
            return [joined_tensor(flat, tiles, what)], _FLAT_NOTE
        tensor = TensorRef(name, whole.dtype, whole.shape, whole.file, 0, self._role)
        joined = joined_tensor(tensor, whole.tiles, what)
        if whole.kind == "unpacked":  # all of it is there, under the names of its parts
            return [], ""
        copied = whole.kind == "everywhere" and whole.ranks > 1
        return [joined], _COPY_NOTE if copied else ""


def _check_same(whole: _Whole, part: Part, what: str) -> None:
    """Raise unless a part is of the tensor that the ranks before had."""
    dtype = part.pieces[0][1].dtype if part.pieces else ""
    whole.dtype = whole.dtype or dtype
    # A rank that has nothing but padding of a flat parameter does not tell that it is unpacked.
    if {whole.kind, part.kind} == {"placed", "unpacked"}:
        whole.kind = "unpacked"
    kinds = {whole.kind, part.kind} - ({"placed"} if whole.kind == "unpacked" else set())
    if whole.shape != part.shape or len(kinds) > 1 or (dtype and dtype != whole.dtype):
        raise FormatError(f"{what}: its ranks differ in shape, dtype or placement")


def _stretch(tiles: Sequence[Tile], what: str) -> tuple[int, list[Tile]]:
    """Return the length of a stretch of a flat parameter, and its pieces with places in it."""
    ordered = sorted(tiles, key=lambda tile: tile.start)
    for one, after in pairwise(ordered):
        if one.start[0] + one.shape[0] != after.start[0]:
            raise IncompleteError(f"{what}: the ranks' pieces of it do not follow each other")
    first = ordered[0].start[0]
    placed = [replace(tile, start=(tile.start[0] - first,)) for tile in ordered]
    return placed[-1].start[0] + placed[-1].shape[0], placed


def _unreadable(name: str, part: Part) -> str:
    unknown = [tensor.dtype for _, tensor in part.pieces if tensor.dtype not in ITEM_BYTES]
    if unknown:
        return f"dtype {safe(unknown[0], 40)} is not read by this version"
    if not name or len(name) > NAME_CAP:
        return f"its name has {len(name):,} characters"
    return ""
