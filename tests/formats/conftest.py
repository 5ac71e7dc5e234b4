"""Files made by hand, byte by byte, and refs to them as the poller would give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from forkmon.formats.opening import file_print
from forkmon.runs.refs import CheckpointRef, Fingerprint

RefOf = Callable[..., CheckpointRef]
Raw = Callable[..., bytes]


@pytest.fixture
def ref_of() -> RefOf:
    """Return a maker of the ref of files that have settled."""

    def make(*files: Path, path: Path | None = None) -> CheckpointRef:
        ordered = tuple(sorted(files))
        prints = Fingerprint(tuple(file_print(file.name, file.stat()) for file in ordered))
        where = path or ordered[0]
        return CheckpointRef(where, 1, "safetensors", ordered, prints, "heuristic")

    return make


@pytest.fixture
def raw() -> Raw:
    """Return a maker of a safetensors file's bytes from a header (object or bytes) and data."""

    def make(header: object, data: bytes = b"") -> bytes:
        body = header if isinstance(header, bytes) else json.dumps(header).encode()
        return len(body).to_bytes(8, "little") + body + data

    return make
