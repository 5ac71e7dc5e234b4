"""What lies among the weights and is none: masks and tables that a model makes for itself."""

from __future__ import annotations

import re

from forkmon.formats.refs import TensorRef

_MASK = re.compile(r"(?:^|\.)(?:\w*attn|\w*attention)\.(?:bias|causal_mask)$")
_SCALAR_MASK = re.compile(r"(?:^|\.)masked_bias$")
_FREQUENCIES = re.compile(r"(?:^|\.)(?:original_)?inv_freq$")
_INDEXES = re.compile(r"(?:^|\.)(?:position_ids|relative_position_index)$")
_COUNTER = re.compile(r"(?:^|\.)num_batches_tracked$")
_WHOLE_NUMBERS = frozenset({"u8", "i8", "i16", "u16", "i32", "u32", "i64", "u64"})


def buffer_reason(tensor: TensorRef) -> str:
    """Return what kind of buffer a tensor is, in words; empty for a parameter."""
    name, shape = tensor.name, tensor.shape
    if _MASK.search(name) and len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3]:
        return "a causal mask, no parameter"
    if _SCALAR_MASK.search(name) and tensor.size <= 1:
        return "the value that masks attention, no parameter"
    if _FREQUENCIES.search(name) and len(shape) == 1:
        return "frequencies of the rotary embedding, no parameters"
    if tensor.dtype in _WHOLE_NUMBERS:
        if _INDEXES.search(name):
            return "positions, no parameters"
        if _COUNTER.search(name) and tensor.size <= 1:
            return "a counter of batches, no parameter"
    return ""
