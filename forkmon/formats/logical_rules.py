r"""Layouts that a user names in the config file: `[[layout]]` tables with a pattern of names.

[[layout]]
pattern = 'attn\.qkv\.(weight|bias)$'   # found anywhere in a tensor's name
parts = ["q", "k", "v"]
layout = "interleaved"                   # "blocks", "interleaved" (by head) or "whole"
heads = 16
kv_heads = 4                             # where several heads share a k and a v
axis = 0                                 # 1: the parts lie side by side in each row
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from forkmon.errors import UsageError
from forkmon.formats.logical_layout import QKV, Answer, Layout, Unknown
from forkmon.formats.logical_split import Outcome, channels, split
from forkmon.formats.refs import TensorRef
from forkmon.text import safe

Kind = Literal["blocks", "interleaved", "whole"]
_KEYS: Final = ("pattern", "parts", "layout", "heads", "kv_heads", "axis")
_PART = re.compile(r"[A-Za-z0-9_]{1,40}")
_PARTS_CAP: Final = 64
_HEADS_CAP: Final = 1 << 20
_SHARED: Final = frozenset({"k", "v"})
"""Parts of which there are `kv_heads`; of any other there are `heads`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How tensors whose names match are laid out; the first rule that matches counts."""

    pattern: re.Pattern[str]
    parts: tuple[str, ...]
    layout: Kind
    heads: int | None = None
    kv_heads: int | None = None
    axis: Literal[0, 1] = 0


def parse_rules(tables: object, origin: str) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """Return the usable rules of a config file's `layout`, and a warning for each other one."""
    if not isinstance(tables, list):
        return (), (f"{safe(origin)}: layout is no list of tables; write [[layout]]",)
    rules: list[Rule] = []
    warnings: list[str] = []
    for number, table in enumerate(cast("list[object]", tables), 1):
        try:
            rules.append(parse_rule(table, f"{safe(origin)}: [[layout]] {number}"))
        except UsageError as error:
            warnings.append(f"{error}; the rule is not used")
    return tuple(rules), tuple(warnings)


def parse_rule(table: object, where: str) -> Rule:
    """Return the rule of one `[[layout]]` table; UsageError for what it cannot mean."""
    if not isinstance(table, dict):
        raise UsageError(f"{where} is no table")
    given = cast("Mapping[str, object]", table)
    unknown = [key for key in given if key not in _KEYS]
    if unknown:
        raise UsageError(f"{where}: unknown key {safe(unknown[0])}; known: {', '.join(_KEYS)}")
    layout = given.get("layout", "blocks")
    if layout not in ("blocks", "interleaved", "whole"):
        raise UsageError(f"{where}: layout = {safe(layout)}: use blocks, interleaved or whole")
    axis = given.get("axis", 0)
    if type(axis) is not int or axis not in (0, 1):
        raise UsageError(f"{where}: axis = {safe(axis)}: use 0 (rows) or 1 (columns)")
    heads, kv_heads = (_count(given, key, where) for key in ("heads", "kv_heads"))
    rule = Rule(
        _pattern(given.get("pattern"), where),
        _parts(given.get("parts", list(QKV)), where),
        layout,
        heads,
        kv_heads,
        1 if axis else 0,
    )
    _check_heads(rule, where)
    return rule


def by_rule(tensor: TensorRef, rules: tuple[Rule, ...]) -> Outcome | Rule:
    """Return what the first matching rule makes of a tensor.

    None where none matches; the rule itself where it says to leave the tensor whole.
    """
    rule = next((rule for rule in rules if rule.pattern.search(tensor.name)), None)
    if rule is None:
        return None
    if rule.layout == "whole":
        return rule
    answer = _layout(rule, tensor)
    return split(tensor, answer) if isinstance(answer, Layout) else answer


def _layout(rule: Rule, tensor: TensorRef) -> Answer:
    rank = len(tensor.shape)
    named = f"the rule {safe(rule.pattern.pattern, 60)}"
    if tensor.size == 0 or rank == 0 or (rule.axis == 1 and rank > 2):
        return Unknown(f"{named} does not fit the shape {list(tensor.shape)}")
    on_columns = rule.axis == 1 and rank == 2
    length = channels(tensor, on_columns=on_columns)
    groups, units = _units(rule)
    size, rest = divmod(length, groups * sum(units))
    if rest or size == 0:
        return Unknown(
            f"{named} needs a multiple of {groups * sum(units):,} channels, not {length:,}"
        )
    parts = tuple((part, unit * size) for part, unit in zip(rule.parts, units, strict=True))
    return Layout(parts, groups, f"{named} of the config file", on_columns)


def _units(rule: Rule) -> tuple[int, list[int]]:
    """Return the number of groups and the relative size of each part in a group."""
    if rule.heads is None:
        return 1, [1] * len(rule.parts)
    shared = rule.kv_heads or rule.heads
    groups = shared if rule.layout == "interleaved" else 1
    return groups, [(shared if p in _SHARED else rule.heads) // groups for p in rule.parts]


def _pattern(value: object, where: str) -> re.Pattern[str]:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{where}: a pattern is needed, a regular expression for tensor names")
    try:
        return re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"{where}: pattern {safe(value)}: {safe(error)}") from None


def _parts(value: object, where: str) -> tuple[str, ...]:
    shown = safe(value)
    parts = cast("list[object]", value) if isinstance(value, list) else []
    named = [part for part in parts if isinstance(part, str) and _PART.fullmatch(part)]
    whole = len(named) == len(parts) == len(set(named))
    if not whole or not 2 <= len(named) <= _PARTS_CAP:
        raise UsageError(f"{where}: parts = {shown}: use at least two different plain words")
    return tuple(named)


def _count(given: Mapping[str, object], key: str, where: str) -> int | None:
    value = given.get(key)
    if value is None:
        return None
    if type(value) is not int or not 0 < value <= _HEADS_CAP:
        raise UsageError(f"{where}: {key} = {safe(value)}: a positive whole number is needed")
    return value


def _check_heads(rule: Rule, where: str) -> None:
    if rule.heads is None:
        if rule.kv_heads is not None:
            raise UsageError(f"{where}: kv_heads without heads")
        if rule.layout == "interleaved":
            raise UsageError(f"{where}: interleaved needs heads: how often the parts repeat")
    elif rule.kv_heads is not None and rule.heads % rule.kv_heads:
        raise UsageError(f"{where}: heads = {rule.heads} is no multiple of {rule.kv_heads}")
