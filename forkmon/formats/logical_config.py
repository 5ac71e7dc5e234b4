"""What a model's config.json says of its attention: names and numbers, none of them trusted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from forkmon.errors import CheckpointError
from forkmon.formats.opening import may_lead_to, open_regular, read_bytes
from forkmon.runs.refs import CheckpointRef

CONFIG: Final = "config.json"
CONFIG_CAP: Final = 4 << 20
"""Longest config.json read, in bytes."""
_NUMBER_CAP: Final = 1 << 31

Config = Mapping[str, object]

# What the families call their numbers; the first that is there counts.
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "kv_n_heads",
             "multi_query_group_num", "num_query_groups")  # fmt: skip
_HIDDEN = ("hidden_size", "n_embd", "n_embed", "d_model")
_HEAD_DIM = ("head_dim", "kv_channels", "attention_head_size")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_TEXT_PARTS = ("text_config", "llm_config", "language_config")
_DETAIL_PARTS = ("attn_config", "ffn_config")


@dataclass(frozen=True, slots=True)
class Numbers:
    """The part of a config that layouts are told from; 0 where it says nothing usable."""

    model_type: str = ""
    heads: int = 0
    kv_heads: int = 0
    """Equal to `heads` where the config names no other number."""
    hidden: int = 0
    head_dim: int = 0
    experts: int = 0
    multi_query: bool = False
    grouped: bool = False
    """Falcon's new decoder architecture."""


def numbers(config: Config | None) -> Numbers:
    """Return a config's numbers; for a model of text and pictures, those of its text part."""
    if config is None:
        return Numbers()
    levels = tuple(_levels(config))
    heads = _number(levels, _HEADS)
    hidden = _number(levels, _HIDDEN)
    even = heads > 0 and hidden % heads == 0
    return Numbers(
        model_type=_text(levels, "model_type"),
        heads=heads,
        kv_heads=_number(levels, _KV_HEADS) or heads,
        hidden=hidden,
        head_dim=_number(levels, _HEAD_DIM) or (hidden // heads if even else 0),
        experts=_number(levels, _EXPERTS),
        multi_query=_flag(levels, "multi_query", "multi_query_attention"),
        grouped=_flag(levels, "new_decoder_architecture"),
    )


def find_config(ref: CheckpointRef, root: Path | None = None) -> Config | None:
    """Return the config beside a checkpoint, or in its run's directory; None for what is unusable.

    Without `root`, the run's directory is the one that the checkpoint's directory is in.
    """
    beside = ref.path if ref.path not in ref.files else ref.path.parent
    above = root or (beside.parent if beside == ref.path else beside)
    for directory in dict.fromkeys((beside, above)):
        config = read_config(directory / CONFIG, above)
        if config is not None:
            return config
    return None


def read_config(path: Path, root: Path | None = None) -> Config | None:
    """Return a JSON object from a file, or None: missing, no object, too large, too deep.

    A link is followed inside its own directory and the run's, and from a model cache to its blobs.
    """
    try:
        target = path.resolve()
        if not any(may_lead_to(target, place.resolve()) for place in (path.parent, root or path)):
            return None
        raw = _read_capped(target)
        body: object = json.loads(raw.decode("utf-8")) if raw else None
    except (CheckpointError, OSError, ValueError, RuntimeError):  # RecursionError is the last
        return None
    return cast("Config", body) if isinstance(body, dict) else None


def _read_capped(path: Path) -> bytes:
    fd = open_regular(path)
    try:
        size = os.fstat(fd).st_size
        return read_bytes(fd, 0, size, path) if size <= CONFIG_CAP else b""
    finally:
        os.close(fd)


def _levels(config: Config) -> Iterator[Config]:
    """Yield the objects in which a number may stand, the one that counts first."""
    for key in _TEXT_PARTS:
        inner = config.get(key)
        if isinstance(inner, dict):
            yield from _with_details(cast("Config", inner))
    yield from _with_details(config)


def _with_details(config: Config) -> Iterator[Config]:
    yield config
    for key in _DETAIL_PARTS:
        inner = config.get(key)
        if isinstance(inner, dict):
            yield cast("Config", inner)


def _number(levels: tuple[Config, ...], keys: tuple[str, ...]) -> int:
    for level in levels:
        for key in keys:
            value = level.get(key)
            if type(value) is int and 0 < value < _NUMBER_CAP:
                return value
    return 0


def _text(levels: tuple[Config, ...], key: str) -> str:
    found = (level.get(key) for level in levels)
    return next((value for value in found if isinstance(value, str) and value), "")


def _flag(levels: tuple[Config, ...], *keys: str) -> bool:
    return any(level.get(key) is True for level in levels for key in keys)
