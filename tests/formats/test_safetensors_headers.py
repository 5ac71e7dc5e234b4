"""Headers: real files are read like the reference library does, hostile ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats.reading import OpenFiles, listing
from forkmon.formats.safetensors import (
    HEADER_CAP,
    NAME_CAP,
    TENSOR_CAP,
    Header,
    header_length,
    parse_header,
)
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]
Raw = Callable[..., bytes]

HERE = Path("x.safetensors")

TENSORS = {
    "bf16": torch.arange(12, dtype=torch.bfloat16).reshape(3, 4),
    "f16": torch.ones(5, dtype=torch.float16),
    "f32": torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)),
    "f64": torch.tensor(3.0, dtype=torch.float64),
    "i64": torch.arange(3),
    "i8": torch.tensor([-1, 2], dtype=torch.int8),
    "u8": torch.tensor([1], dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "f8_e4m3": torch.ones(4).to(torch.float8_e4m3fn),
    "f8_e5m2": torch.ones(4).to(torch.float8_e5m2),
    "nothing": torch.zeros(0, 7),
}


def tensor(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def parsed(header: object) -> Header:
    return parse_header(header if isinstance(header, bytes) else json.dumps(header).encode(), HERE)


def test_what_the_library_wrote_is_listed_and_read_bit_for_bit(
    tmp_path: Path, ref_of: RefOf
) -> None:
    """Every dtype, scalars and empty tensors included, comes back with its name and bytes."""
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path, metadata={"format": "pt", "step": "7"})
    ref = ref_of(path)
    held = listing(ref)
    assert {t.name: (t.dtype, t.shape) for t in held.tensors if t.name != "nothing"} == {
        name: (name, tuple(t.shape)) for name, t in TENSORS.items() if name != "nothing"
    }
    assert dict(held.metadata)["step"] == "7"
    with OpenFiles(ref) as files:
        for t in held.tensors:
            out = bytearray(t.bytes)
            files.read_into(t, 0, memoryview(out))
            assert bytes(out) == bytes(TENSORS[t.name].contiguous().untyped_storage())
        files.verify()


def test_tensors_come_in_file_order() -> None:
    """The listing follows offsets, so that reading is sequential, whatever the JSON's order."""
    held = parsed({"b": tensor("U8", [2], 4, 6), "a": tensor("F32", [1], 0, 4)}).listing
    assert [t.name for t in held.tensors] == ["a", "b"]


