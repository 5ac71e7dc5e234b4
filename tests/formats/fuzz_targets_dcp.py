"""Fuzz targets of what ranks write: any bytes give a listing or a CheckpointError, nothing else.

Each is a plain function of bytes, for hypothesis in the tests and for atheris by hand:
`python -m atheris`-style drivers import this file and call one of `TARGETS`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from forkmon.errors import CheckpointError
from forkmon.formats import dcp, nanotron, ranks, safetensors
from forkmon.formats.dcp_chunks import tiles_of
from forkmon.formats.dcp_metadata import Chunk, Entry, Stored, merged, parse_metadata
from forkmon.formats.dcp_names import named
from forkmon.formats.nanotron_slices import pairs_of, shape_of
from forkmon.formats.opening import file_print
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import Listing
from forkmon.formats.safetensors_joined import is_part, joined
from forkmon.formats.tiles_cover import check_cover
from forkmon.runs.refs import CheckpointRef, Fingerprint

READ_CAP = 1 << 20
"""Tensors up to this many bytes are read whole."""


@cache
def directory() -> Path:
    """Return a directory of this process's own."""
    return Path(tempfile.mkdtemp(prefix="forkmon-fuzz-"))


def ref_to(format_: str, files: dict[str, bytes]) -> CheckpointRef:
    """Write files and return the ref of a checkpoint of them."""
    for name, data in files.items():
        (directory() / name).parent.mkdir(parents=True, exist_ok=True)
        (directory() / name).write_bytes(data)
    paths = tuple(directory() / name for name in sorted(files))
    prints = tuple(file_print(n, p.stat()) for n, p in zip(sorted(files), paths, strict=True))
    return CheckpointRef(directory(), 1, format_, paths, Fingerprint(prints), "marker")


def read_all(ref: CheckpointRef, found: Listing) -> None:
    """Read what was listed: what passed the checks must lie in its files."""
    with OpenFiles(ref) as files:
        for tensor in found.tensors:
            if tensor.bytes <= READ_CAP:
                files.read_into(tensor, 0, memoryview(bytearray(tensor.bytes)))


def fuzz_metadata(data: bytes) -> None:
    """A `.metadata`, alone and beside an empty file of chunks."""
    with suppress(CheckpointError):
        found = parse_metadata(data, "fuzzed")
        named(merged([found, found]).tensors)
        for entry in found.tensors:
            with suppress(CheckpointError):
                check_cover(entry.shape, [(c.start, c.shape) for c in entry.chunks], "fuzzed")
    with suppress(CheckpointError):
        ref = ref_to("dcp", {".metadata": data, "__0_0.distcp": b""})
        read_all(ref, dcp.DcpReader().listing(ref))


def fuzz_chunk(data: bytes) -> None:
    """A file that is to hold one chunk of six floats."""
    ref = ref_to("dcp", {"__0_0.distcp": data})
    chunk = Chunk((0, 0), (2, 3), Stored("__0_0.distcp", 0, len(data)))
    entry = Entry("w", ("w",), "f32", (2, 3), (chunk,))
    with suppress(CheckpointError):
        files = {"__0_0.distcp": (ref.files[0], ref.fingerprint.files[0])}
        for tile in tiles_of([entry, entry], files)["w"]:
            assert 0 <= tile.offset <= len(data)


def fuzz_rank(data: bytes) -> None:
    """A rank's file of a world of one."""
    ref = ref_to("ranks", {"model_world_size_1_rank_0.pt": data})
    with suppress(CheckpointError):
        read_all(ref, ranks.RanksReader().listing(ref))


def fuzz_shard(data: bytes) -> None:
    """The header of a rank's safetensors file."""
    with suppress(CheckpointError):
        found = safetensors.parse_header(data, Path("fuzzed")).listing
        if is_part(found):
            joined([found])


def fuzz_parameter(data: bytes) -> None:
    """A parameter's file of nanotron's, and the texts in its metadata."""
    ref = ref_to("nanotron", {"model/a/model_weight.safetensors": data})
    with suppress(CheckpointError):
        read_all(ref, nanotron.NanotronReader().listing(ref))
    text = data.decode("utf-8", "replace")
    with suppress(CheckpointError):
        shape_of(text, "fuzzed")
    with suppress(CheckpointError):
        pairs_of(text, (4, 6), (8, 6), "fuzzed")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "metadata": fuzz_metadata,
    "chunk": fuzz_chunk,
    "rank": fuzz_rank,
    "shard": fuzz_shard,
    "parameter": fuzz_parameter,
}


def fuzz(data: bytes) -> None:
    """Give the same bytes to every target."""
    for target in TARGETS.values():
        target(data)
