"""A checkpoint is ready when it is all there, and not before."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save

from forkmon.runs.refs import Waiting

if TYPE_CHECKING:
    from .conftest import Run

WHOLE = save({"w": np.arange(1, 9, dtype=np.float32)})


def test_no_prefix_of_a_growing_file_is_ever_ready(run: Run) -> None:
    """Cut at any byte, looked at for ever so long, a file is not ready; whole, it is."""
    path = run.root / "step_10.safetensors"
    for length in range(len(WHOLE)):
        run.write(path, WHOLE[:length])
        for _ in range(3):
            sight = run.poll(after=20.0)
            assert not sight.ready, length
            assert sight.waiting or sight.broken
            assert path in sight.present
    run.write(path, WHOLE)
    assert run.steps() == []
    assert run.steps(after=4.9) == []
    assert run.steps(after=0.2) == [10]
    assert run.steps(after=100.0) == []


def test_growth_is_told_in_percent(run: Run) -> None:
    """The reason of a growing file says how far it is."""
    path = run.write(run.root / "step_1.safetensors", WHOLE[: len(WHOLE) - 16])
    share = 100 * (len(WHOLE) - 16) // len(WHOLE)
    assert run.poll().waiting == (Waiting(path, f"still being written, {share} %"),)


def test_what_is_old_and_whole_is_ready_at_first_sight(run: Run) -> None:
    """A finished directory opens at once, in numeric order."""
    for step in (1000, 20, 3):
        run.trainer(f"checkpoint-{step}", age=3600)
    sight = run.poll()
    assert [ref.step for ref in sight.ready] == [3, 20, 1000]
    assert {ref.complete for ref in sight.ready} == {"marker"}
    assert not sight.waiting
    assert not sight.note


def test_a_file_from_the_future_is_watched_not_trusted(run: Run) -> None:
    """A clock that is ahead does not shorten the wait, nor make it endless."""
    run.weights("step_1.safetensors", age=-3600)
    assert run.steps() == []
    assert run.steps(after=5.0) == [1]


def test_a_trainers_last_file_shortens_the_wait(run: Run) -> None:
    """With trainer_state.json not older than the weights, a second of quiet is enough."""
    run.trainer("checkpoint-5", marked=False)
    assert run.steps() == []
    run.trainer("checkpoint-5")
    assert run.steps(after=1.0) == []
    ready = run.poll(after=1.0).ready
    assert [(ref.step, ref.complete) for ref in ready] == [(5, "marker")]


def test_a_trainers_last_file_that_is_older_than_the_weights_is_no_marker(run: Run) -> None:
    """A stale marker of an earlier save is waited out, with its own words."""
    run.trainer("checkpoint-5", age=50)
    run.weights("checkpoint-5/model.safetensors", age=0, value=2.0)
    assert run.steps() == []
    sight = run.poll(after=30.0)
    assert not sight.ready
    assert "newer than its marker" in sight.waiting[0].reason
    assert [ref.complete for ref in run.poll(after=31.0).ready] == ["heuristic"]


def test_two_seconds_of_skew_do_not_make_a_marker_stale(run: Run) -> None:
    """The marker may look up to two seconds older than the weights."""
    run.trainer("checkpoint-5", age=2.0)
    run.touch(run.root / "checkpoint-5/model.safetensors", age=0.5)
    run.poll()
    assert [ref.complete for ref in run.poll(after=1.0).ready] == ["marker"]


def test_the_sentinel_of_an_unfinished_save_holds_everything_back(run: Run) -> None:
    """While checkpoint-is-incomplete.txt is there, nothing is read; then it is."""
    run.trainer("checkpoint-5", age=3600)
    sentinel = run.write(run.root / "checkpoint-5/checkpoint-is-incomplete.txt", b"", age=3600)
    for _ in range(3):
        sight = run.poll(after=400.0)
        assert not sight.ready
        assert not sight.broken
        assert "checkpoint-is-incomplete.txt" in sight.waiting[0].reason
    sentinel.unlink()
    run.touch(run.root / "checkpoint-5", age=100)
    assert run.steps(after=1.0) == [5]


def test_a_pre_sized_file_is_not_ready_while_its_end_is_zero_and_young(run: Run) -> None:
    """Full length, good header, zero tail: waits for a minute, then it is taken as it is."""
    filled = WHOLE[:-32] + b"\0" * 32
    run.write(run.root / "step_1.safetensors", filled)
    for _ in range(5):
        sight = run.poll(after=10.0)
        assert not sight.ready
        assert "all zero" in sight.waiting[0].reason
    assert run.steps(after=11.0) == [1]


def test_zero_weights_that_a_marker_follows_are_ready(run: Run) -> None:
    """A trainer's marker written after the weights proves that zeros are meant."""
    run.write(run.root / "checkpoint-0/model.safetensors", WHOLE[:-32] + b"\0" * 32)
    run.write(run.root / "checkpoint-0/trainer_state.json", b"{}")
    run.poll()
    assert run.steps(after=1.0) == [0]


