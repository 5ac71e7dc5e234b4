"""One tensor into its parts: names, shapes and views from a layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from forkmon.formats.logical_layout import Layout, Unknown
from forkmon.formats.refs import Stripes, TensorRef, View

Parts = tuple[TensorRef, ...]
Outcome = Parts | Unknown | None
"""Parts that take a tensor's place, why a fused one stays whole, or None: nothing to do."""

_KINDS = ("weight", "bias")


def module_of(name: str) -> tuple[str, str, str]:
    """Return (everything before the module, the module, `weight` or `bias`), else empty texts."""
    path, _, kind = name.rpartition(".")
    if kind not in _KINDS or not path:
        return "", "", ""
    before, _, leaf = path.rpartition(".")
    return before, leaf, kind


def part_name(name: str, part: str) -> str:
    """Return a part's name: `a.qkv.weight` has `a.qkv.q.weight`."""
    module, dot, kind = name.rpartition(".")
    return f"{module}.{part}.{kind}" if dot and kind in _KINDS else f"{name}.{part}"


def split(
    tensor: TensorRef, layout: Layout, naming: Callable[[str, str], str] = part_name
) -> Parts:  # fmt: skip
    """Return the parts that a layout along a tensor's first axis, or its columns, cuts it into."""
    return tuple(
        _part(tensor, layout, stripes, naming(tensor.name, part))
        for part, stripes in layout.stripes()
    )


def channels(tensor: TensorRef, *, on_columns: bool) -> int:
    """Return the length of the axis that a layout runs along; a vector has only one."""
    return tensor.shape[-1] if on_columns else tensor.shape[0]


def turned(tensor: TensorRef, why: str) -> TensorRef:
    """Return a matrix as it is, but known to have its output channels in the columns."""
    rows, columns = tensor.shape
    view = View(tensor.name, why, columns, Stripes(0, rows), Stripes(0, columns), transposed=True)
    return replace(tensor, view=view)


def _part(tensor: TensorRef, layout: Layout, stripes: Stripes, name: str) -> TensorRef:
    shape = tensor.shape
    if len(shape) == 1:
        view = View(tensor.name, layout.why, 1, stripes, Stripes(0, 1))
        return replace(tensor, name=name, shape=(stripes.size,), view=view)
    if layout.on_columns:
        rows = Stripes(0, prod(shape[:-1]))
        view = View(tensor.name, layout.why, shape[-1], rows, stripes, transposed=True)
        return replace(tensor, name=name, shape=(*shape[:-1], stripes.size), view=view)
    unit = prod(shape[1:-1])  # a channel of a convolution has several rows
    rows = Stripes(
        stripes.start * unit, stripes.length * unit, stripes.count, stripes.stride * unit
    )
    view = View(tensor.name, layout.why, shape[-1], rows, Stripes(0, shape[-1]))
    return replace(tensor, name=name, shape=(stripes.size, *shape[1:]), view=view)
