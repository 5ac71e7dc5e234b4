"""Run directories that mean harm, each made by a few lines of code: what forkmon must survive."""

from __future__ import annotations

import os
import re
import shutil
import struct
from functools import partial
from pathlib import Path
from typing import Final

from . import hostile_archives, hostile_headers, hostile_pickles
from .hostile_bytes import (
    OLD,
    call,
    good_safetensors,
    legacy,
    mapping,
    named,
    number,
    pickled,
    put,
    state_dict,
    tensor,
    text,
    torch_zip,
)
from .hostile_places import Make, beside, special

FIXTURES: Final = Path(__file__).resolve().parent.parent / "fixtures"
EVIL: Final = call("os", "system", text(hostile_pickles.COMMAND))
DEEPSPEED: Final = "mp_rank_00_model_states.pt"


def cases() -> dict[str, Make]:
    """Return what makes each run directory, by the run's name."""
    return {**_files(), **_containers(), **_distributed(), **_indexes(), **special(), **beside()}


def _files() -> dict[str, Make]:
    """Runs of one file."""
    found: dict[str, Make] = {}

    def add(kind: str, suffix: str, raws: dict[str, bytes]) -> None:
        for name, raw in raws.items():
            found[f"{kind}_{name}"] = partial(_one, f"step_1{suffix}", raw)

    running = hostile_pickles.running()
    add("run", ".pt", {name: torch_zip(state_dict(("x", made))) for name, made in running.items()})
    add("bare", ".bin", {"evil": pickled(EVIL), "stub": pickled(named("os", "system"))})
    add("old", ".pth", {"evil": legacy(state_dict(("x", EVIL)))})
    add("odd", ".ckpt", {name: torch_zip(raw) for name, raw in hostile_pickles.odd().items()})
    add("bomb", ".pt", {name: torch_zip(raw) for name, raw in hostile_pickles.bombs().items()})
    tensors = hostile_archives.lies_of_tensors()
    add("tensor", ".pt", {name: torch_zip(raw) for name, raw in tensors.items()})
    add("zip", ".pt", hostile_archives.lying_zips())
    add("legacy", ".pt", hostile_archives.lying_legacy())
    add("npz", ".npz", hostile_archives.lying_numpy())
    add("st", ".safetensors", hostile_headers.lying_safetensors())
    add("gguf", ".gguf", hostile_headers.lying_gguf())
    add("torch", ".pt", {"names": named_torch()})
    found["sparse_pickle"] = partial(_one, "step_1.bin", b"\x80\x02", hole=127 << 20)
    found["sparse_member"] = partial(_sparse_zip, "step_1.pt")
    return found


def named_torch() -> bytes:
    """Return a torch file whose tensors bear hostile names."""
    good = (name for name in hostile_headers.NAMES if name != "\ud800")
    return torch_zip(pickled(mapping(*((name + ".w", tensor()) for name in good))))


def _one(name: str, raw: bytes, root: Path, *, hole: int = 0) -> None:
    put(root / name, raw, hole=hole)


def _sparse_zip(name: str, root: Path) -> None:
    """A pickle of 127 MB that takes no room on the disk."""
    from .hostile_bytes import central, end, local

    length = 127 << 20
    head, entry = local(b"x/data.pkl", length), central(b"x/data.pkl", length, 0)
    path = root / name
    put(path, head + b"\x80\x02", hole=length - 2)
    with path.open("ab") as file:
        file.write(entry + end(1, len(entry), len(head) + length))
    os.utime(path, (OLD, OLD))


def _containers() -> dict[str, Make]:
    """The same harm in every place where a framework keeps a pickle."""
    evil = torch_zip(state_dict(("x", EVIL), ("global_step", EVIL)))
    places = {
        "dcp": {".metadata": pickled(EVIL), "__0_0.distcp": evil},
        "dcp_meta": {"meta.pt": evil, ".metadata": pickled(EVIL), "__0_0.distcp": evil},
        "deepspeed": {DEEPSPEED: evil, "zero_pp_rank_0_mp_rank_00_optim_states.pt": evil},
        "megatron": {"mp_rank_00/model_optim_rng.pt": evil},
        "ranks": {"model_world_size_1_rank_0.pt": evil, "optim_world_size_1_rank_0.pt": evil},
        "shards": {f"pytorch_model-0000{i}-of-00002.bin": evil for i in (1, 2)},
        "random": {"random_states_0.pkl": pickled(EVIL), "model.safetensors": good_safetensors()},
        "recipe": {"recipe_state.pt": evil, "model.safetensors": good_safetensors()},
        "train": {"train/rank0.pt": evil, "model.safetensors": good_safetensors()},
        "optimizer": {
            "optimizer.pt": evil,
            "scheduler.pt": pickled(EVIL),
            "rng_state.pth": evil,
            "training_args.bin": evil,
            "model.safetensors": good_safetensors(),
        },
    }
    found: dict[str, Make] = {f"in_{k}": partial(_all_of, files) for k, files in places.items()}
    bombs = hostile_pickles.bombs()
    for name in ("dicts_doubled", "dicts_wide", "names_long", "rebuilds_deep", "tuple_keys_alike"):
        inner = bombs[name][2:-1]
        held = torch_zip(pickled(mapping(("module", inner), ("model", inner), ("args", b"}"))))
        flat = torch_zip(bombs[name])
        found[f"deepspeed_{name}"] = partial(_all_of, {DEEPSPEED: held})
        found[f"megatron_{name}"] = partial(_all_of, {"mp_rank_00/model_optim_rng.pt": held})
        found[f"ranks_{name}"] = partial(_all_of, {"model_world_size_1_rank_0.pt": flat})
        found[f"dcp_{name}"] = partial(_all_of, {".metadata": bombs[name], "__0_0.distcp": b"x"})
    return found


