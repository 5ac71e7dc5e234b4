"""config.json and [[layout]] rules: what is usable is used, nothing that is there does harm."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from forkmon.errors import UsageError
from forkmon.formats.logical import logical, logical_listing
from forkmon.formats.logical_config import CONFIG_CAP, Numbers, find_config, numbers, read_config
from forkmon.formats.logical_rules import parse_rule, parse_rules
from forkmon.formats.refs import Listing, TensorRef
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]
CONFIG = {"model_type": "phi3", "num_attention_heads": 4, "hidden_size": 8}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return the weight file of a checkpoint directory inside a run's directory."""
    path = tmp_path / "run" / "checkpoint-1" / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_file({"l.0.self_attn.qkv_proj.weight": np.zeros((24, 8), np.float32)}, path)
    return path


def test_the_config_is_beside_the_weights_or_in_the_run(weights: Path, ref_of: RefOf) -> None:
    """The one beside them counts first; a single file's is in its directory."""
    ref = ref_of(weights, path=weights.parent)
    assert find_config(ref) is None
    run = weights.parent.parent
    (run / "config.json").write_text(json.dumps(CONFIG))
    assert find_config(ref) == CONFIG
    (weights.parent / "config.json").write_text("{}")
    assert find_config(ref) == {}
    single = ref_of(weights)
    assert find_config(single) == {}
    (weights.parent / "config.json").unlink()
    assert find_config(single) is None
    assert find_config(single, root=run) == CONFIG


def test_a_listing_is_logical_with_the_config_it_finds(weights: Path, ref_of: RefOf) -> None:
    """Headers and config in, logical tensors out."""
    ref = ref_of(weights, path=weights.parent)
    assert len(logical_listing(ref).notes) == 1
    (weights.parent / "config.json").write_text(json.dumps(CONFIG))
    found = logical_listing(ref)
    assert [t.name.split(".")[-2] for t in found.tensors] == ["q", "k", "v"]
    assert found.notes == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 10_000 + b"}", b" " * (CONFIG_CAP + 1), b"\0" * 100,
    ],
    ids=range(12),
)  # fmt: skip
def test_a_hostile_config_is_no_config(tmp_path: Path, raw: bytes) -> None:
    """Broken, deep, huge or of another kind: read as if it were not there."""
    path = tmp_path / "config.json"
    path.write_bytes(raw)
    assert read_config(path) is None


def test_what_is_no_file_is_no_config(tmp_path: Path) -> None:
    """Directories, pipes and links to nowhere or to themselves neither block nor raise."""
    path = tmp_path / "config.json"
    path.symlink_to(path)
    assert read_config(path) is None
    path.unlink()
    os.mkfifo(path)
    assert read_config(path) is None
    path.unlink()
    path.mkdir()
    assert read_config(path) is None
    assert read_config(tmp_path / "a\0b") is None


def test_a_link_of_a_model_cache_is_followed(tmp_path: Path) -> None:
    """Caches keep files as links to blobs."""
    (tmp_path / "blob").write_text(json.dumps(CONFIG))
    (tmp_path / "config.json").symlink_to("blob")
    assert read_config(tmp_path / "config.json") == CONFIG


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["model_type", "num_attention_heads", "n_head", "hidden_size", "head_dim", "num_experts",
     "num_key_value_heads", "text_config", "attn_config", "multi_query"]
)  # fmt: skip
SMALL = JSON | st.integers(-2, 9) | st.sampled_from(["gpt_neox", "phi3", "codegen", "falcon"])


@given(st.dictionaries(KEYS, SMALL | st.dictionaries(KEYS, SMALL)))
def test_no_config_breaks_a_listing(config: dict[str, object]) -> None:
    """Any JSON object: the elements stay the same in number, in parts or whole."""
    shapes = {
        "a.query_key_value.weight": (12, 4),
        "a.qkv_proj.bias": (12,),
        "l.experts.w1": (2, 2, 2),
    }
    tensors = tuple(TensorRef(n, "f32", s, Path("f"), i) for i, (n, s) in enumerate(shapes.items()))
    found = logical(Listing(tensors), config)
    assert sum(t.size for t in found.tensors) == sum(t.size for t in tensors)
    found_numbers = numbers(config)
    assert min(found_numbers.heads, found_numbers.hidden, found_numbers.experts) >= 0


def test_numbers_have_many_names() -> None:
    """Families differ in what they call their numbers."""
    mpt = {"model_type": "mpt", "n_heads": 4, "d_model": 16, "attn_config": {"kv_n_heads": 2}}
    assert numbers(mpt) == Numbers("mpt", 4, 2, 16, 4)
    assert numbers({"n_head": 2, "n_embd": 6}) == Numbers("", 2, 2, 6, 3)
    assert numbers(None) == Numbers()
    assert numbers({"num_attention_heads": True, "hidden_size": -4}) == Numbers()


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("x", "is no table"),
        ({}, "a pattern is needed"),
        ({"pattern": 3}, "a pattern is needed"),
        ({"pattern": "("}, "pattern"),
        ({"pattern": "a", "part": []}, "unknown key part"),
        ({"pattern": "a", "parts": ["q"]}, "two different plain words"),
        ({"pattern": "a", "parts": ["q", "q"]}, "two different plain words"),
        ({"pattern": "a", "parts": ["q", "k.v"]}, "two different plain words"),
        ({"pattern": "a", "parts": "qkv"}, "two different plain words"),
        ({"pattern": "a", "layout": "spiral"}, "use blocks, interleaved or whole"),
        ({"pattern": "a", "layout": ["blocks"]}, "use blocks, interleaved or whole"),
        ({"pattern": "a", "axis": 2}, "use 0"),
        ({"pattern": "a", "axis": True}, "use 0"),
        ({"pattern": "a", "heads": 0}, "positive whole number"),
        ({"pattern": "a", "heads": 1.5}, "positive whole number"),
        ({"pattern": "a", "layout": "interleaved"}, "needs heads"),
        ({"pattern": "a", "kv_heads": 2}, "kv_heads without heads"),
        ({"pattern": "a", "heads": 4, "kv_heads": 3}, "no multiple of 3"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(table: object, why: str) -> None:
    """The error names the table, the key and what would do."""
    with pytest.raises(UsageError, match="here") as caught:
        parse_rule(table, "here")
    assert why in str(caught.value)


def test_a_bad_rule_is_a_warning_and_the_others_count() -> None:
    """A typing mistake never keeps a monitor from starting."""
    tables = [{"pattern": "a", "heads": 2}, {"pattern": "["}, {"pattern": "b"}]
    rules, warnings = parse_rules(tables, "config.toml")
    assert [rule.pattern.pattern for rule in rules] == ["a", "b"]
    assert len(warnings) == 1
    assert warnings[0].startswith("config.toml: [[layout]] 2: pattern [")
    assert parse_rules({"pattern": "a"}, "c.toml")[0] == ()
