"""The parts of a checkpoint: where its model is, where averages and where optimizer states."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from forkmon.formats.pickle_values import Stub
from forkmon.formats.refs import Role
from forkmon.formats.torch_graph import Graph, is_leaf, is_module
from forkmon.formats.torch_optimizer import is_optimizer

_DEPTH_CAP: Final = 4
"""Checkpoints inside checkpoints."""
_LIST_CAP: Final = 1000

_MODEL: Final = frozenset({
    "model", "state_dict", "model_state_dict", "model_state", "module", "net", "network",
    "weights", "params", "state", "current_model_state",
})  # fmt: skip
"""Keys that say nothing but: here is the model."""
_WRAPPERS: Final = ("state", "checkpoint", "app", "train_state", "trainer")
"""Keys under which a whole checkpoint may lie."""
_EMA: Final = re.compile(r"(?:^|_)(?:ema|averaged?|averaging|swa|shadow)(?:_|$)", re.IGNORECASE)
_OPTIMIZER: Final = re.compile(r"optim|^opts?(?:$|_)|^adam", re.IGNORECASE)
_OTHER: Final = re.compile(
    r"rng|random|sched|^lr_|scaler|sampler|loops?$|callbacks|algorithms|hyper_?param|^args$|^cfg$"
    r"|^config|loader|metrics?$|history|message_hub|^meta$|task_state|extra_state",
    re.IGNORECASE,
)
"""Keys of what is neither weights nor a copy of them; averages are still looked for in them."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a checkpoint that holds tensors of one role."""

    key: str
    prefix: str
    """Before the names in it."""
    role: Role
    held: object


def sections(root: object) -> list[Section]:
    """Return the parts of a checkpoint; of one that is nothing but weights, one part."""
    found = _sections(root, Graph(root), 0)
    alike = Counter((section.prefix, section.role) for section in found)
    return [
        replace(section, prefix=f"{section.prefix}{section.key}.")
        if alike[section.prefix, section.role] > 1 and section.key else section
        for section in found
    ]  # fmt: skip


def entries_of(value: object) -> Mapping[str, object] | None:
    """Return what a dict, or an object that is like one, holds under names."""
    if isinstance(value, dict):
        raw = cast("dict[object, object]", value)
    elif isinstance(value, Stub) and value.entries:
        raw = value.entries
    elif isinstance(value, Stub) and value.fields and not is_module(value):
        raw = cast("dict[object, object]", value.fields)
    else:
        return None
    return {str(key): held for key, held in raw.items() if isinstance(key, (str, int))}


def _sections(root: object, graph: Graph, depth: int) -> list[Section]:
    if isinstance(root, (list, tuple)):
        return _numbered(cast("Sequence[object]", root), graph, depth)
    if is_optimizer(root):
        return [Section("", "", "optimizer", root)]
    entries = entries_of(root)
    if entries is None or depth > _DEPTH_CAP or not _is_checkpoint(entries, graph):
        return [Section("", "", "model", root)] if graph.holds_tensors(root) else []
    return _parts(entries, graph, depth)


def _numbered(items: Sequence[object], graph: Graph, depth: int) -> list[Section]:
    """Return the parts of a list of checkpoints or state dicts, numbered if there are several."""
    if any(is_leaf(item) for item in items[:_LIST_CAP]) or depth > _DEPTH_CAP:
        return [Section("", "", "model", items)]
    filled = [(i, item) for i, item in enumerate(items[:_LIST_CAP]) if graph.holds_tensors(item)]
    if len(filled) == 1:
        return _sections(filled[0][1], graph, depth + 1)
    return [
        replace(section, prefix=f"{number}.{section.prefix}")
        for number, item in filled
        for section in _sections(item, graph, depth + 1)
    ]


def _is_checkpoint(entries: Mapping[str, object], graph: Graph) -> bool:
    """Return whether a mapping's keys are sections rather than names of parameters."""
    if any("." in key and is_leaf(value) for key, value in entries.items()):
        return False
    keys = [key for key, value in entries.items() if not is_leaf(value) and "." not in key]
    if any(key in _MODEL or _told(key) is not None for key in keys):
        return True
    values = entries.values()
    return not any(map(is_leaf, values)) and any(map(graph.holds_tensors, values))


def _told(key: str) -> str | None:
    """Return what a key says of what it holds, None where nothing."""
    if _OPTIMIZER.search(key):
        return "optimizer"
    if _EMA.search(key):
        return "ema"
    return "other" if _OTHER.search(key) else None


def _parts(entries: Mapping[str, object], graph: Graph, depth: int) -> list[Section]:
    wrapper = next((key for key in _WRAPPERS if _is_wrapper(entries.get(key), graph)), "")
    found = _sections(entries[wrapper], graph, depth + 1) if wrapper else []
    for key, value in entries.items():
        if key != wrapper and not is_leaf(value):
            found.extend(_part(key, value, entries, graph))
    return found


def _is_wrapper(value: object, graph: Graph) -> bool:
    entries = entries_of(value)
    return entries is not None and not is_optimizer(value) and _is_checkpoint(entries, graph)


def _part(
    key: str, value: object, entries: Mapping[str, object], graph: Graph
) -> list[Section]:  # fmt: skip
    told = "optimizer" if is_optimizer(value) else _told(key)
    if key in _MODEL:
        # A callback that averages puts the averages in the model's place, and the model here.
        averaged = key == "state_dict" and "current_model_state" in entries
        told = "ema" if averaged else "model"
    if told == "other":
        return _averages_in(value, graph)
    if not graph.holds_tensors(value):
        return []
    if told == "ema":
        if not graph.holds_tensors(value, counters=False):
            return []
        return [Section(key, _averaged_prefix(key, entries), "ema", _averages(value, graph))]
    if told == "optimizer":
        return [Section(key, "", "optimizer", value)]
    if told == "model":
        return [Section(key, "", "model", value)]
    # A list of tensors under a name of its own is a record of something, no part of a model.
    is_part = is_module(value) or entries_of(value) is not None
    return [Section(key, f"{key}.", "model", value)] if is_part else []


def _averaged_prefix(key: str, entries: Mapping[str, object]) -> str:
    """Return the prefix of averages beside what they are the averages of (`netG_ema`: `netG.`)."""
    of = _EMA.sub("", key)
    return f"{of}." if of in entries and of not in _MODEL else ""


def _averages(value: object, graph: Graph) -> object:
    """Return the weights among what a wrapper of averages keeps beside them."""
    inner = entries_of(value)
    if inner is None or any(is_leaf(held) and "." in key for key, held in inner.items()):
        return value
    for key, held in inner.items():
        named = key in _MODEL or _EMA.search(key)
        if named and (is_module(held) or entries_of(held)) and graph.holds_tensors(held):
            return held
    return value


def _averages_in(value: object, graph: Graph, depth: int = 0) -> list[Section]:
    """Return the averages that callbacks and hooks keep among their own states."""
    if depth > _DEPTH_CAP:
        return []
    items: list[tuple[str, object]] = list((entries_of(value) or {}).items())
    if isinstance(value, (list, tuple)):
        items = [("", item) for item in cast("Sequence[object]", value)]
    for key, held in items[:_LIST_CAP]:
        if is_leaf(held) or isinstance(held, (str, bytes, int, float)):
            continue
        if _EMA.search(key) and entries_of(held) and graph.holds_tensors(held):
            return [Section(key, "", "ema", _averages(held, graph))]
        deeper = _averages_in(held, graph, depth + 1)
        if deeper:
            return deeper
    return []
