"""Torch files, zips and numpy archives that lie about what is where in them."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Final

import numpy as np

from .hostile_bytes import (
    archive,
    central,
    end,
    legacy,
    local,
    mapping,
    named,
    number,
    pickled,
    state_dict,
    storage,
    tensor,
    text,
    torch_zip,
)

_PICKLE: Final = state_dict()
_GOOD: Final = torch_zip(_PICKLE)
_FAR: Final = (1 << 63) - 1


def lies_of_tensors() -> dict[str, bytes]:
    """Return pickles whose tensors reach where they must not."""
    found = {
        "offset_negative": tensor(-1),
        "offset_far": tensor(_FAR),
        "offset_beyond": tensor(1),
        "shape_negative": tensor(0, [-4], [1]),
        "shape_far": tensor(0, [_FAR], [1]),
        "shape_product": tensor(0, [1 << 32, 1 << 32], [1 << 32, 1]),
        "shape_wraps": tensor(0, [1 << 62, 4], [4, 1]),
        "strides_far": tensor(0, [2, 2], [_FAR, 1]),
        "strides_negative": tensor(0, [4], [-1]),
        "strides_none": tensor(0, [1 << 40], [0]),
        "strides_overlap": tensor(0, [2, 2], [1, 1]),
        "strides_missing": tensor(0, [2, 2], [1]),
        "dimensions": tensor(0, [1] * 10_000, [1] * 10_000),
        "storage_larger": tensor(0, [4096], [1], storage(numel=4096)),
        "storage_smaller": tensor(0, [4], [1], storage(numel=1)),
        "storage_missing": tensor(of=storage("7")),
        "storage_path": tensor(of=storage("../version")),
        "storage_far": tensor(of=storage(numel=_FAR)),
        "storage_kind": tensor(of=storage(kind="EvilStorage")),
        "storage_wider": tensor(0, [4], [1], storage(kind="DoubleStorage")),
        "storage_complex": tensor(0, [2], [1], storage(kind="ComplexFloatStorage")),
    }
    return {name: pickled(mapping(("a.weight", made))) for name, made in found.items()}


def lying_zips() -> dict[str, bytes]:
    """Return zips that are no honest file of torch.save's."""
    pickle = ("x/data.pkl", _PICKLE)
    data = ("x/data/0", bytes(16))
    entries_at = _GOOD.index(b"PK\1\2")
    last = _GOOD.rindex(b"PK\1\2")
    tail = _GOOD.rindex(b"PK\5\6")
    many = b"".join(central(b"x/data/%d" % i, 0, i * 40) for i in range(70_000))
    return {
        "compressed": _compressed(_PICKLE),
        "compressed_bomb": _compressed(_PICKLE + bytes(50_000_000)),
        "method_lie": _GOOD[:entries_at]
        + _GOOD[entries_at:].replace(b"\x14\0\0\0\0\0", b"\x14\0\0\0\x08\0"),
        "encrypted": _GOOD[:entries_at]
        + _GOOD[entries_at:].replace(b"\x14\0\x14\0\0\0", b"\x14\0\x14\0\1\0"),
        "names_up": archive([pickle, data, ("../../evil", b"x"), ("/etc/cron.d/evil", b"x")]),
        "names_windows": archive([pickle, data, ("..\\..\\evil", b"x"), ("C:\\evil", b"x")]),
        "names_nul": archive([pickle, data, ("x/da\0ta", b"x"), ("\x1b[2J", b"x")]),
        "names_twice": archive([pickle, data, ("x/data/0", b"other 16 bytes!!")]),
        "pickle_twice": archive([pickle, data, ("y/data.pkl", _PICKLE)]),
        "data_up": archive([("../data.pkl", _PICKLE), ("../data/0", bytes(16))]),
        "overlap": _GOOD[: last + 42] + struct.pack("<I", 4) + _GOOD[last + 46 :],
        "all_in_one_place": archive([pickle, data])[:0] + _stacked(),
        "two_ends": _GOOD + _GOOD[tail:],
        "two_archives": _GOOD + torch_zip(state_dict(("step", number(99)))),
        "comment": torch_zip(_PICKLE)[:tail] + _GOOD[tail : tail + 20] + b"\x05\0" + b"hello",
        "comment_with_an_end": archive([pickle, data], comment=end(0, 0, 0)),
        "comment_cut": archive([pickle, data], comment=b"x" * 40)[:-20],
        "count_huge": archive([pickle, data], claims={"count": 0xFFFF}),
        "count_none": archive([pickle, data], claims={"count": 0}),
        "size_huge": archive([pickle, data], claims={"size": 0xFFFFFFF0}),
        "start_huge": archive([pickle, data], claims={"start": 0xFFFFFFF0}),
        "start_early": archive([pickle, data], claims={"start": 0}),
        "zip64_huge": _zip64(count=1 << 60, size=1 << 60, start=1 << 60),
        "zip64_negative": _zip64(count=(1 << 64) - 1, size=(1 << 64) - 1, start=(1 << 64) - 1),
        "zip64_cut": _GOOD[:tail] + b"PK\6\7" + struct.pack("<IQI", 0, 1 << 63, 1) + _GOOD[tail:],
        "entry64_lie": _entry64(1 << 62),
        "entry64_cut": _entry64(None),
        "very_many": b"PK\3\4" + bytes(4_000_000 - 4) + many + _end64(70_000, len(many), 4_000_000),
        "byteorder_big": torch_zip(_PICKLE, ("x/byteorder", b"big")),
        "byteorder_long": torch_zip(_PICKLE, ("x/byteorder", b"little" * 100_000)),
        "no_pickle": archive([data]),
        "empty": end(0, 0, 0),
        "storage_cut": torch_zip(_PICKLE, numbers=bytes(7)),
    }


