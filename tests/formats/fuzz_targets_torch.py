"""One function a parser that takes any bytes: hypothesis calls them in CI, atheris by hand.

By hand: `import atheris, sys, fuzz_targets_torch as t`, with `forkmon.formats` imported under
`atheris.instrument_imports()`, then `atheris.Setup(sys.argv, t.fuzz_torch); atheris.Fuzz()`.
Each returns quietly or raises what is a bug: errors of the CheckpointError family are answers.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from forkmon.errors import CheckpointError
from forkmon.formats.gguf import read_gguf
from forkmon.formats.npz import read_npz
from forkmon.formats.pickles import Opaque, load
from forkmon.formats.proof import prove
from forkmon.formats.refs import Listing, TensorRef
from forkmon.formats.safetensors import parse_header
from forkmon.formats.torch_file import TorchFile, read_torch
from forkmon.formats.torch_reader import listed
from forkmon.formats.torch_tree import named_tensors, step_of

PATH = Path("fuzzed.bin")
Target = Callable[[bytes], None]


def fuzz_pickle(data: bytes) -> None:
    """The pickle machine, and the walk over what it made."""
    try:
        root = load(data, "fuzzed")
        step_of(root)
        for _ in named_tensors(root):
            pass
    except CheckpointError:
        return


def fuzz_torch(data: bytes) -> None:
    """A whole file of torch.save's, zip or legacy, down to its tensors' places."""
    with _File(data) as fd:
        try:
            _walk(read_torch(fd, len(data), PATH), len(data))
        except CheckpointError:
            return


def fuzz_npz(data: bytes) -> None:
    """An archive of numpy's."""
    with _File(data) as fd:
        try:
            found = read_npz(fd, len(data), PATH)
        except CheckpointError:
            return
    _inside([tensor for tensor in found if isinstance(tensor, TensorRef)], len(data))


def fuzz_gguf(data: bytes) -> None:
    """A GGUF header; its tensors lie within what it promises."""
    with _File(data) as fd:
        try:
            header = read_gguf(fd, len(data), PATH)
        except CheckpointError:
            return
    _inside(list(header.listing.tensors), header.promised)


def fuzz_safetensors(data: bytes) -> None:
    """A safetensors header."""
    try:
        header = parse_header(data, PATH)
    except CheckpointError:
        return
    _inside(list(header.listing.tensors), header.promised)


def fuzz_prove(data: bytes) -> None:
    """The look that decides what a file is and whether it is all there."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        prove(Path(file.name))


TARGETS: tuple[Target, ...] = (
    fuzz_pickle, fuzz_torch, fuzz_npz, fuzz_gguf, fuzz_safetensors, fuzz_prove,
)  # fmt: skip


class _File:
    """Bytes as an open file, in memory."""

    def __init__(self, data: bytes) -> None:
        self._fd = os.memfd_create("fuzzed", os.MFD_CLOEXEC)
        os.write(self._fd, data)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _walk(file: TorchFile, size: int) -> None:
    step_of(file.root)
    tensors: list[TensorRef] = []
    for name, role, leaf in named_tensors(file.root):
        found = listed(leaf, name, PATH, file, role)
        if isinstance(found, TensorRef):
            tensors.append(found)
        assert isinstance(leaf, Opaque) or found.name
    _inside(tensors, size)


def _inside(tensors: list[TensorRef], size: int) -> None:
    """Hold that nothing would be read from outside the file."""
    Listing(tuple(tensors))
    for tensor in tensors:
        assert tensor.name
        tiles = tensor.tiled.tiles if tensor.tiled else ()
        for tile in tiles:
            strides = tile.strides or ()
            reach = 1 + sum((n - 1) * by for n, by in zip(tile.shape, strides, strict=True))
            assert 0 <= tile.offset <= tile.offset + reach <= size
        if not tiles:
            assert tensor.offset >= 0
            assert tensor.bytes == 0 or tensor.offset + tensor.bytes <= size
