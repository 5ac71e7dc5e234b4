"""Tensors as torch pickles them: storages, views of storages, parts of distributed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Final, cast

from forkmon.formats.pickle_values import (
    Distributed,
    NonsenseError,
    Opaque,
    Storage,
    Stub,
    TorchTensor,
)
from forkmon.formats.refs import ITEM_BYTES

_RANK_CAP: Final = 64
_INT64_END: Final = 1 << 63

DTYPES: dict[str, str] = {
    "float32": "f32", "float": "f32", "float64": "f64", "double": "f64", "float16": "f16",
    "half": "f16", "bfloat16": "bf16", "bool": "bool", "uint8": "u8", "int8": "i8",
    "uint16": "u16", "int16": "i16", "short": "i16", "uint32": "u32", "int32": "i32", "int": "i32",
    "uint64": "u64", "int64": "i64", "long": "i64",
    "float8_e4m3fn": "f8_e4m3", "float8_e5m2": "f8_e5m2",
}  # fmt: skip
"""torch's dtype names to forkmon's; any other keeps torch's."""

_STORAGES: dict[str, str] = {
    "FloatStorage": "f32", "DoubleStorage": "f64", "HalfStorage": "f16", "BFloat16Storage": "bf16",
    "BoolStorage": "bool", "ByteStorage": "u8", "CharStorage": "i8", "ShortStorage": "i16",
    "IntStorage": "i32", "LongStorage": "i64", "UntypedStorage": "u8", "ComplexFloatStorage":
    "complex64", "ComplexDoubleStorage": "complex128", "QInt8Storage": "qint8", "QUInt8Storage":
    "quint8", "QInt32Storage": "qint32", "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}  # fmt: skip

STORED_BYTES: dict[str, int] = {
    **ITEM_BYTES,
    "complex64": 8, "complex128": 16, "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1,
    "quint2x4": 1,
}  # fmt: skip
"""Bytes an element takes in a storage of each dtype."""


def storage_of(identity: object) -> object:
    """Return the storage that torch's persistent id names, a Stub for any other id."""
    if not isinstance(identity, tuple):
        return Stub("persistent", (identity,))
    fields = cast("tuple[object, ...]", identity)
    if len(fields) < 5 or fields[0] != "storage" or not isinstance(fields[1], Stub):
        return Stub("persistent", fields)
    key, numel = fields[2], fields[4]
    if not isinstance(key, str):
        key = str(_natural(key))
    kind = fields[1].kind
    return Storage(_STORAGES.get(kind, kind), key, _natural(numel))


def dtype_of(value: object) -> str:
    """Return the name of a dtype that a pickle mentions."""
    if not isinstance(value, Stub):
        raise NonsenseError("a dtype that is none")
    return DTYPES.get(value.kind, value.kind)


def _natural(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _INT64_END:
        raise NonsenseError("a size or offset that is no number of elements")
    return value


def _naturals(value: object) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)):
        raise NonsenseError("a shape or strides that are none")
    items = cast("Sequence[object]", value)
    if len(items) > _RANK_CAP:
        raise NonsenseError(f"a tensor of {len(items):,} dimensions, beyond {_RANK_CAP}")
    return tuple(_natural(item) for item in items)


def tensor(args: tuple[object, ...]) -> object:
    """`_rebuild_tensor(_v2)`: storage, offset, shape, strides, requires_grad, hooks, metadata."""
    metadata = args[6] if len(args) > 6 else None
    return _view(args, None, metadata)


def tensor_v3(args: tuple[object, ...]) -> object:
    """`_rebuild_tensor_v3`: with a dtype after the hooks, over an untyped storage."""
    return _view(args, dtype_of(args[6]), args[7] if len(args) > 7 else None)


def _view(args: tuple[object, ...], dtype: str | None, metadata: object) -> object:
    storage = args[0]
    if isinstance(storage, Stub):
        return Opaque("", "its storage is not in this file")
    if not isinstance(storage, Storage):
        raise NonsenseError("a tensor without a storage")
    shape, strides = _naturals(args[2]), _naturals(args[3])
    if len(shape) != len(strides):
        raise NonsenseError("a tensor with more dimensions than strides, or fewer")
    own = dtype or storage.dtype
    if isinstance(metadata, dict):
        bits = cast("dict[object, object]", metadata)
        if bits.get("neg") or bits.get("conj"):
            return Opaque(own, "stored as what is still to be negated or conjugated")
    return TorchTensor(storage, _natural(args[1]), shape, strides, own)


def parameter(args: tuple[object, ...]) -> object:
    data = args[0]
    return replace(data, wrapper="parameter") if isinstance(data, TorchTensor) else data


def distributed(state: Mapping[str, object]) -> object:
    local, spec = state.get("_local_tensor"), state.get("_spec")
    if not isinstance(spec, Stub):
        raise NonsenseError("a DTensor without its specification")
    if not isinstance(local, TorchTensor):
        return local if isinstance(local, Opaque) else Opaque("", "a DTensor of other tensors")
    meta, placed = spec.fields.get("tensor_meta"), spec.fields.get("placements")
    if not isinstance(meta, Stub) or not isinstance(placed, (tuple, list)):
        return Opaque(local.dtype, "a DTensor that does not tell its whole shape")
    shape = meta.args[0] if meta.args else meta.fields.get("shape")
    placements = tuple(_placement(item) for item in cast("Sequence[object]", placed))
    mesh = _mesh_shape(spec.fields.get("mesh"))
    return Distributed(local, mesh, placements, _naturals(shape))


def _placement(value: object) -> str:
    if not isinstance(value, Stub):
        return "?"
    if value.kind == "Replicate":
        return "R"
    if value.kind in ("Partial", "_Partial"):
        return "P"
    axis = value.fields.get("dim", value.args[0] if value.args else None)
    if value.kind == "Shard" and isinstance(axis, int):
        return f"S({axis})"
    factor = value.fields.get("split_factor", value.args[1] if len(value.args) > 1 else "?")
    return f"_S({axis},{factor})" if isinstance(axis, int) else "?"


def _mesh_shape(mesh: object) -> tuple[int, ...]:
    """Return the shape of a DeviceMesh: a tensor of ranks, or a layout, by torch's version."""
    if not isinstance(mesh, Stub):
        return ()
    for key in ("mesh", "_mesh"):
        ranks = mesh.fields.get(key)
        if isinstance(ranks, TorchTensor):
            return ranks.shape
    layout = mesh.fields.get("_layout")
    if not isinstance(layout, Stub):
        return ()
    axes = layout.fields.get("axes")
    if isinstance(axes, (tuple, list)):
        flat = [axis.fields.get("shape") for axis in cast("Sequence[object]", axes)
                if isinstance(axis, Stub)]  # fmt: skip
        return tuple(_product(sizes) for sizes in flat)
    sizes = layout.fields.get("shape")
    if isinstance(sizes, int):
        return (_natural(sizes),)
    return tuple(_product(size) for size in cast("Sequence[object]", sizes)) if isinstance(
        sizes, (tuple, list)) else ()  # fmt: skip


def _product(sizes: object) -> int:
    return _natural(sizes) if isinstance(sizes, int) else prod(_naturals(sizes))


def quantised(args: tuple[object, ...]) -> object:
    storage = args[0]
    dtype = storage.dtype if isinstance(storage, Storage) else "quantised"
    return Opaque(dtype, "quantised by torch: its integers are codes, not weights")
