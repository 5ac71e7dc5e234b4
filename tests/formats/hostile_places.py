"""Runs full of what is no file, leads elsewhere or bears a hostile name, and of logs that lie."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from . import hostile_headers
from .hostile_bytes import call, good_safetensors, pickled, put, text

Make = Callable[[Path], None]


def special() -> dict[str, Make]:
    """What is no file, or leads to none."""
    links = {"zero": "/dev/zero", "tty": "/dev/tty", "passwd": "/etc/passwd", "root": "/",
             "proc": "/proc/self/mem", "environ": "/proc/self/environ", "self": "step_1.pt",
             "up": "../../..", "nowhere": "/nowhere/at/all", "stdin": "/dev/stdin"}  # fmt: skip
    found: dict[str, Make] = {f"link_{k}": partial(_link, target) for k, target in links.items()}
    found["fifos"] = _fifos
    found["sockets"] = _sockets
    found["directories"] = _directories
    found["loops"] = _loops
    found["names"] = _names
    found["deep"] = _deep
    found["many"] = _many
    found["hub"] = _hub
    return found


def _link(target: str, root: Path) -> None:
    for name in ("step_1.pt", "step_2.safetensors", "checkpoint-3", "latest"):
        (root / name).symlink_to(target)
    inner = root / "checkpoint-4"
    put(inner / "model.safetensors", good_safetensors())
    for name in BESIDE:
        (inner / name).symlink_to(target)


BESIDE: Final = (
    "trainer_state.json", "config.json", "metrics.csv", "log.jsonl", "events.out.tfevents.1.host",
    "meta.pt", "optimizer.pt", "latest", "checkpoint_metadata.json", "random_states_0.pkl",
    ".metadata", "model.safetensors.index.json", "latest_checkpointed_iteration.txt",
)  # fmt: skip
"""Names of files that are looked into beside weights."""


def _fifos(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name in ("step_1.pt", "step_2.safetensors", "step_3.gguf", *BESIDE):
        os.mkfifo(root / name)
    inner = root / "checkpoint-4"
    put(inner / "model.safetensors", good_safetensors())
    for name in BESIDE:
        os.mkfifo(inner / name)


def _sockets(root: Path) -> None:
    inner = root / "checkpoint-4"
    put(inner / "model.safetensors", good_safetensors())
    before = Path.cwd()
    for place in (root, inner):
        os.chdir(place)  # a socket's path may have a hundred bytes
        for name in ("step_1.pt", "trainer_state.json", "config.json", "metrics.csv"):
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(name)
    os.chdir(before)


def _directories(root: Path) -> None:
    for name in ("step_1.pt", "step_2.safetensors", "model.safetensors", *BESIDE):
        (root / name / name).mkdir(parents=True)
    put(root / "step_9.safetensors/step_8.safetensors", good_safetensors())


def _loops(root: Path) -> None:
    put(root / "step_1.safetensors", good_safetensors())
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    (root / "checkpoint-1").symlink_to(".")
    (root / "checkpoints").symlink_to("checkpoints")
    (root / "runs").mkdir()
    (root / "runs/up").symlink_to("..")
    (root / "runs/checkpoint-2").symlink_to("../runs")


def _names(root: Path) -> None:
    """File names of bytes that are no text, that a terminal obeys, and as long as they may be."""
    raw = [
        b"step_1\xff\xfe.safetensors",
        b"step_2\x1b[2J.safetensors",
        b"step_3\n.safetensors",
        b"step_4[@click=app.quit].safetensors",
        "step_5\u202e.safetensors".encode(),
        b"step_6" + b"a" * 230 + b".safetensors",
        b"-rf_step_7.safetensors",
        b"step_8$(touch PROOF).safetensors",
        b"step_9\x9b31m.safetensors",
        b"step_\xd9\xa1\xd9\xa0.safetensors",
        b"step_" + b"9" * 200 + b".safetensors",
    ]
    for at, name in enumerate(raw):
        path = root / os.fsdecode(name)
        put(path, named_bytes(at))
    put(
        root / os.fsdecode(b"checkpoint-3\x1b]0;x\x07/trainer_state.json"),
        b'{"global_step": "\x1b[2J"}',
    )
    put(root / os.fsdecode(b"broken\x1b[5m_10.safetensors"), b"\xff" * 40)


def named_bytes(at: int) -> bytes:
    """Return a file with hostile names in it, each of other values."""
    raw = hostile_headers.named_safetensors()
    return raw[:-4] + struct.pack("<f", at)


def _deep(root: Path) -> None:
    put(root / "/".join(["checkpoint-1"] * 60) / "model.safetensors", good_safetensors())
    put(root / "/".join(["x"] * 200) / "step_1.safetensors", good_safetensors())


def _many(root: Path) -> None:
    for at in range(3000):
        (root / f"step_{at}").mkdir(parents=True)


def _hub(root: Path) -> None:
    """A model cache: the one place whose links lead out of the run, to the blobs beside it."""
    commit = "0123456789" * 4
    cache = root.parent / f"{root.name}.cache"
    put(cache / "blobs/aa", good_safetensors())
    index = b'{"weight_map":{"a.weight":"model-00001-of-00001.safetensors"}}'
    put(cache / "blobs/bb", index)
    put(cache / "refs/step1000", commit.encode())
    put(cache / "outside", pickled(call("os", "system", text("touch PROOF"))))
    shot = cache / "snapshots" / commit
    shot.mkdir(parents=True)
    (shot / "model-00001-of-00001.safetensors").symlink_to("../../blobs/aa")
    (shot / "model.safetensors.index.json").symlink_to("../../blobs/bb")
    (shot / "config.json").symlink_to("../../outside")
    root.rmdir()
    root.symlink_to(cache / "snapshots")


def beside() -> dict[str, Make]:
    """Logs and side files beside good weights."""
    far = struct.pack("<Q", (1 << 63) - 1)
    deep = b"[" * 100_000
    logs = {
        "events_far": ("events.out.tfevents.1.host", far + bytes(64)),
        "events_zeros": ("events.out.tfevents.1.host", bytes(1_000_000)),
        "lines_deep": ("metrics.jsonl", b'{"step":1,"loss":1}\n' + deep + b"\n"),
        "line_long": ("metrics.jsonl", b'{"step":1,"loss":' + b"1" * 5_000_000),
        "lines_many": (
            "metrics.jsonl",
            b"".join(b'{"step":%d,"l%d":1}\n' % (i, i) for i in range(20_000)),
        ),
        "lines_names": ("metrics.jsonl", b'{"step":1,"\x1b[2J":1,"[@click=app.quit]":2}\n' * 3),
        "lines_nan": ("metrics.jsonl", b'{"step":NaN,"loss":Infinity}\n{"step":1e999,"loss":1}\n'),
        "table_wide": (
            "metrics.csv",
            b",".join(b"c%d" % i for i in range(50_000)) + b"\n" + b"1," * 50_000,
        ),
        "table_long": ("metrics.csv", b"step,loss\n" + b'"' * 3_000_000),
        "table_formula": ("metrics.csv", b"step,=cmd|' /C calc'!A0,\x1b[2J\n1,2,3\n"),
        "state_deep": ("trainer_state.json", b'{"global_step":' + deep),
        "state_far": (
            "trainer_state.json",
            b'{"global_step":' + b"9" * 100_000 + b',"epoch":1e999}',
        ),
        "state_history": (
            "trainer_state.json",
            b'{"log_history":[' + b'{"step":1},' * 200_000 + b"{}]}",
        ),
        "config_deep": ("config.json", b'{"text_config":' * 50_000),
        "config_far": (
            "config.json",
            b'{"num_attention_heads":1e400,"hidden_size":-1,"n_head":[]}',
        ),
        "tracker": ("latest", b"../../../etc\n\x1b[2J" + bytes(1_000_000)),
    }
    return {f"log_{key}": partial(_logged, *pair) for key, pair in logs.items()}


def _logged(name: str, raw: bytes, root: Path) -> None:
    for place in (root, root / "checkpoint-4"):
        put(place / name, raw)
    put(root / "checkpoint-4/model.safetensors", good_safetensors())
