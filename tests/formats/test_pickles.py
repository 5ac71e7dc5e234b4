"""The pickle machine: Python's own pickles come out right, nothing is ever executed."""

from __future__ import annotations

import collections
import enum
import pickle  # noqa: TID251 - to make pickles
import pickletools
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.errors import FormatError
from forkmon.formats import pickle_machine, pickle_state, pickles
from forkmon.formats.pickles import EndedEarlyError, Opaque, Stub, load

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
    | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner)
    | st.dictionaries(st.text() | st.integers(-(2**40), 2**40), inner, max_size=4)
    | st.sets(st.text() | st.integers(-9, 9), max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(PLAIN, st.integers(0, 5))
def test_plain_values_come_out_as_they_went_in(value: object, protocol: int) -> None:
    """Whatever needs no class is read as Python reads it, in every protocol."""
    raw = pickle.dumps(value, protocol)
    if protocol == 0 and any(op.name == "STRING" for op, _, _ in pickletools.genops(raw)):
        return
    assert load(raw, "x") == value


@dataclass(frozen=True)
class Frozen:
    """A dataclass."""

    a: int
    b: object = None


@dataclass(frozen=True, slots=True)
class Slots:
    """A dataclass with slots."""

    a: int
    b: str = "x"


class Colour(enum.Enum):
    """An enum."""

    RED = 1


class Mapping(dict[str, int]):
    """A dict of one's own."""


class Sequence(list[int]):
    """A list of one's own."""


Pair = collections.namedtuple("Pair", "x y")  # noqa: PYI024


@pytest.mark.parametrize("protocol", range(6))
def test_objects_become_stubs_with_what_they_held(protocol: int) -> None:
    """Attributes, arguments, items and entries are all there, under the class's name."""
    mapping, sequence = Mapping(a=1), Sequence([1, 2])
    mapping.note = "n"  # type: ignore[attr-defined]
    value = [Frozen(1, [2]), Colour.RED, mapping, sequence, Pair(1, 2)]
    frozen, colour, entries, items, pair = _stubs(load(pickle.dumps(value, protocol), "x"))
    assert frozen.name == f"{__name__}.Frozen"
    assert frozen.fields == {"a": 1, "b": [2]}
    assert colour.args == (1,)
    assert (entries.kind, entries.entries) == ("Mapping", {"a": 1})
    assert items.items == [1, 2]
    assert pair.args == (1, 2)


def _stubs(value: object) -> list[Stub]:
    assert isinstance(value, list)
    stubs = [item for item in value if isinstance(item, Stub)]
    assert len(stubs) == len(value)
    return stubs


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_slots_are_attributes_too(protocol: int) -> None:
    """The pair that Python stores for slots is one mapping."""
    (stub,) = _stubs(load(pickle.dumps([Slots(3)], protocol), "x"))
    assert stub.state in ({"a": 3, "b": "x"}, [3, "x"])


def test_common_containers_become_plain() -> None:
    """Ordered and default dicts, counters' classes, paths and bytes of protocol 2."""
    value = [
        collections.OrderedDict(a=1),
        collections.defaultdict(int, b=2),
        Path("a") / "b",
        b"\xff\x00",
        frozenset({1}),
        complex(1, 2),
    ]
    found = load(pickle.dumps(value, 2), "x")
    assert isinstance(found, list)
    assert found[:5] == [{"a": 1}, {"b": 2}, "a/b", b"\xff\x00", {1}]
    assert isinstance(found[5], Stub)


EVIL = {
    "reduce": b"cos\nsystem\n(S'touch PROOF'\ntR.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0btouch PROOF\x85R.",
    "inst": b"(S'touch PROOF'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'touch PROOF'\no.",
    "newobj": b"\x80\x02cos\nsystem\nX\x0b\0\0\0touch PROOF\x85\x81.",
    "newobj_ex": b"\x80\x04cos\nsystem\n\x8c\x0btouch PROOF\x85}\x92.",
    "eval": b'cbuiltins\neval\n(S\'__import__("os").system("touch PROOF")\'\ntR.',
    "getattr chain": b"c__builtin__\ngetattr\n(cos\nS'system'\ntR(S'touch PROOF'\ntR.",
    "apply": b"c__builtin__\napply\n(cos\nsystem\n(S'touch PROOF'\nttR.",
    "copyreg": b"ccopyreg\n__newobj__\n(cos\nsystem\nS'touch PROOF'\ntR.",
    "setstate": b"\x80\x02ccollections\nOrderedDict\n)R}X\x0c\0\0\0__setstate__cos\nsystem\nsb.",
    "build global": b"\x80\x02cforkmon.formats.pickles\nStub\n}X\x04\0\0\0nameK\x01sb.",
    "rebuild": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\ncos\nsystem\n"
    b"X\x0b\0\0\0touch PROOF\x85NtR.",
    "persistent": b"cos\nsystem\nQ.",
    "numpy scalar": b"\x80\x02cnumpy.core.multiarray\nscalar\ncos\nsystem\nC\x01x\x86R.",
    "defaultdict": b"ccollections\ndefaultdict\n(cos\nsystem\ntRS'a'\nS'b'\ns.",
    "ext": b"\x80\x02\x82\x01.",
    "append to a class": b"cos\nsystem\nS'x'\na.",
    "dotted": b"\x80\x04\x8c\x02os\x8c\x11__dict__.__class__\x93)R.",
    "load inside": b"cpickle\nloads\n(C\x10cos\nsystem\n(tR.xxtR.",
    "importlib": b"cimportlib\nimport_module\n(S'forkmon.cli'\ntR.",
}


@pytest.mark.parametrize("name", EVIL)
def test_no_payload_does_anything(name: str) -> None:
    """Each classic payload is a stub or an error; never more."""
    try:
        found = load(EVIL[name], "x")
    except FormatError:
        return
    assert isinstance(found, (Stub, Opaque, dict)) or found is None


def test_the_audit_hook_sees_no_execution(tmp_path: Path) -> None:
    """In a fresh interpreter: no import, no open, no exec, no process while the corpus is read."""
    corpus = tmp_path / "corpus.py"
    corpus.write_text(f"EVIL = {list(EVIL.values())!r}\n")
    program = textwrap.dedent(
        """
        import sys
        from forkmon.errors import FormatError
        from forkmon.formats.pickles import load
        sys.path.insert(0, sys.argv[1])
        from corpus import EVIL
        seen, armed = [], False
        def hook(event, args):
            if armed and event != "object.__getattr__":
                seen.append(event)
        sys.addaudithook(hook)
        for raw in EVIL:
            armed = True
            try:
                load(raw, "x")
            except FormatError:
                pass
            finally:
                armed = False
        print(sorted(set(seen)))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
    assert not (tmp_path / "PROOF").exists()


BAD = {
    "nothing": b"",
    "no stop": b"\x80\x02}",
    "stop on nothing": b".",
    "unknown operation": b"\xff.",
    "later protocol": b"\x80\x09N.",
    "memo of nothing": b"h\x05.",
    "mark of nothing": b"t.",
    "tuple of nothing": b"\x87.",
    "text beyond the end": b"X\xff\xff\xff\x7fabc.",
    "bytes beyond the end": b"\x8e" + b"\xff" * 8 + b".",
    "negative length": b"T\xff\xff\xff\xff.",
    "long of two gigabytes": b"\x8b\xff\xff\xff\x7f.",
    "long of megabytes": b"\x8b\x00\x00\x10\x00" + b"\1" * (1 << 20) + b".",
    "number of many digits": b"I" + b"9" * 4000 + b"\n.",
    "no number": b"Iabc\n.",
    "list as a key": b"}]Ns.",
    "dict in a tuple as a key": b"}(}tNs.",
    "large number as a key": b"}\x8a\x09\0\0\0\0\0\0\0\0\1Ns.",
    "key without value": b"}(Nu.",
    "item of a number": b"K\x01Na.",
    "call of a number": b"K\x01)R.",
    "name of a number": b"K\x01K\x02\x93.",
    "long name": b"c" + b"a" * 900 + b"\n" + b"b" * 900 + b"\n.",
    "line without end": b"I" + b"1" * 100_000,
    "bad utf-8": b"X\x01\0\0\0\xff.",
    "out of band": b"\x97.",
}


@pytest.mark.parametrize("name", BAD)
def test_nonsense_is_a_format_error(name: str) -> None:
    """Nothing but FormatError comes out, and it names the file."""
    with pytest.raises(FormatError, match="the file"):
        load(BAD[name], "the file")


@given(PLAIN, st.integers(0, 5), st.data())
def test_every_prefix_is_told_to_end_early(
    value: object, protocol: int, data: st.DataObject
) -> None:
    """A pickle that goes on is told from one that is wrong."""
    raw = pickle.dumps(value, protocol)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(EndedEarlyError):
        load(raw[:cut], "x")


def test_caps_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations, objects, nesting and size are all bounded."""
    monkeypatch.setattr(pickle_machine, "OPERATIONS_CAP", 100)
    with pytest.raises(FormatError, match="operations"):
        load(b"N" * 200 + b".", "x")
    monkeypatch.undo()
    monkeypatch.setattr(pickle_state, "OBJECTS_CAP", 100)
    with pytest.raises(FormatError, match="objects"):
        load(b"]" * 200 + b".", "x")
    # A list is copied again and again: each copy counts as much as it holds.
    copies = b"(" + b"N" * 60 + b"lq\0" + b"0cbuiltins\nlist\nh\0\x85R" * 5 + b"."
    with pytest.raises(FormatError, match="objects"):
        load(copies, "x")
    monkeypatch.undo()
    with pytest.raises(FormatError, match="deep"):
        load(b"(" * 20_000 + b".", "x")
    monkeypatch.setattr(pickles, "PICKLE_CAP", 10)
    with pytest.raises(FormatError, match="not read"):
        load(b"N" * 11 + b".", "x")


def test_deep_nesting_is_no_recursion() -> None:
    """A hundred thousand lists inside each other are read, and forgotten, without a crash."""
    found = load(b"]" * 100_000 + b"a" * 99_999 + b".", "x")
    assert isinstance(found, list)
    del found
    tuples = load(b")" + b"\x85" * 100_000 + b".", "x")
    assert isinstance(tuples, tuple)


def test_a_deep_tuple_is_no_key() -> None:
    """Hashing it would overflow the C stack."""
    with pytest.raises(FormatError, match="key"):
        load(b"})" + b"\x85" * 100_000 + b"Ns.", "x")


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_do_no_harm(raw: bytes) -> None:
    """Whatever the bytes, the answer is a value or a FormatError."""
    try:
        load(raw, "x")
    except FormatError:
        return