def _compressed(pickle: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("x/data.pkl", pickle)
        made.writestr("x/data/0", bytes(16))
    return buffer.getvalue()


def _stacked() -> bytes:
    """Return a zip of entries that all lie at the same place, each as large as the file."""
    body = local(b"x/data.pkl", len(_PICKLE)) + _PICKLE
    names = [b"x/data.pkl", *(b"x/data/%d" % i for i in range(50))]
    entries = b"".join(central(name, len(_PICKLE), 0) for name in names)
    return body + entries + end(len(names), len(entries), len(body))


def _end64(count: int, size: int, start: int) -> bytes:
    fields = (44, 45, 45, 0, 0, count, count, size, start)
    at = (start + size) & ((1 << 64) - 1)
    return (b"PK\6\6" + struct.pack("<Q2H2I4Q", *fields) + b"PK\6\7"
            + struct.pack("<IQI", 0, at, 1) + end(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF))  # fmt: skip


def _zip64(count: int, size: int, start: int) -> bytes:
    """Return a good archive whose wide end tells these numbers."""
    tail = _GOOD.rindex(b"PK\5\6")
    fields = (44, 45, 45, 0, 0, count, count, size, start)
    wide = b"PK\6\6" + struct.pack("<Q2H2I4Q", *fields)
    where = b"PK\6\7" + struct.pack("<IQI", 0, tail, 1)
    return _GOOD[:tail] + wide + where + _GOOD[tail:]


def _entry64(length: int | None) -> bytes:
    """Return a good archive whose storage has its length in an extra field."""
    body = local(b"x/data.pkl", len(_PICKLE)) + _PICKLE
    second = len(body)
    body += local(b"x/data/0", 16) + bytes(16)
    wide = b"" if length is None else struct.pack("<2H2Q", 1, 16, length, length)
    entries = central(b"x/data.pkl", len(_PICKLE), 0)
    entries += central(b"x/data/0", 0xFFFFFFFF, second, extra=wide)
    return body + entries + end(2, len(entries), len(body))


def lying_legacy() -> dict[str, bytes]:
    """Return files of torch's old format whose keys and lengths are not true."""

    def keys(*names: bytes) -> bytes:
        return b"](" + b"".join(names) + b"e."

    return {
        "good": legacy(_PICKLE),
        "keys_missing": legacy(_PICKLE, keys()),
        "keys_unknown": legacy(_PICKLE, keys(text("0"), text("1"))),
        "keys_twice": legacy(_PICKLE, keys(text("0"), text("0"))),
        "keys_odd": legacy(_PICKLE, keys(b"N", b"]", b"}")),
        "keys_none": legacy(_PICKLE, b"N."),
        "keys_many": legacy(_PICKLE, keys(text("0") * 200_000)),
        "keys_call": legacy(_PICKLE, named("os", "system") + b"(" + text("touch PROOF") + b"tR."),
        "length_lie": legacy(_PICKLE, data=struct.pack("<q", 1 << 60) + bytes(16)),
        "length_negative": legacy(_PICKLE, data=struct.pack("<q", -4) + bytes(16)),
        "storage_far": legacy(pickled(mapping(("w", tensor(of=storage(numel=_FAR)))))),
        "cut": legacy(_PICKLE)[:-8],
        "more": legacy(_PICKLE) + bytes(100),
        "module_source": legacy(
            pickled(
                mapping(
                    ("w", tensor()),
                    (
                        "m",
                        b"("
                        + text("module")
                        + named("os", "system")
                        + text("/etc/passwd")
                        + text("x")
                        + b"tQ",
                    ),
                )
            )
        ),
        "part_of_a_storage": legacy(
            pickled(
                mapping(
                    (
                        "w",
                        tensor(
                            of=b"("
                            + text("storage")
                            + named("torch", "FloatStorage")
                            + text("0")
                            + text("cpu")
                            + number(4)
                            + b"("
                            + text("v")
                            + number(2)
                            + number(9)
                            + b"ttQ"
                        ),
                    )
                )
            )
        ),
    }


def lying_numpy() -> dict[str, bytes]:
    """Return numpy archives with objects in them, and with headers that lie."""
    objects = io.BytesIO()
    np.save(objects, np.array([object], object), allow_pickle=True)

    def npy(described: str, data: bytes = bytes(16)) -> bytes:
        raw = described.encode("latin-1", "replace")
        return b"\x93NUMPY\x01\0" + struct.pack("<H", len(raw) & 0xFFFF) + raw + data

    def header(descr: str = "'<f4'", shape: str = "(4,)", order: str = "False") -> str:
        return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"

    headers = {
        "good": header(),
        "object": header("'|O'"),
        "structured": header("[('a', '<f4'), ('b', '|O')]"),
        "call": header("__import__('os').system('touch PROOF')"),
        "shape_call": header(shape="(__import__('os').system('touch PROOF'),)"),
        "shape_negative": header(shape="(-4,)"),
        "shape_far": header(shape="(4611686018427387904, 8)"),
        "shape_digits": header(shape="(" + "9" * 5000 + ",)"),
        "deep": "(" * 9000,
        "big_endian": header("'>f4'"),
        "escape": header("'\x1b[2J'"),
        "ranks": header(shape="(" + "1, " * 3000 + ")"),
    }
    found = {name: archive([("a.weight.npy", npy(told))]) for name, told in headers.items()}
    found["pickled_objects"] = archive([("a.npy", npy(header())), ("o.npy", objects.getvalue())])
    found["length_lie"] = archive([("a.npy", b"\x93NUMPY\x02\0" + b"\xff\xff\xff\x7f" + bytes(64))])
    found["name_up"] = archive([("../../a.npy", npy(header())), ("/etc/x.npy", npy(header()))])
    return found