@pytest.mark.parametrize(
    "dtype", ["F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "C64", "F8_E4M3FNUZ", "?"]
)
def test_an_unread_dtype_is_skipped_and_the_others_go_on(dtype: str) -> None:
    """A dtype of another version never makes a file unreadable."""
    held = parsed({"odd": tensor(dtype, [3], 0, 5), "w": tensor("F32", [1], 5, 9)}).listing
    assert [t.name for t in held.tensors] == ["w"]
    assert [(s.name, s.dtype) for s in held.skipped] == [("odd", dtype)]


@pytest.mark.parametrize("name", ["", "n" * (NAME_CAP + 1)])
def test_a_name_that_cannot_be_addressed_is_skipped(name: str) -> None:
    """A tensor without a usable name is listed as skipped, with its reason."""
    held = parsed({name: tensor("U8", [1], 0, 1)}).listing
    assert not held.tensors
    assert held.skipped[0].reason


def test_lone_surrogates_in_a_name_become_text_that_can_be_stored() -> None:
    """Names can always be encoded, and two that would become one are refused."""
    held = parsed(rb'{"a\ud800": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}').listing
    assert held.tensors[0].name.encode() == rb"a\ud800"


HOSTILE: dict[str, object] = {
    "duplicate key": b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
    b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    "NaN": b'{"a":NaN}',
    "infinite": b'{"a":{"dtype":"U8","shape":[1e999],"data_offsets":[0,1]}}',
    "invalid UTF-8": b'{"\xff":1}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "a list": b"[]",
    "not JSON": b"{nope}",
    "deep nesting": b'{"a":' + b"[" * 200_000,
    "huge integer": b'{"a":{"dtype":"U8","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,1]}}',
    "tensor is text": {"a": "b"},
    "no dtype": {"a": {"shape": [1], "data_offsets": [0, 1]}},
    "dtype is a number": {"a": {"dtype": 3, "shape": [1], "data_offsets": [0, 1]}},
    "no shape": {"a": {"dtype": "U8", "data_offsets": [0, 1]}},
    "negative dimension": {"a": tensor("U8", [-1], 0, 1)},
    "boolean dimension": {"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}},
    "fractional dimension": {"a": {"dtype": "U8", "shape": [1.0], "data_offsets": [0, 1]}},
    "overflowing product": {"a": tensor("F32", [2**62, 2**62], 0, 4)},
    "overflowing dimension": {"a": tensor("U8", [2**64, 0], 0, 0)},
    "too many dimensions": {"a": tensor("U8", [1] * 65, 0, 1)},
    "offsets reversed": {"a": tensor("U8", [1], 1, 0)},
    "negative offset": {"a": tensor("U8", [1], -1, 0)},
    "one offset": {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0]}},
    "size is not shape times dtype": {"a": tensor("F32", [2], 0, 4)},
    "overlap": {"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 2, 6)},
    "hole": {"a": tensor("U8", [1], 0, 1), "b": tensor("U8", [1], 2, 3)},
    "hole before the first": {"a": tensor("U8", [1], 1, 2)},
    "longer than any file": {"a": tensor("?", [1], 0, 2**63 - 1)},
    "metadata is a list": {"__metadata__": []},
    "metadata holds a number": {"__metadata__": {"a": 1}},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_header_that_lies_is_refused(case: str) -> None:
    """Each lie a header can tell ends in FormatError that names the file."""
    with pytest.raises(FormatError, match=r"x\.safetensors"):
        parsed(HOSTILE[case])


def test_names_in_errors_are_safe() -> None:
    """An escape sequence in a tensor's name reaches no error message."""
    with pytest.raises(FormatError) as caught:
        parsed({"\x1b]52;c;evil": tensor("F32", [2], 0, 4)})
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("length", [HEADER_CAP + 1, 2**63, 2**64 - 1])
def test_a_header_beyond_the_cap_is_never_read(length: int) -> None:
    """The length field alone is enough to refuse a file."""
    with pytest.raises(FormatError):
        header_length(length.to_bytes(8, "little"), HERE)


def test_too_many_tensors_are_refused() -> None:
    """The cap on tensors holds."""
    one = '"dtype":"U8","shape":[0],"data_offsets":[0,0]'
    body = "{" + ",".join(f'"{i}":{{{one}}}' for i in range(TENSOR_CAP + 1)) + "}"
    with pytest.raises(FormatError, match="beyond"):
        parse_header(body.encode(), HERE)


@pytest.mark.parametrize("header", [b"\0" * 40, b'{"a":{"dtype"' + b"\0" * 20])
def test_a_header_not_written_yet_is_incomplete_not_wrong(header: bytes) -> None:
    """Zeros where a pre-sized file's header will be mean: come back later."""
    with pytest.raises(IncompleteError):
        parse_header(header, HERE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "U8", "F4", ""]) | JSON,
        "shape": st.lists(st.integers(-2, 2**65), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(-2, 2**65), max_size=3) | JSON,
    },
)


@given(st.dictionaries(st.text(max_size=6), FIELDS | JSON, max_size=4) | JSON)
def test_any_json_is_a_header_or_a_format_error(body: object) -> None:
    """No JSON value gets anything but a header or one of our two errors out of the parser."""
    try:
        header = parsed(body)
    except (FormatError, IncompleteError):
        return
    assert header.promised >= header.data_start
    assert all(t.offset >= header.data_start for t in header.listing.tensors)


@given(st.binary(max_size=200), st.binary(max_size=30))
def test_any_bytes_are_a_header_or_a_format_error(body: bytes, flip: bytes) -> None:
    """Neither do arbitrary bytes, nor a good header with some of its bytes replaced."""
    good = json.dumps({"a": tensor("F32", [1], 0, 4)}).encode()
    middle = len(good) // 3
    for header in (body, b"{" + body, good[:middle] + flip + good[middle + len(flip) :]):
        try:
            parse_header(header, HERE)
        except (FormatError, IncompleteError):
            continue
