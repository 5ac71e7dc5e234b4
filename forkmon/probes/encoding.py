"""Frozen dataclasses to JSON and back: what a probe found outlives the process that found it."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
Json = dict[str, object]


def encode(value: object) -> Json:
    """Return a dataclass as an object of JSON; numbers that are not finite become null.

    So only fields typed `float | None` may hold such numbers.
    """
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} is no dataclass")
    return {
        field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
    }  # fmt: skip


def decode(kind: type[T], value: object) -> T:
    """Return the dataclass that `encode` wrote; ValueError names the field that does not fit.

    Missing fields take their defaults, so that what an earlier version wrote stays readable.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{kind.__name__} is an object of JSON")  # noqa: TRY004 -- it is data
    given = cast("Mapping[str, object]", value)
    found = {
        name: _typed(hint, given[name], f"{kind.__name__}.{name}")
        for name, hint in fields_of(kind).items()
        if name in given
    }
    try:
        return kind(**found)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from None


def fields_of(kind: type[object]) -> dict[str, object]:
    """Return the fields of a dataclass with their types, in order."""
    hints = get_type_hints(kind)
    fields = dataclasses.fields(cast("Any", kind))
    return {field.name: hints[field.name] for field in fields if field.init}


def from_text(hint: object, text: str) -> object:
    """Return what a text on the command line means for a field of that type; else ValueError."""
    if hint is bool:
        if text not in ("true", "false"):
            raise ValueError("true or false")
        return text == "true"
    if hint is int:
        return int(text)
    if hint is float:
        return float(text)
    if get_origin(hint) is Literal and text not in get_args(hint):
        raise ValueError(f"one of {', '.join(map(str, get_args(hint)))}")
    return text


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return encode(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _typed(hint: object, value: object, where: str) -> object:
    plain, origin, inner = hint, get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _typed(next(arm for arm in inner if arm is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where} is a list")
        items = cast("list[object]", value)
        return tuple(_typed(inner[0], item, where) for item in items)
    if origin is Literal:
        if value not in inner:
            raise ValueError(f"{where} is one of {', '.join(map(str, inner))}")
        return value
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return decode(hint, value)
    return _scalar(plain, value, where)


def _scalar(hint: object, value: object, where: str) -> object:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise ValueError(f"{where} is {getattr(hint, '__name__', hint)}")
