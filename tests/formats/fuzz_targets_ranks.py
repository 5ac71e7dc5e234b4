"""What any bytes may be fed to: rank files of DeepSpeed and Megatron-LM, and their names.

Each target returns, or raises a CheckpointError; anything else is a bug.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from forkmon.errors import CheckpointError
from forkmon.formats import deepspeed, megatron
from forkmon.formats.deepspeed_masters import masters_of
from forkmon.formats.deepspeed_modules import modules_of
from forkmon.formats.deepspeed_names import part_of
from forkmon.formats.deepspeed_set import Ranked, RankSet, check
from forkmon.formats.deepspeed_tree import RankFile
from forkmon.formats.layout import Layout
from forkmon.formats.pickles import load
from forkmon.formats.proof import Whole

from .rank_checkpoints import ref_of_layout

STATES = "zero_pp_rank_0_mp_rank_00_model_states.pt"
OPTIM = "zero_pp_rank_0_mp_rank_00_optim_states.pt"
PLACE = Path("fuzzed")
STORAGES = {str(key): (0, 1 << 12) for key in range(8)}


def names(data: bytes) -> None:
    """Take bytes for the names in a directory."""
    found = frozenset(data.decode("utf-8", "surrogateescape").split("\n"))
    for module in (deepspeed, megatron):
        layout = module.recognise(found)
        assert layout is None or set(layout.files) <= found


def trees(data: bytes) -> None:
    """Take bytes for the pickles of a states file and an optimizer file, one after the other."""
    cut = len(data) // 2 if not data else data[0] * len(data) // 256
    files: list[Ranked] = []
    for name, raw in ((STATES, data[1:cut]), (OPTIM, data[cut:])):
        part = part_of(name)
        assert part is not None
        try:
            root = load(raw, name, lambda _: None)
        except CheckpointError:
            return
        files.append(Ranked(part, RankFile(PLACE / name, root, STORAGES)))
    built(RankSet(tuple(files)))


def built(ranks: RankSet) -> None:
    """Check a set of files and put it together, as the reader does."""
    try:
        check(ranks)
        modules_of(ranks)
        masters_of(ranks, 0)
    except CheckpointError:
        return


def deepspeed_file(data: bytes) -> None:
    """Take bytes for the only file of a DeepSpeed checkpoint."""
    _file(data, "mp_rank_00_model_states.pt", deepspeed.recognise, deepspeed.DeepspeedReader())


def megatron_file(data: bytes) -> None:
    """Take bytes for the only file of a Megatron checkpoint."""
    name = "mp_rank_00/model_optim_rng.pt"
    _file(data, name, megatron.recognise, megatron.MegatronReader())


def _file(
    data: bytes,
    name: str,
    recognise: Callable[[frozenset[str]], Layout | None],
    reader: deepspeed.DeepspeedReader | megatron.MegatronReader,
) -> None:
    layout = recognise(frozenset({name}))
    assert layout is not None
    prove = deepspeed.prove if layout.format == "deepspeed" else megatron.prove
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        proof = prove(Path(folder), layout.files)
        try:
            reader.listing(ref_of_layout(Path(folder), layout))
        except CheckpointError:
            # What is proved whole may still be refused, never the other way round.
            return
        assert isinstance(proof, Whole)


TARGETS: tuple[Callable[[bytes], None], ...] = (names, trees, deepspeed_file, megatron_file)
