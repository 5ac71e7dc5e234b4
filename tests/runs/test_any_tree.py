"""Whatever lies in a run directory, a look at it ends, tells no lie and leaves nothing open."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from forkmon.runs.filesystem import FileSystem
from forkmon.runs.poll import Poller

NAMES = (
    "checkpoint-1", "checkpoint_2", "step-3", "global_step4", "iter_0000005", "6", "epoch_7",
    "latest", "last.ckpt", "best.pt", "final", "checkpoints", "weights", "actor", "model",
    "model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json",
    "pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin", "ckpt.pt",
    "model_000008.pt", "meta_000008.json", ".metadata", "__0_0.distcp", "meta.pt",
    "mp_rank_00", "mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "model_optim_rng.pt", "model_world_size_2_rank_0.pt", "optimizer.pt", "random_states_0.pkl",
    "trainer_state.json", "checkpoint-is-incomplete.txt", "checkpoint-1-unfinished",
    "pytorch_model_fsdp_0", "model_and_optim", "train", "lit_model.pth", "model_config.json",
    "latest_checkpointed_iteration.txt", "last_checkpoint", "tmp-checkpoint-9", "x.gguf", "y.npz",
)  # fmt: skip
CONTENTS = (
    b"", b"\0" * 40, b"PK\x03\x04" + b"\0" * 40, b"\x80\x02.", b"{}", b'{"global_step": 5}',
    (16).to_bytes(8, "little") + b"{              }", b"GGUF" + b"\xff" * 30, b"latest",
    b"\xff" * 9, b'{"weight_map": {"w": "../../x.safetensors"}}',
    b'{"weight_map": {"w": "model.safetensors"}}',
)  # fmt: skip
LOCAL = FileSystem("ext4", network=False)

paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
trees = st.lists(st.tuples(paths, st.sampled_from(CONTENTS), st.booleans()), max_size=12)


def grow(root: Path, name: str, data: bytes, *, as_link: bool) -> None:
    """Put a file or a link into the tree, unless something of another kind is in its way."""
    path = root / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if as_link:
            path.symlink_to(data.decode("latin-1").strip("\0") or "..")
        else:
            path.write_bytes(data)
    except (OSError, ValueError):
        return


def open_files() -> int:
    """Return how many descriptors this process holds."""
    return len(list(Path("/proc/self/fd").iterdir()))


@settings(deadline=None, max_examples=150)
@given(trees)
def test_no_tree_breaks_a_look(tree: list[tuple[str, bytes, bool]]) -> None:
    """Any names of the frameworks in any order with any content: no error, no descriptor left."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made).resolve() / "run"
        root.mkdir()
        now = [2e9, 0.0]
        poller = Poller(
            root, interval=2, settle=5, clock=lambda: now[1], wall=lambda: now[0], file_system=LOCAL
        )
        before = open_files()
        for name, data, as_link in [*tree, ("end", b"", False), ("end", b"", False)]:
            grow(root, name, data, as_link=as_link)
            now[0], now[1] = now[0] + 100, now[1] + 100
            sight = poller.poll()
            for ref in sight.ready:
                assert ref.path in sight.present
                assert ref.files
                assert all(path.is_relative_to(root) for path in ref.files)
                assert len(ref.files) == len(ref.fingerprint.files)
            said = [(one.path, one.reason) for one in sight.waiting]
            said += [(one.path, one.reason) for one in sight.ignored]
            said += [(one.path, one.reason) for one in sight.broken]
            assert all(path.is_relative_to(root) for path, _ in said)
            assert all(reason and reason.isprintable() for _, reason in said)
        assert open_files() == before
