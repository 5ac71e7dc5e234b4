"""Real files of real frameworks, cut to what each fuzz target takes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Final

FIXTURES: Final = Path(__file__).resolve().parent.parent / "fixtures"
_LONGEST: Final = 1 << 15
_MOST: Final = 48
"""Seeds a target: the shortest of them."""


@cache
def seeds_of(target: str) -> tuple[bytes, ...]:
    """Return the seeds of the target with this name, the shortest first."""
    made = {raw for raw in SOURCES.get(target, _nothing)() if 0 < len(raw) <= _LONGEST}
    return tuple(sorted(made, key=lambda raw: (len(raw), raw))[:_MOST])


def _nothing() -> Iterable[bytes]:
    return ()


def _files(*patterns: str) -> Iterable[bytes]:
    for pattern in patterns:
        for path in sorted(FIXTURES.rglob(pattern)):
            if path.is_file() and path.stat().st_size <= _LONGEST:
                yield path.read_bytes()


def _torch() -> Iterable[bytes]:
    return _files("*.pt", "*.pth", "*.bin", "*.ckpt", "*.tar")


def _pickles() -> Iterable[bytes]:
    yield from _files(".metadata", "*.pkl")
    for raw in _torch():
        if raw.startswith(b"PK"):
            yield from _members(raw, "data.pkl")


def _members(raw: bytes, ending: str) -> Iterable[bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        for name in archive.namelist():
            if name.endswith(ending):
                yield archive.read(name)


def _headers() -> Iterable[bytes]:
    for raw in _files("*.safetensors"):
        yield raw[8 : 8 + int.from_bytes(raw[:8], "little")]


def _chunks() -> Iterable[bytes]:
    """Archives inside the files of distributed checkpoints, which lie one after the other."""
    for raw in _files("*.distcp"):
        starts = [at for at in range(len(raw)) if raw.startswith(b"PK\3\4", at)]
        ends = [at + 22 for at in range(len(raw)) if raw.startswith(b"PK\5\6", at)]
        begin = 0
        for end in ends:
            first = next((at for at in starts if at >= begin), None)
            if first is not None and first < end:
                yield raw[first:end]
            begin = end


def _everything() -> Iterable[bytes]:
    yield from _torch()
    yield from _files("*.safetensors", "*.gguf", "*.npz")


def _trees() -> Iterable[bytes]:
    """Two pickles after a byte that says where the first ends, in 256ths."""
    found = list(_ranked("*_model_states.pt"))[:8]
    for first in found:
        for second in list(_ranked("*_optim_states.pt"))[:8]:
            share = -(-(len(first) + 1) * 256 // (len(first) + len(second) + 1))
            if share < 256:
                cut = share * (len(first) + len(second) + 1) // 256
                yield bytes([share]) + first.ljust(cut - 1, b".") + second


def _ranked(pattern: str) -> Iterable[bytes]:
    for raw in _files(f"deepspeed/**/{pattern}"):
        yield from _members(raw, "data.pkl")


def _names() -> Iterable[bytes]:
    for top in sorted(FIXTURES.glob("*/*")):
        for place in (top, *top.glob("*/")):
            names = [str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()]
            yield "\n".join(sorted(names)).encode()


def _bodies() -> Iterable[bytes]:
    for raw in _files("*tfevents*"):
        at = 0
        while at + 16 <= len(raw):
            length = int.from_bytes(raw[at : at + 8], "little")
            yield raw[at + 12 : at + 12 + length]
            at += 16 + length


def _framed() -> Iterable[bytes]:
    return [b"\xff\xfe".join(_bodies())]


def _tables() -> Iterable[bytes]:
    return _files("*.csv")


def _lines() -> Iterable[bytes]:
    return _files("*.jsonl", "scalars.json", "trainer_state.json")


def _json() -> Iterable[bytes]:
    return _files("*.json")


SOURCES: Final[dict[str, Callable[[], Iterable[bytes]]]] = {
    "torch.fuzz_pickle": _pickles,
    "torch.fuzz_torch": _torch,
    "torch.fuzz_npz": lambda: _files("*.npz"),
    "torch.fuzz_gguf": lambda: _files("*.gguf"),
    "torch.fuzz_safetensors": _headers,
    "torch.fuzz_prove": _everything,
    "dcp.fuzz_metadata": lambda: _files(".metadata"),
    "dcp.fuzz_chunk": _chunks,
    "dcp.fuzz_rank": _torch,
    "dcp.fuzz_shard": _headers,
    "dcp.fuzz_parameter": lambda: _files("nanotron/**/*.safetensors"),
    "ranks.names": _names,
    "ranks.trees": _trees,
    "ranks.deepspeed_file": lambda: _files("deepspeed/**/*.pt"),
    "ranks.megatron_file": lambda: _files("megatron/**/*.pt"),
    "metrics.event_body": _bodies,
    "metrics.event_file": lambda: _files("*tfevents*"),
    "metrics.framed_events": _framed,
    "metrics.table": _tables,
    "metrics.headed_table": _tables,
    "metrics.json_lines": _lines,
    "metrics.state_file": _json,
    "hostile.index": lambda: _files("*.index.json"),
    "hostile.config": lambda: _files("config.json"),
    "hostile.state": _json,
    "hostile.layout": _names,
    "hostile.run_of_torch": _torch,
    "hostile.run_of_safetensors": lambda: _files("*.safetensors"),
}