def _all_of(files: dict[str, bytes], root: Path) -> None:
    for name, raw in files.items():
        put(root / "checkpoint-5" / name, raw)


def _distributed() -> dict[str, Make]:
    """Real checkpoints of many files, with lies put into them."""
    paths = ("../../outside.distcp", "/etc/passwd", "..", "a/../../x", "x\0y", "__0_0.distcp\n",
             "link.distcp", "\x1b[2J", "", "a" * 250)  # fmt: skip
    found: dict[str, Make] = {
        f"dcp_path_{at}": partial(_dcp, rb"\x8c\x0c__0_0\.distcp", _short(path))
        for at, path in enumerate(paths)
    }
    found["dcp_good"] = partial(_dcp, rb"\x8c\x0c__0_0\.distcp", _short("__0_0.distcp"))
    places = {"length": rb"(?s)(?<=length\x94)M..", "offset": rb"(?s)(?<=offset\x94)K."}
    for name, old in places.items():
        for told in (1 << 62, -1, 3, 1 << 20):
            found[f"dcp_{name}_{told}"] = partial(_dcp, old, number(told))
    zero = {
        "param_shapes": b"]}("
        + text("a.weight")
        + b"("
        + number(1 << 62)
        + number(9)
        + b"tu"
        + b"a",
        "dp_world_size": number(1 << 62),
        "mp_world_size": number(-1),
        "num_experts": number(1 << 40),
        "global_steps": number(1 << 70),
        "shared_params": b"}" + text("a") + text("a") + b"s",
        "module": mapping(("a.weight", tensor(1 << 40))),
    }
    for name, value in zero.items():
        raw = torch_zip(pickled(mapping(("module", mapping(("a.weight", tensor()))),
                                        ("global_steps", number(3)), (name, value))))  # fmt: skip
        optim = torch_zip(pickled(mapping(("optimizer_state_dict", mapping((name, value))))))
        found[f"zero_{name}"] = partial(
            _all_of, {DEEPSPEED: raw, "zero_pp_rank_0_mp_rank_00_optim_states.pt": optim}
        )
        found[f"megatron_{name}"] = partial(_all_of, {"mp_rank_00/model_optim_rng.pt": raw})
    for name, shape in {
        "far": b"(99999999999, 2)",
        "call": b"__import__('os')",
        "down": b"(-4, 2)",
    }.items():
        found[f"nanotron_{name}"] = partial(_nanotron, b"unsharded_shape", shape)
    found["nanotron_pairs"] = partial(
        _nanotron, b"local_global_slices_pairs", b"0,9,1|0,9,1#" * 500
    )
    return found


def _short(value: str) -> bytes:
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def _dcp(old: bytes, new: bytes, root: Path) -> None:
    """Put something else where a pattern is in the metadata."""
    target = root / "step-20"
    shutil.copytree(FIXTURES / "dcp_one_rank/run/step-20", target)
    raw = (target / ".metadata").read_bytes()
    put(target / ".metadata", re.sub(old, lambda _: new, raw))
    (target / "link.distcp").symlink_to("/etc/passwd")
    for path in target.glob("*.distcp"):
        if not path.is_symlink():
            os.utime(path, (OLD - 10, OLD - 10))


def _nanotron(key: bytes, value: bytes, root: Path) -> None:
    """Put a lie into the metadata of every slice."""
    import json

    shutil.copytree(FIXTURES / "nanotron/run/checkpoints/10", root / "checkpoints/10")
    for path in (root / "checkpoints/10").rglob("*.safetensors"):
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        if key.decode() in header.get("__metadata__", {}):
            header["__metadata__"][key.decode()] = value.decode()
        body = json.dumps(header).encode()
        put(path, struct.pack("<Q", len(body)) + body + raw[8 + length :])


def _indexes() -> dict[str, Make]:
    return {
        f"index_{name}": partial(_index, raw)
        for name, raw in hostile_headers.lying_indexes().items()
    }


def _index(raw: bytes, root: Path) -> None:
    place = root / "checkpoint-5"
    put(place / "model-00001-of-00001.safetensors", good_safetensors())
    put(place / "evil.bin", pickled(EVIL))
    put(place / "config.json", b"{}")
    put(place / "sub/model.safetensors", good_safetensors())
    put(root / "outside.safetensors", good_safetensors())
    (place / "dir.safetensors").mkdir()
    (place / "out.safetensors").symlink_to("/etc/passwd")
    (place / "loop.safetensors").symlink_to("loop.safetensors")
    os.mkfifo(place / "fifo.safetensors")
    put(place / "model.safetensors.index.json", raw)
