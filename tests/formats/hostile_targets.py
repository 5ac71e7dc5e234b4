"""Fuzz targets of what lies beside the weights, and of a whole run of one file, looked at and read.

Each returns quietly or raises what is a bug: errors of the CheckpointError family are answers.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from forkmon.errors import CheckpointError
from forkmon.formats import layouts
from forkmon.formats.logical import logical_listing
from forkmon.formats.logical_config import numbers, read_config
from forkmon.formats.reading import OpenFiles
from forkmon.formats.sharded import parse_index, shard_names
from forkmon.runs import beside, steps
from forkmon.runs.filesystem import FileSystem
from forkmon.runs.poll import Poller, Sight

READ_CAP = 1 << 20
LOCAL = FileSystem("ext4", network=False)
LATER = 2e9


@cache
def directory() -> Path:
    """Return a directory of this process's own, in memory where there is such a place."""
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108
    return Path(tempfile.mkdtemp(prefix="forkmon-fuzz-", dir=place))


def index(data: bytes) -> None:
    """An index of shards: whatever it names is a file of its own directory."""
    for name in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        with suppress(CheckpointError):
            for shard in shard_names(parse_index(data, Path(name))):
                assert Path(shard).name == shard
                assert "\0" not in shard
                assert shard.isprintable()


def config(data: bytes) -> None:
    """A model's config.json."""
    path = directory() / "config.json"
    path.write_bytes(data)
    found = numbers(read_config(path))
    assert 0 <= found.heads < 1 << 31


def state(data: bytes) -> None:
    """The files beside weights that tell a step."""
    place = directory() / "side"
    place.mkdir(exist_ok=True)
    for name in (steps.TRAINER_STATE, "checkpoint_metadata.json", "meta.pt"):
        path = place / name
        path.write_bytes(data)
        named = beside.step_beside(place)
        assert named is None or 0 <= named.step < 10**18
        beside.epoch_beside(place)
        path.unlink()


def layout(data: bytes) -> None:
    """The names in a directory."""
    names = frozenset(data.decode("utf-8", "surrogateescape").split("\n"))
    found = layouts.recognise(names)
    assert found is None or set(found.files) <= names
    for name in names:
        named = steps.from_name(name)
        assert named is None or named.step >= 0


def run_of_torch(data: bytes) -> None:
    """A run of one file that torch could have written: found, listed and read."""
    _run("step_7.pt", data)


def run_of_safetensors(data: bytes) -> None:
    """A run of one safetensors file."""
    _run("step_7.safetensors", data)


def _run(name: str, data: bytes) -> None:
    root = directory() / "run"
    root.mkdir()
    try:
        path = root / name
        path.write_bytes(data)
        os.utime(path, (1e9, 1e9))
        read_all(look(root))
    finally:
        shutil.rmtree(root)


def look(root: Path) -> Sight:
    """Return what a first look at a run that has long been quiet finds."""
    wanted = frozenset({"model", "ema", "optimizer"})
    return Poller(root, interval=2, settle=5, roles=wanted, clock=lambda: 0.0, wall=lambda: LATER,
                  file_system=LOCAL).poll()  # fmt: skip


def read_all(sight: Sight) -> int:
    """List and read what is ready; return how many tensors could be read to the end."""
    done = 0
    for ref in sight.ready:
        with suppress(CheckpointError):
            found = logical_listing(ref)
            with OpenFiles(ref) as files:
                for tensor in found.tensors:
                    if tensor.bytes <= READ_CAP:
                        files.read_into(tensor, 0, memoryview(bytearray(tensor.bytes)))
                        done += 1
                files.verify()
    return done


TARGETS: tuple[Callable[[bytes], None], ...] = (
    index, config, state, layout, run_of_torch, run_of_safetensors,
)  # fmt: skip
