"""Headers of safetensors and GGUF, and indexes of shards, that lie, lead away or never end."""

from __future__ import annotations

import json
import struct
from typing import Final

from .hostile_bytes import entry, good_safetensors, safetensors

NAMES: Final = (
    "\x1b[2J\x1b[31mred", "\x1b]0;title\x07", "\x1b]52;c;aGk=\x07", "\x1bP+q\x1b\\", "\x9b31m",
    "a\nb", "a\tb", "a\rb", "\x00nul", "\x0e", "\x7f", "[red]x[/red]", "[@click=app.quit]x[/]",
    "[/]", "[bold", "\u202eevil\u202c", "\u2066x", "a\u200bb", "\ufeffx", "e" + "\u0301" * 500,
    "\u3164", "\U000e0041", "\ud800", "../../etc/passwd", "/etc/passwd", "a" * 5000, " ", ".", "..",
    "-rf", "$(touch PROOF)", "`touch PROOF`", "%s%n", "=cmd|'/c calc'!A1", "\ue000", "\u2028",
)  # fmt: skip
"""Names that a terminal, a shell, a spreadsheet or a path could obey."""


def lying_safetensors() -> dict[str, bytes]:
    """Return files that are no honest safetensors file."""
    body = {"a.weight": entry()}
    data = bytes(16)

    def one(**changes: object) -> bytes:
        return safetensors({"a.weight": {**entry(), **changes}}, data)

    empties = b",".join(
        b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(500_000)
    )
    few = empties[: empties.index(b',"15000"')]
    return {
        "good": good_safetensors(),
        "twice": safetensors(
            b'{"w":'
            + json.dumps(entry()).encode()
            + b',"w":'
            + json.dumps(entry()).encode()
            + b"}",
            data,
        ),
        "twice_escaped": safetensors(
            b'{"w":'
            + json.dumps(entry()).encode()
            + b',"\\u0077":'
            + json.dumps(entry()).encode()
            + b"}",
            data,
        ),
        "overlap": safetensors({"a": entry(), "b": entry(8, 24)}, bytes(24)),
        "hole": safetensors({"a": entry(), "b": entry(20, 36)}, bytes(36)),
        "late": safetensors({"a": entry(4, 20)}, bytes(20)),
        "beyond": safetensors(body, bytes(8)),
        "after": safetensors(body, bytes(40)),
        "reversed": one(data_offsets=[16, 0]),
        "offsets_negative": one(data_offsets=[-16, 0]),
        "offsets_far": one(data_offsets=[0, 1 << 63]),
        "offsets_float": one(data_offsets=[0.0, 16.0]),
        "offsets_true": one(data_offsets=[False, 16]),
        "offsets_three": one(data_offsets=[0, 8, 16]),
        "shape_negative": one(shape=[-4]),
        "shape_wraps": one(shape=[1 << 62, 4]),
        "shape_text": one(shape="4"),
        "shape_deep": one(shape=[[4]]),
        "shape_long": one(shape=[1] * 100_000),
        "dtype_unknown": one(dtype="F3"),
        "dtype_escape": one(dtype="\x1b[2J"),
        "dtype_list": one(dtype=["F32"]),
        "nan": safetensors(b'{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}', data),
        "infinity": safetensors(
            b'{"w":{"dtype":"F32","shape":[1e999],"data_offsets":[0,16]}}', data
        ),
        "digits": safetensors(b'{"w":{"dtype":"F32","shape":[' + b"9" * 100_000 + b"]}}", data),
        "deep": safetensors(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, data),
        "deep_lists": safetensors(b'{"__metadata__":' + b"[" * 200_000, data),
        "claims_100_mb": safetensors(body, data, claim=100_000_000),
        "claims_2_63": safetensors(body, data, claim=1 << 63),
        "claims_all": safetensors(body, data, claim=(1 << 64) - 1),
        "claims_none": safetensors(body, data, claim=0),
        "empties_500k": safetensors(b"{" + empties + b"}"),
        "empties_15k": safetensors(b"{" + few + b"}"),
        "lists_wide": safetensors(b'{"a":[' + b"[]," * 8_000_000 + b"0]}"),
        "texts_wide": safetensors(
            b'{"__metadata__":{' + b",".join(b'"%d":"b"' % i for i in range(2_000_000)) + b"}}"
        ),
        "metadata_number": safetensors({"__metadata__": {"step": 1}, **body}, data),
        "metadata_list": safetensors({"__metadata__": [], **body}, data),
        "metadata_long": safetensors({"__metadata__": {"step": "9" * 1_000_000}, **body}, data),
        "metadata_escape": safetensors(
            {"__metadata__": {"format": "\x1b[2J", "step": "\x1b[2J"}, **body}, data
        ),
        "array": safetensors([], data),
        "text": safetensors(b'"x"', data),
        "utf8": safetensors(b'{"\xff\xfe": 1}', data),
        "bom": safetensors(b"\xef\xbb\xbf" + json.dumps(body).encode(), data),
        "utf16": safetensors(json.dumps(body).encode("utf-16"), data),
        "spaces": safetensors(json.dumps(body).encode() + b" " * 1_000_000, data),
        "html": b"<!DOCTYPE html><html><body>404 \x1b[2J</body></html>",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        "names": named_safetensors(),
        "seven_bytes": b"\x08\0\0\0\0\0\0",
    }


