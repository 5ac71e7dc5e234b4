"""Shares of tensors over ranks: placements as torch means them; others are named, not guessed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats.pickles import Distributed, Storage, Stub, TorchTensor
from forkmon.formats.ranks_join import Joined
from forkmon.formats.ranks_parts import Part, Unsupported, parts_of
from forkmon.formats.tiles_cover import check_cover


def local(*shape: int) -> TorchTensor:
    return TorchTensor(Storage("f32", "0", 100), 0, shape, (1,) * len(shape), "f32")


def part_of(tensor: object, rank: int, world: int) -> Part | Unsupported:
    ((name, part),) = parts_of({"w": tensor}, rank, world)
    assert name == "w"
    return part


@given(st.integers(0, 20), st.integers(1, 9))
def test_shards_are_those_of_torch_chunk(length: int, world: int) -> None:
    """Along an axis of any length, ranks hold what torch.chunk deals out, some of them nothing."""
    dealt = list(torch.arange(length).chunk(world)) if length else []
    boxes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for rank in range(world):
        size = len(dealt[rank]) if rank < len(dealt) else 0
        part = part_of(Distributed(local(size, 3), (world,), ("S(0)",), (length, 3)), rank, world)
        assert isinstance(part, Part)
        ((start, tensor),) = part.pieces
        if size:
            assert start == (int(dealt[rank][0]), 0)
        boxes.append((start, tensor.shape))
    check_cover((length, 3), boxes, "w")


def test_repeated_parts_count_once() -> None:
    """On a mesh that repeats a shard, only the first rank of each contributes it."""
    held = []
    for rank in range(4):
        part = part_of(Distributed(local(2, 3), (2, 2), ("R", "S(0)"), (4, 3)), rank, 4)
        assert isinstance(part, Part)
        held.append([start for start, _ in part.pieces])
    assert held == [[(0, 0)], [(2, 0)], [], []]


@pytest.mark.parametrize(
    ("mesh", "placements", "world"),
    [
        ((2,), ("P",), 2),
        ((2,), ("_S(0,2)",), 2),
        ((2,), ("S(7)",), 2),
        ((2,), ("S(-1)",), 2),
        ((2, 2), ("S(0)", "?"), 4),
        ((2, 2), ("S(0)",), 4),
        ((), ("S(0)", "S(1)"), 4),
        ((2,), ("S(0)",), 4),
        ((0,), ("S(0)",), 1),
    ],
)
def test_other_placements_are_named(
    mesh: tuple[int, ...], placements: tuple[str, ...], world: int
) -> None:
    """Sums, strided shards and meshes of which the ranks are not known are not read."""
    part = part_of(Distributed(local(2, 3), mesh, placements, (4, 3)), 0, world)
    assert isinstance(part, Unsupported)
    assert part.reason


def test_a_shard_of_another_size_is_an_error() -> None:
    """What a rank holds must be what its placement says."""
    with pytest.raises(FormatError, match="'w'"):
        part_of(Distributed(local(3, 3), (2,), ("S(0)",), (4, 3)), 0, 2)


@pytest.mark.parametrize("state", [None, (), ([], None), ([Stub("Shard")], Stub("M")), ([1], 2)])
def test_shards_without_their_places_are_errors(state: object) -> None:
    """A ShardedTensor that does not say where its shards belong is not guessed at."""
    tensor = Stub("torch.distributed._shard.sharded_tensor.api.ShardedTensor")
    tensor.state = state
    with pytest.raises(FormatError, match="'w'"):
        part_of(tensor, 0, 2)


def flat_state(rank: int, *views: tuple[str, int, int], size: int = 10) -> dict[str, object]:
    """Return a local state of FSDP: a rank's half of a flat parameter, and views of it."""
    shard = TorchTensor(Storage("f32", "7", size), 0, (size,), (1,), "f32")
    meta, place, whole = Stub("ShardMetadata"), Stub("Shard"), Stub("ShardedTensorMetadata")
    meta.state = {"shard_offsets": [rank * size], "shard_sizes": [size]}
    place.state = {"tensor": shard, "metadata": meta}
    whole.state = {"size": (2 * size,)}
    flat = Stub("torch.distributed._shard.sharded_tensor.api.ShardedTensor")
    flat.state = ([place], whole)
    state: dict[str, object] = {"a._flat_param": flat}
    for name, offset, length in views:
        storage = shard.storage if length else Storage("f32", "8", 0)
        state[name] = TorchTensor(storage, offset, (length,), (1,), "f32")
    return state


def joined(*states: dict[str, object]) -> Joined:
    found = Joined("model")
    for rank, state in enumerate(states):
        for name, part in parts_of(state, rank, len(states)):
            found.take(name, part, Path(f"rank{rank}"), {"7": (100, 40), "8": (0, 0)})
    return found


def test_a_local_state_is_the_parameters_that_lie_in_it() -> None:
    """Stretches of the flat parameter that go on in the next rank are one vector each."""
    first = flat_state(0, ("a.w", 0, 6), ("a.b", 7, 3), ("a.c", 0, 0))
    second = flat_state(1, ("a.w", 0, 0), ("a.b", 0, 2), ("a.c", 4, 5))
    found = joined(first, second).listing("")
    assert {t.name: t.shape for t in found.tensors} == {"a.w": (6,), "a.b": (5,), "a.c": (5,)}
    places = {t.name: t for t in found.tensors}
    assert (places["a.c"].file.name, places["a.c"].offset) == ("rank1", 116)
    assert [tile.start for tile in (places["a.b"].tiled or pytest.fail("whole")).tiles] == [
        (0,), (3,),
    ]  # fmt: skip
    assert {name for name, _ in found.notes} == set(places)


def test_pieces_that_do_not_follow_each_other_are_not_joined() -> None:
    """A stretch that ends before its shard does, and goes on in the next, lacks something."""
    with pytest.raises(IncompleteError, match=r"'a\.w'"):
        joined(flat_state(0, ("a.w", 0, 6)), flat_state(1, ("a.w", 0, 2))).listing("")


def test_a_flat_parameter_alone_is_a_tensor() -> None:
    """Where nothing says what lies in it, it is shown as it is."""
    found = joined(flat_state(0), flat_state(1)).listing("")
    assert [(t.name, t.shape) for t in found.tensors] == [("a._flat_param", (20,))]


def test_copies_of_every_rank_are_noted() -> None:
    """Of a plain tensor that all ranks have, the first one is read, and that is said."""
    plain = TorchTensor(Storage("f32", "7", 10), 0, (2, 3), (3, 1), "f32")
    found = joined({"w": plain}, {"w": plain}).listing("")
    assert [(t.file.name, t.offset) for t in found.tensors] == [("rank0", 100)]
    assert "first rank's" in dict(found.notes)["w"]
    with pytest.raises(FormatError, match="differ"):
        joined({"w": plain}, {"w": replace(plain, shape=(3, 3))})