def test_a_truncated_file_is_broken_after_five_minutes_once(run: Run) -> None:
    """Truncation is told with both sizes, once, and healing is noticed."""
    path = run.write(run.root / "step_1.safetensors", WHOLE[:-4])
    assert run.poll(after=299.0).waiting
    broken = run.poll(after=2.0).broken
    assert [b.reason for b in broken] == [
        f"truncated: the header promises {len(WHOLE)} bytes, the file has {len(WHOLE) - 4}"
    ]
    assert broken[0].step == 1
    again = run.poll(after=2.0)
    assert not again.broken
    assert not again.waiting
    run.write(path, WHOLE)
    run.poll()
    assert run.steps(after=5.0) == [1]


@pytest.mark.parametrize("data", [b"", b"1234", (400).to_bytes(8, "little")])
def test_a_stub_waits_while_young_and_is_broken_when_old(run: Run, data: bytes) -> None:
    """Empty files and lone lengths are waited for, then named."""
    path = run.write(run.root / "step_1.safetensors", data)
    assert run.poll().waiting
    run.touch(path, age=301)
    assert run.poll(after=1.0).broken


def test_a_damaged_file_never_hides_the_good_ones(run: Run) -> None:
    """One bad checkpoint is reported, the others are ready."""
    run.weights("step_1.safetensors", age=100)
    run.write(run.root / "step_2.safetensors", b"version https://git-lfs.github.com/spec/v1", age=0)
    run.write(run.root / "step_3.safetensors", (9).to_bytes(8, "little") + b"{nope:99}", age=100)
    sight = run.poll()
    assert [ref.step for ref in sight.ready] == [1]
    assert {b.step for b in sight.broken} == {2, 3}
    assert "git lfs pull" in sight.broken[0].reason + sight.broken[1].reason


def test_a_private_file_is_named_and_read_once_it_is_opened_up(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EACCES is a reason of its own; chmod changes the file, so it is tried again."""
    path = run.weights("step_1.safetensors", age=100)
    path.chmod(0o600)
    real = os.open

    def refuse(name: str | os.PathLike[str], flags: int, mode: int = 0o777) -> int:
        if str(name).endswith("step_1.safetensors"):
            raise PermissionError(13, "no")
        return real(name, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        sight = run.poll()
        assert "no permission to read (mode 600, owner uid" in sight.broken[0].reason
        assert not run.poll(after=2.0).broken
    path.chmod(0o644)
    run.poll()
    assert run.steps(after=5.0) == [1]


def sharded(run: Run, name: str, *, age: float = 0.0) -> list[Path]:
    """Write two shards and their index, in the order in which libraries write them."""
    shards = [f"{name}/model-{i:05d}-of-00002.safetensors" for i in (1, 2)]
    paths = [
        run.write(run.root / s, save({f"w{i}": np.ones(4)}), age) for i, s in enumerate(shards)
    ]
    index = {"weight_map": {f"w{i}": path.name for i, path in enumerate(paths)}}
    raw = json.dumps(index).encode()
    return [*paths, run.write(run.root / name / "model.safetensors.index.json", raw, age)]


def test_shards_are_one_checkpoint_once_their_index_is_there(run: Run) -> None:
    """Missing shards and a missing index are waited for by name."""
    first, second, index = sharded(run, "checkpoint-8")
    index_bytes, second_bytes = index.read_bytes(), second.read_bytes()
    index.unlink()
    second.unlink()
    assert "1 of 2 shards, no index yet" in run.poll().waiting[0].reason
    run.write(index, index_bytes)
    assert "1 of 2 shards" in run.poll(after=5.0).waiting[0].reason
    run.write(second, second_bytes)
    run.touch(index)
    run.poll()
    ready = run.poll(after=1.0).ready
    assert [ref.files for ref in ready] == [(first, second)]
    assert [p.name for p in ready[0].fingerprint.files] == [first.name, second.name]
    assert ready[0].complete == "marker"


def test_a_shard_that_never_comes_is_broken(run: Run) -> None:
    """After five minutes an incomplete set is named as such."""
    paths = sharded(run, "checkpoint-8", age=400)
    paths[0].unlink()
    assert "1 of 2 shards; model-00001-of-00002" in run.poll().broken[0].reason


def test_an_index_older_than_its_shards_waits(run: Run) -> None:
    """Shards written over an earlier save are not mixed with what the old index says."""
    paths = sharded(run, "checkpoint-8", age=30)
    run.touch(paths[0], age=0)
    run.poll()
    sight = run.poll(after=20.0)
    assert not sight.ready
    assert "newer than its marker" in sight.waiting[0].reason


def test_all_shards_without_an_index_are_taken_when_old(run: Run) -> None:
    """Counts in the names are proof enough once nobody writes any more."""
    sharded(run, "checkpoint-8", age=100)[2].unlink()
    assert [(r.step, r.complete) for r in run.poll().ready] == [(8, "heuristic")]


def test_a_hostile_index_is_broken_and_leads_nowhere(run: Run) -> None:
    """A weight map that names a path is refused; nothing outside is opened."""
    index = json.dumps({"weight_map": {"w": "../../secret.safetensors"}}).encode()
    run.write(run.root / "checkpoint-1/model.safetensors.index.json", index, age=100)
    assert "not followed" in run.poll().broken[0].reason


def test_a_single_file_goes_before_a_stale_index(run: Run) -> None:
    """An index left from an earlier, split save does not hide the new single file."""
    sharded(run, "checkpoint-8", age=100)
    single = run.weights("checkpoint-8/model.safetensors", age=100)
    assert [ref.files for ref in run.poll().ready] == [(single,)]
