"""A checkpoint of torch.save's files: one, or the shards of one state dict."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from forkmon.errors import FormatError
from forkmon.formats.opening import open_as_seen
from forkmon.formats.pickle_values import Distributed, Leaf, Opaque
from forkmon.formats.refs import Listing, Role, Skipped, TensorRef
from forkmon.formats.safetensors import NAME_CAP, TENSOR_CAP
from forkmon.formats.torch_file import TorchFile, read_torch, tensor_ref
from forkmon.formats.torch_optimizer import Parameter, is_optimizer
from forkmon.formats.torch_tree import named_tensors, only_averages
from forkmon.runs.refs import CheckpointRef, FilePrint
from forkmon.text import safe

Found = tuple[Role, TensorRef | Skipped]


class TorchReader:
    """Reads `.pt`, `.pth`, `.bin`, `.ckpt` and `.pth.tar`, zips and legacy files alike."""

    def listing(self, ref: CheckpointRef) -> Listing:
        """Return the tensors of all files, each as what it is a part of."""
        found = torch_listing(zip(ref.files, ref.fingerprint.files, strict=True))
        if not found.tensors and not found.skipped:
            raise FormatError(f"{safe(ref.path.name)}: there are no weights in it")
        return found


def torch_listing(
    settled: Iterable[tuple[Path, FilePrint]], parameters: Sequence[Parameter] = ()
) -> Listing:
    """Return what files of torch.save's hold together.

    `parameters` are those of files in other formats beside them: an optimizer's states are named
    after them.
    """
    files = [(path, _file(path, seen)) for path, seen in settled]
    tensors: list[TensorRef] = []
    skipped: list[Skipped] = []
    names: set[tuple[Role, str]] = set()
    for role, found in _all(files, parameters):
        if (role, found.name) in names:
            skipped.append(_named_twice(found))
        elif isinstance(found, Skipped):
            skipped.append(found)
        else:
            tensors.append(found)
        names.add((role, found.name))
        if len(names) > TENSOR_CAP:
            raise FormatError(f"{safe(files[0][0].name)}: more than {TENSOR_CAP:,} tensors")
    return Listing(tuple(tensors), tuple(skipped), notes=_notes(files, tensors))


def _file(path: Path, seen: FilePrint) -> TorchFile:
    fd = open_as_seen(path, seen)
    try:
        return read_torch(fd, seen.size, path)
    finally:
        os.close(fd)


def _all(
    files: list[tuple[Path, TorchFile]], beside: Sequence[Parameter]
) -> Iterator[Found]:  # fmt: skip
    """Yield what is in all files; states of an optimizer know the parameters of the others."""
    parameters = list(beside)
    for path, file in sorted(files, key=lambda named: is_optimizer(named[1].root)):
        for name, role, leaf in named_tensors(file.root, tuple(parameters)):
            found = listed(leaf, name, path, file, role)
            if role == "model" and isinstance(found, TensorRef):
                shape = leaf.shape if not isinstance(leaf, Opaque) else found.shape
                parameters.append((name, shape))
            yield role, found


def listed(
    leaf: Leaf, name: str, path: Path, file: TorchFile, role: Role
) -> TensorRef | Skipped:  # fmt: skip
    """Return where a tensor of a file is, or why it is not read."""
    if isinstance(leaf, Opaque):
        return Skipped(name[:NAME_CAP], leaf.dtype[:40] or "?", leaf.reason)
    if isinstance(leaf, Distributed):
        if leaf.local.shape == leaf.shape:
            return tensor_ref(leaf.local, name, path, file.storages, role)
        placed = safe(", ".join(leaf.placements), 80)
        reason = f"one rank's part of a tensor that others hold too ({placed})"
        return Skipped(name[:NAME_CAP], leaf.local.dtype[:40], reason)
    return tensor_ref(leaf, name, path, file.storages, role)


def _named_twice(found: TensorRef | Skipped) -> Skipped:
    return Skipped(found.name, found.dtype, "another tensor of the same name came before it")


def _notes(
    files: list[tuple[Path, TorchFile]], tensors: list[TensorRef]
) -> tuple[tuple[str, str], ...]:  # fmt: skip
    if not any(only_averages(file.root) for _, file in files):
        return ()
    said = "a running average (EMA): the file holds no other weights"
    return tuple((tensor.name, said) for tensor in tensors if tensor.role == "model")
