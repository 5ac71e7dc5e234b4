"""The allow-list: which names in a pickle become more than a Stub, and what they become."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, cast

from forkmon.formats.pickle_tensors import (
    DTYPES,
    distributed,
    dtype_of,
    parameter,
    quantised,
    tensor,
    tensor_v3,
)
from forkmon.formats.pickle_values import (
    Distributed,
    NonsenseError,
    Opaque,
    Stub,
    TorchTensor,
    attributes,
    is_plain_key,
)
from forkmon.text import safe

__all__ = ["DTYPES", "build"]

_ENTRIES_CAP: Final = 1_000_000
_PATH_CAP: Final = 4096

Builder = Callable[[tuple[object, ...]], object]


def build(
    function: Stub, args: tuple[object, ...], kwargs: Mapping[str, object] | None = None
) -> object:
    """Return what calling a name would make: a value of ours, or a Stub that was not called."""
    builder = _BUILDERS.get(function.name)
    if builder is not None and not kwargs:
        built = builder(args)
        if built is not None:
            return built
    return Stub(function.name, args, kwargs)


def _first(args: tuple[object, ...]) -> object:
    return args[0]


def _from_type(args: tuple[object, ...]) -> object:
    """`_rebuild_from_type_v2`: function, type, its arguments, the state of the result."""
    function, kind, given = args[0], args[1], args[2]
    if not isinstance(function, Stub) or not isinstance(kind, Stub):
        raise NonsenseError("a tensor subclass without a name")
    state = attributes(args[3]) if len(args) > 3 else None
    if kind.kind == "DTensor" and isinstance(state, dict):
        return distributed(cast("dict[str, object]", state))
    if not isinstance(given, tuple):
        raise NonsenseError("a tensor subclass made of nothing")
    if kind.kind == "ShardedTensor":  # the shards lie in its state, for who joins the ranks
        whole = Stub(kind.name, cast("tuple[object, ...]", given))
        whole.state = args[3] if len(args) > 3 else None
        return whole
    inner = build(function, cast("tuple[object, ...]", given))
    if not isinstance(inner, TorchTensor):
        if isinstance(inner, (Opaque, Distributed)) and kind.kind == "Parameter":
            return inner
        dtype = inner.dtype if isinstance(inner, Opaque) else ""
        return Opaque(dtype, f"a {safe(kind.kind, 60)}, made of other tensors, is not read")
    plain = {"Tensor": inner.wrapper, "Parameter": "parameter"}
    wrapper = plain.get(kind.kind, safe(kind.kind, 60))
    return replace(inner, wrapper=wrapper)


def _opaque(reason: str, dtype_at: int | None = None) -> Builder:
    def made(args: tuple[object, ...]) -> object:
        dtype = "" if dtype_at is None else dtype_of(args[dtype_at])
        return Opaque(dtype, reason)

    return made


# -- plain values ----------------------------------------------------------------------------------


def _mapping(args: tuple[object, ...]) -> object:
    """OrderedDict and dict: empty, or of pairs."""
    if not args:
        return {}
    if len(args) != 1 or not isinstance(args[0], (list, tuple)):
        return {} if args[0] is None else None
    found: dict[object, object] = {}
    for pair in cast("Sequence[object]", args[0])[:_ENTRIES_CAP]:
        items = cast("Sequence[object]", pair) if isinstance(pair, (list, tuple)) else ()
        if len(items) != 2 or not isinstance(items[0], (str, int)) or not is_plain_key(items[0]):
            return None
        found[items[0]] = items[1]
    return found


def _default_mapping(args: tuple[object, ...]) -> object:
    return {} if len(args) <= 1 else None


def _sequence(args: tuple[object, ...]) -> Sequence[object] | None:
    if not args:
        return ()
    return cast("Sequence[object]", args[0]) if isinstance(args[0], (list, tuple)) else None


def _tuple(args: tuple[object, ...]) -> object:
    items = _sequence(args)
    return None if items is None else tuple(items)


def _list(args: tuple[object, ...]) -> object:
    items = _sequence(args)
    return None if items is None else list(items)


def _set(args: tuple[object, ...]) -> object:
    items = _sequence(args)
    return None if items is None else {item for item in items if is_plain_key(item)}


def _path(args: tuple[object, ...]) -> object:
    parts = [part for part in args if isinstance(part, str)]
    # One text may be a part many times over: together they could be longer than memory.
    return "/".join(parts) if sum(map(len, parts)) <= _PATH_CAP else None


def _encoded(args: tuple[object, ...]) -> object:
    """`_codecs.encode(text, "latin1")`: how protocol 2 spells bytes."""
    if len(args) == 2 and isinstance(args[0], str) and args[1] in ("latin1", "latin-1"):
        return args[0].encode("latin-1")
    return None


def _reconstructed(args: tuple[object, ...]) -> object:
    """`copyreg._reconstructor` and `__newobj__`: an object of the class that comes first."""
    if not args or not isinstance(args[0], Stub):
        return None
    held = args[2] if len(args) == 3 else None  # what was in it, of a class made of a plain one
    if isinstance(held, tuple):
        return Stub(args[0].name, cast("tuple[object, ...]", held))
    made = Stub(args[0].name, args[1:])
    made.share(held)
    return made


_SCALARS = {
    "f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q", "b1": "?",
}  # fmt: skip


def _numpy_scalar(args: tuple[object, ...]) -> object:
    """`numpy.core.multiarray.scalar(dtype, bytes)`."""
    if len(args) != 2 or not isinstance(args[0], Stub) or not isinstance(args[1], bytes):
        return None
    dtype, raw = args[0], args[1]
    code = _SCALARS.get(str(dtype.args[0])) if dtype.args else None
    state = dtype.state
    order = ">" if isinstance(state, tuple) and ">" in state[1:2] else "<"
    if code is None or struct.calcsize(code) != len(raw):
        return None
    return cast("object", struct.unpack(order + code, raw)[0])


def _under(modules: str, names: str, builder: Builder) -> dict[str, Builder]:
    return {f"{module}.{name}": builder for module in modules.split() for name in names.split()}


_BUILDERS: dict[str, Builder] = {
    **_under("torch._utils", "_rebuild_tensor _rebuild_tensor_v2", tensor),
    **_under("torch._utils", "_rebuild_tensor_v3", tensor_v3),
    **_under("torch._utils", "_rebuild_parameter _rebuild_parameter_with_state", parameter),
    **_under("torch._utils", "_rebuild_device_tensor_from_cpu_tensor", _first),
    **_under("torch._utils", "_rebuild_qtensor", quantised),
    **_under("torch._utils", "_rebuild_sparse_tensor _rebuild_sparse_csr_tensor",
             _opaque("sparse: only some of its elements are stored")),
    **_under("torch._utils", "_rebuild_nested_tensor", _opaque("a nested tensor of many shapes")),
    **_under("torch._utils", "_rebuild_meta_tensor_no_storage",
             _opaque("saved without data, from the meta device", 0)),
    **_under("torch._utils", "_rebuild_device_tensor_from_numpy _rebuild_xla_tensor",
             _opaque("of another device, stored as a numpy array", 1)),
    **_under("torch._utils", "_rebuild_wrapper_subclass",
             _opaque("a tensor subclass, made of other tensors", 1)),
    **_under("torch._tensor torch.tensor", "_rebuild_from_type _rebuild_from_type_v2", _from_type),
    **_under("torch", "Size", _tuple),
    **_under("collections", "OrderedDict", _mapping),
    **_under("collections", "defaultdict", _default_mapping),
    **_under("builtins __builtin__", "dict", _mapping),
    **_under("builtins __builtin__", "tuple", _tuple),
    **_under("builtins __builtin__", "list", _list),
    **_under("builtins __builtin__", "set frozenset", _set),
    **_under("pathlib pathlib._local", "Path PosixPath WindowsPath PurePath PurePosixPath "
             "PureWindowsPath", _path),
    **_under("_codecs", "encode", _encoded),
    **_under("copyreg copy_reg", "_reconstructor __newobj__", _reconstructed),
    **_under("numpy.core.multiarray numpy._core.multiarray", "scalar", _numpy_scalar),
}  # fmt: skip