def named_safetensors() -> bytes:
    """Return a file whose tensors bear all the names, and whose metadata say them too."""
    header: dict[str, object] = {
        name: entry(16 * at, 16 * at + 16) for at, name in enumerate(NAMES)
    }
    header["__metadata__"] = {name: name for name in NAMES}
    return safetensors(header, struct.pack("<4f", 1, 2, 3, 4) * len(NAMES))


def lying_indexes() -> dict[str, bytes]:
    """Return indexes of shards; beside each lies one good shard."""
    targets = {
        "up": "../outside.safetensors",
        "far_up": "../../../../../etc/passwd.safetensors",
        "absolute": "/etc/passwd",
        "absolute_shard": "/etc/shard.safetensors",
        "windows": "..\\outside.safetensors",
        "nul": "model-00001-of-00001.safetensors\0",
        "nul_path": "\0/../x.safetensors",
        "inner": "./model-00001-of-00001.safetensors",
        "below": "sub/model.safetensors",
        "link_out": "out.safetensors",
        "link_loop": "loop.safetensors",
        "fifo": "fifo.safetensors",
        "directory": "dir.safetensors",
        "pickle": "evil.bin",
        "config": "config.json",
        "dots": "..",
        "empty": "",
        "url": "http://127.0.0.1/x.safetensors",
        "escape": "\x1b[2J.safetensors",
        "long": "a" * 300 + ".safetensors",
        "number": 1,
        "list": ["model-00001-of-00001.safetensors"],
    }
    found = {name: json.dumps({"weight_map": {"a.weight": told}}).encode()
             for name, told in targets.items()}  # fmt: skip
    wide = b",".join(b'"%d":"model-00001-of-00001.safetensors"' % i for i in range(100_000))
    found["wide"] = b'{"weight_map":{' + wide + b"}}"
    found["wider"] = (
        b'{"weight_map":{' + b",".join(b'"%d":"a"' % i for i in range(2_000_000)) + b"}}"
    )
    found["deep"] = b'{"weight_map":' * 100_000
    found["twice"] = b'{"weight_map":{"a":"a.safetensors","a":"b.safetensors"}}'
    names = dict.fromkeys(NAMES, "model-00001-of-00001.safetensors")
    found["names"] = json.dumps({"weight_map": names}).encode()
    return found


def lying_gguf() -> dict[str, bytes]:
    """Return GGUF headers with counts and lists without end."""

    def words(value: str) -> bytes:
        raw = value.encode("utf-8", "surrogatepass")
        return struct.pack("<Q", len(raw)) + raw

    def head(tensors: int, pairs: int) -> bytes:
        return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs)

    def described(name: str, shape: list[int], kind: int = 0, offset: int = 0) -> bytes:
        sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        return words(name) + sizes + struct.pack("<IQ", kind, offset)

    good = head(1, 0) + described("a.weight", [4])
    data = bytes(-len(good) % 32) + struct.pack("<4f", 1, 2, 3, 4)
    nested = struct.pack("<IQ", 9, 1) * 100_000
    return {
        "good": good + data,
        "tensors": head(1 << 63, 0) + bytes(64),
        "pairs": head(0, (1 << 64) - 1) + bytes(64),
        "many_pairs": head(0, 100_000) + (words("") + struct.pack("<IB", 0, 0)) * 100_000,
        "text_far": head(0, 1) + struct.pack("<Q", 1 << 63) + bytes(64),
        "list_far": head(0, 1) + words("k") + struct.pack("<IIQ", 9, 0, 1 << 62) + bytes(64),
        "list_of_texts": head(0, 1)
        + words("k")
        + struct.pack("<IIQ", 9, 8, 3_999_999)
        + bytes(2_000_000),
        "list_of_lists": head(0, 1) + words("k") + struct.pack("<I", 9) + nested,
        "type_unknown": head(0, 1) + words("k") + struct.pack("<I", 99),
        "alignment": head(1, 1) + words("general.alignment") + struct.pack("<II", 4, 0) + bytes(64),
        "alignment_far": head(1, 1) + words("general.alignment") + struct.pack("<II", 4, 1 << 31),
        "shape_far": head(1, 0) + described("w", [1 << 62, 1 << 62]) + bytes(64),
        "shape_none": head(1, 0) + described("w", [0, 1 << 62]) + bytes(64),
        "rank": head(1, 0) + words("w") + struct.pack("<I", 0xFFFFFFFF) + bytes(64),
        "offset_far": head(1, 0) + described("w", [4], 0, 1 << 62) + bytes(64),
        "overlap": head(2, 0) + described("a", [64]) + described("b", [64]) + bytes(1024),
        "twice": head(2, 0) + described("a", [8]) + described("a", [8], 0, 32) + bytes(1024),
        "name_escape": head(1, 0) + described("\x1b[2J", [4]) + data,
        "version": b"GGUF" + struct.pack("<IQQ", 1 << 24, 1, 0) + bytes(64),
    }
