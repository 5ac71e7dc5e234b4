"""Checkpoint files put together byte by byte, so that each part of them can lie."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

OLD: Final = 1.0e9
"""When everything here was written: long ago, so that nothing waits to settle."""

MAGIC: Final = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."


def text(value: str) -> bytes:
    """Return the operation that pushes a text."""
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    """Return the operation that pushes an integer."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def named(module: str, name: str) -> bytes:
    """Return the operation that pushes a global."""
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def call(module: str, name: str, *args: bytes) -> bytes:
    """Return the operations that call a global with arguments."""
    return named(module, name) + b"(" + b"".join(args) + b"tR"


def storage(key: str = "0", numel: int = 4, kind: str = "FloatStorage") -> bytes:
    """Return the operations that push a storage of torch's."""
    parts = text("storage") + named("torch", kind) + text(key) + text("cpu") + number(numel)
    return b"(" + parts + b"tQ"


def tensor(
    offset: int = 0,
    shape: Iterable[int] = (4,),
    strides: Iterable[int] = (1,),
    of: bytes | None = None,
) -> bytes:
    """Return the operations that push a tensor, as torch.save writes them."""
    sizes, steps = (b"(" + b"".join(map(number, each)) + b"t" for each in (shape, strides))
    hooks = named("collections", "OrderedDict") + b")R"
    args = (of or storage()) + number(offset) + sizes + steps + b"\x89" + hooks
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + args + b"tR"


def mapping(*pairs: tuple[str, bytes]) -> bytes:
    """Return the operations that push a dict."""
    return b"}(" + b"".join(text(key) + value for key, value in pairs) + b"u"


def pickled(body: bytes) -> bytes:
    """Return a whole pickle of protocol 2."""
    return b"\x80\x02" + body + b"."


def state_dict(*more: tuple[str, bytes]) -> bytes:
    """Return the pickle of a state dict with one good tensor, and what else is to be in it."""
    return pickled(mapping(("model", mapping(("a.weight", tensor()))), *more))


def local(name: bytes, size: int, *, method: int = 0, extra: bytes = b"") -> bytes:
    """Return a local header of a zip's entry."""
    fields = (20, 0, method, 0, 0, 0, size, size, len(name), len(extra))
    return b"PK\3\4" + struct.pack("<5H3I2H", *fields) + name + extra


def central(
    name: bytes, size: int, header: int, *, method: int = 0, unpacked: int | None = None,
    extra: bytes = b"", flags: int = 0,
) -> bytes:  # fmt: skip
    """Return an entry of a zip's central directory."""
    full = size if unpacked is None else unpacked
    fields = (20, 20, flags, method, 0, 0, 0, size, full, len(name), len(extra), 0, 0, 0, 0, header)
    return b"PK\1\2" + struct.pack("<6H3I5H2I", *fields) + name + extra


def end(count: int, size: int, start: int, *, comment: bytes = b"") -> bytes:
    """Return the end of a zip's central directory."""
    return (
        b"PK\5\6" + struct.pack("<4H2IH", 0, 0, count, count, size, start, len(comment)) + comment
    )


def archive(
    members: Mapping[str, bytes] | Iterable[tuple[str, bytes]], *, comment: bytes = b"",
    claims: Mapping[str, int] | None = None,
) -> bytes:  # fmt: skip
    """Return a zip of stored entries; `claims` overrides `count`, `size` and `start` at its end."""
    pairs = members.items() if isinstance(members, Mapping) else members
    body, entries, count = b"", b"", 0
    for name, data in pairs:
        raw = name.encode("utf-8", "surrogatepass")
        entries += central(raw, len(data), len(body))
        body += local(raw, len(data)) + data
        count += 1
    told = {"count": count, "size": len(entries), "start": len(body), **(claims or {})}
    return body + entries + end(told["count"], told["size"], told["start"], comment=comment)


def torch_zip(
    pickle: bytes, *more: tuple[str, bytes], storages: int = 1, numbers: bytes = bytes(16)
) -> bytes:
    """Return a file of torch.save's with storages of sixteen bytes, and further members."""
    data = [(f"x/data/{key}", numbers) for key in range(storages)]
    return archive([("x/data.pkl", pickle), ("x/version", b"3\n"), *data, *more])


def legacy(
    pickle: bytes, keys: bytes = b"](X\x01\x00\x00\x000e.", data: bytes | None = None
) -> bytes:
    """Return a file of torch.save's as it was before 1.6."""
    system = pickled(mapping(("little_endian", b"\x88"), ("protocol_version", number(1001))))
    head = b"\x80\x02" + MAGIC + pickled(number(1001)) + system
    body = struct.pack("<q", 4) + bytes(16) if data is None else data
    return head + pickle + b"\x80\x02" + keys + body


def safetensors(header: object, data: bytes = b"", *, claim: int | None = None) -> bytes:
    """Return a safetensors file from a header, an object or its bytes."""
    body = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(body) if claim is None else claim) + body + data


def entry(
    begin: int = 0, end_at: int = 16, shape: Iterable[int] = (4,), dtype: str = "F32"
) -> dict[str, object]:
    """Return a tensor's entry in a safetensors header."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end_at]}


def good_safetensors() -> bytes:
    """Return a safetensors file that is in order."""
    return safetensors({"a.weight": entry()}, struct.pack("<4f", 1, 2, 3, 4))


def put(path: Path, raw: bytes, *, hole: int = 0) -> None:
    """Write an old file; `hole` bytes of nothing follow what it begins with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    if hole:
        os.truncate(path, len(raw) + hole)
    os.utime(path, (OLD, OLD))
