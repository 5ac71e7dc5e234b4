"""Plain names: wrappers taken off, nothing merged, nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.formats.naming import normalised, plain_name
from forkmon.formats.refs import Listing, Role, Skipped, TensorRef

PARTS = st.sampled_from([
    "module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "layers", "0",
    "_forward_module", "weight", "my_module", "model", "",
])  # fmt: skip
NAMES = st.lists(PARTS, min_size=1, max_size=7).map(".".join)


def ref(name: str, role: Role = "model") -> TensorRef:
    """Return a tensor of a name."""
    return TensorRef(name, "f32", (2,), Path("x"), 0, role)


@pytest.mark.parametrize(
    ("stored", "plain"),
    [
        ("_orig_mod.transformer.wte.weight", "transformer.wte.weight"),
        ("module._orig_mod.a.weight", "a.weight"),
        ("_forward_module.module.a.weight", "a.weight"),
        ("_fsdp_wrapped_module.layers.0._fsdp_wrapped_module.w", "layers.0.w"),
        ("layers.0._checkpoint_wrapped_module.attn.w", "layers.0.attn.w"),
        ("encoder.module.weight", "encoder.module.weight"),
        ("my_orig_mod.weight", "my_orig_mod.weight"),
        ("module.", "module."),
        ("flat._flat_param", "flat._flat_param"),
    ],
)
def test_wrappers_are_taken_off(stored: str, plain: str) -> None:
    """Each wrapper goes where it stands; names that only look like one stay."""
    assert plain_name(stored) == plain


def test_the_name_on_disk_is_kept_beside_the_plain_one() -> None:
    """Provenance: what is shown knows what it is called in the file, and notes follow it."""
    found = normalised(Listing((ref("module.a"), ref("b")), notes=(("module.a", "tied"),)))
    assert [(t.name, t.stored_as) for t in found.tensors] == [("a", "module.a"), ("b", "")]
    assert found.notes == (("a", "tied"), ("a", "stored as module.a"))


def test_names_that_would_collide_stay_apart() -> None:
    """Both keep theirs, in a role of their own each; other roles do not collide."""
    listing = Listing(
        (ref("module.a"), ref("a"), ref("module.a", "ema"), ref("_orig_mod.b")),
        (Skipped("module.b", "c64", "why"),),
    )
    found = normalised(listing)
    assert [tensor.name for tensor in found.tensors] == ["module.a", "a", "a", "_orig_mod.b"]
    assert found.skipped[0].name == "module.b"
    assert ("module.a", "keeps its name: another tensor is a as well") in found.notes


@given(st.lists(st.tuples(NAMES, st.sampled_from(["model", "ema", "optimizer"])), unique=True,
                max_size=12))  # fmt: skip
def test_no_two_tensors_become_one_and_twice_is_once(names: list[tuple[str, Role]]) -> None:
    """Distinct names stay distinct, the origin is never lost, a second pass changes nothing."""
    listing = Listing(tuple(ref(name, role) for name, role in names))
    found = normalised(listing)
    shown = [(tensor.name, tensor.role) for tensor in found.tensors]
    assert len(set(shown)) == len(names)
    assert [(t.stored_as or t.name, t.role) for t in found.tensors] == names
    assert normalised(found) == found
