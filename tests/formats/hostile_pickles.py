"""Pickles that would run something, and pickles that would take all memory or all time."""

from __future__ import annotations

import struct
from typing import Final

from .hostile_bytes import call, mapping, named, number, pickled, state_dict, storage, tensor, text

DECOY: Final = "hostile_decoy"
"""A module that could be imported from beside the run: importing it writes a file."""
COMMAND: Final = "touch PROOF"

_SYSTEM: Final = call("os", "system", text(COMMAND))
_IMPORTED: Final = call("builtins", "__import__", text("os"))


def running() -> dict[str, bytes]:
    """Return values that would run something if they were unpickled, by what they do."""
    return {
        "os.system": _SYSTEM,
        "posix.system": call("posix", "system", text(COMMAND)),
        "stack_global": text("os") + text("system") + b"\x93" + b"(" + text(COMMAND) + b"tR",
        "stack_global_memo": text("os")
        + b"q\x00"
        + text("system")
        + b"q\x01\x30\x30h\x00h\x01\x93("
        + text(COMMAND)
        + b"tR",
        "stack_global_dotted": text("os")
        + text("path.os.system")
        + b"\x93("
        + text(COMMAND)
        + b"tR",
        "stack_global_of_lists": b"]]\x93)R",
        "global_with_spaces": b"cos \nsystem\n(" + text(COMMAND) + b"tR",
        "eval": call("builtins", "eval", text("__import__('os').system('touch PROOF')")),
        "exec": call("builtins", "exec", text("import hostile_decoy")),
        "python2_eval": call("__builtin__", "eval", text("open('PROOF', 'w')")),
        "compile": call("builtins", "compile", text("1"), text("f"), text("exec")),
        "open": call("builtins", "open", text("/etc/passwd")),
        "open_to_write": call("io", "open", text("PROOF"), text("w")),
        "import": call("builtins", "__import__", text(DECOY)),
        "importlib": call("importlib", "import_module", text(DECOY)),
        "global_alone": named(DECOY, "run"),
        "decoy": call(DECOY, "run"),
        "popen": call("subprocess", "Popen", text(COMMAND)),
        "check_output": call("subprocess", "check_output", b"]" + text("true") + b"a"),
        "getattr_chain": named("builtins", "getattr")
        + b"("
        + _IMPORTED
        + text("system")
        + b"tR("
        + text(COMMAND)
        + b"tR",
        "instance": b"(" + text(COMMAND) + b"ios\nsystem\n",
        "object": b"(" + named("os", "system") + text(COMMAND) + b"o",
        "new_object": named("subprocess", "Popen") + b"(" + text(COMMAND) + b"t\x81",
        "new_object_with": named("subprocess", "Popen")
        + b")"
        + mapping(("args", text("true")))
        + b"\x92",
        "setstate": named(DECOY, "Built") + b")\x81" + mapping(("command", text(COMMAND))) + b"b",
        "state_of_a_class": named("os", "system") + mapping(("__class__", text("x"))) + b"b",
        "reduce_ex": named("collections", "OrderedDict")
        + b")R"
        + mapping(("__reduce_ex__", named("os", "system")))
        + b"b",
        "slots": named("collections", "OrderedDict")
        + b")R(N"
        + mapping(("__setitem__", named("os", "system")))
        + b"tb",
        "append_to_a_class": named(DECOY, "Built") + b")\x81" + text(COMMAND) + b"a",
        "item_of_a_class": named(DECOY, "Built") + b")\x81" + text("a") + text(COMMAND) + b"s",
        "extension_1": b"\x82\x01)R",
        "extension_4": b"\x84\xff\xff\xff\x7f)R",
        "webbrowser": call("webbrowser", "open", text("http://127.0.0.1:9/")),
        "runpy": call("runpy", "run_path", text("hostile_decoy.py")),
        "numpy_exec": call("numpy.testing._private.utils", "runstring", text("1"), b"}"),
        "timeit": call("timeit", "timeit", text("1")),
        "code": call("code", "InteractiveInterpreter"),
        "pty": call("pty", "spawn", text("true")),
        "socket": call("socket", "create_connection", b"(" + text("127.0.0.1") + number(9) + b"t"),
        "ctypes": call("ctypes", "CDLL", text("libc.so.6")),
        "torch_load": call("torch", "load", text("PROOF")),
        "type": call("builtins", "type", text("X"), b")", b"}"),
        "partial": call("functools", "partial", named("os", "system"), text(COMMAND)),
        "rebuild_with_system": call(
            "torch._tensor",
            "_rebuild_from_type_v2",
            named("os", "system"),
            named("torch", "Tensor"),
            b"(" + text(COMMAND) + b"t",
            b"}",
        ),
        "hooks": call(
            "torch._utils",
            "_rebuild_tensor_v2",
            storage(),
            number(0),
            b"(K\x04t",
            b"(K\x01t",
            b"\x89",
            _SYSTEM,
        ),
        "reconstructor": call(
            "copyreg", "_reconstructor", named(DECOY, "Built"), named("builtins", "object"), b"N"
        ),
        "numpy_scalar": call("numpy._core.multiarray", "scalar", _SYSTEM, text("abcd")),
        "remove": call("shutil", "rmtree", text(".")),
    }


def odd() -> dict[str, bytes]:
    """Return pickles whose parts are of kinds that nobody expects."""
    ids = {
        "list": b"]",
        "dict": b"}",
        "none": b"N",
        "number": number(7),
        "empty": b")",
        "text": text("0"),
        "call": _SYSTEM,
        "class": named("os", "system"),
        "bytes": b"C\x01a",
        "long": b"(" + text("storage") * 500 + b"t",
        "kind": b"(" + text("storage") + text("x") + text("0") + text("cpu") + number(4) + b"t",
        "key": b"("
        + text("storage")
        + named("torch", "FloatStorage")
        + b"]"
        + text("cpu")
        + number(4)
        + b"t",
        "negative": b"("
        + text("storage")
        + named("torch", "FloatStorage")
        + text("0")
        + text("cpu")
        + number(-4)
        + b"t",
        "evil_kind": b"("
        + text("storage")
        + named("os", "system")
        + text("0")
        + text("cpu")
        + number(4)
        + b"t",
    }
    found = {f"id_{name}": state_dict(("x", tensor(of=made + b"Q"))) for name, made in ids.items()}
    found["id_line"] = state_dict(("x", b"Pstorage\n"))
    found["list_in_itself"] = state_dict(("x", b"]q\x09h\x09a"))
    found["dict_in_itself"] = state_dict(("x", b"}q\x09" + text("x") + b"h\x09s"))
    found["root_in_itself"] = pickled(b"}q\x09" + text("model") + b"h\x09s")
    found["stub_in_itself"] = state_dict(("x", named("a", "B") + b")\x81q\x09h\x09b"))
    found["extra_ops"] = state_dict(("x", b"]" + text("a") + b"\x8f]a(b"))
    found["item_of_a_list"] = state_dict(("x", b"]" + text("a") + text("b") + b"s"))
    found["append_to_a_dict"] = state_dict(("x", b"}" + text("b") + b"a"))
    found["state_of_a_tuple"] = state_dict(("x", b")" + text("b") + b"b"))
    found["list_as_a_key"] = state_dict(("x", b"}]" + text("b") + b"s"))
    found["storage_as_a_key"] = state_dict(("x", b"}" + storage() + text("b") + b"s"))
    return found


def bombs() -> dict[str, bytes]:
    """Return small or sparse pickles that would grow or take for ever."""
    return {
        "lists_doubled": state_dict(("x", _doubled(b"]", b"(", b"e"))),
        "dicts_doubled": pickled(_dicts_doubled()),
        "tuples_doubled": state_dict(("x", b")" + b"2\x86" * 64)),
        "lists_deep": state_dict(("x", b"]" * 60_000 + b"a" * 59_999)),
        "tuples_deep": state_dict(("x", b")" + b"\x85" * 60_000)),
        "marks_deep": state_dict(("x", b"(" * 200_000 + b"t" * 200_000)),
        "states_deep": state_dict(("x", (named("a", "B") + b")\x81") * 20_000 + b"b" * 19_999)),
        "rebuilds_deep": state_dict(("x", _rebuilds(3000))),
        "sections_wide": pickled(_wide(1000, 5)),
        "callbacks_wide": state_dict(("callbacks", _wide(1000, 5))),
        "dicts_wide": pickled(_wide_dicts(300, 6)),
        "empty_wide": pickled(_empty_wide()),
        "tuple_keys_alike": state_dict(("x", b"}(" + _alike(30_000) + b"u")),
        "numbers_alike": state_dict(
            ("x", call("builtins", "set", b"](" + _multiples(30_000) + b"e"))
        ),
        "pairs_alike": state_dict(
            ("x", call("collections", "OrderedDict", b"](" + _multiples(30_000, pair=True) + b"e"))
        ),
        "path_of_copies": state_dict(
            (
                "x",
                named("pathlib", "PosixPath")
                + b"("
                + text("a" * 1_000_000)
                + b"q\x09"
                + b"h\x09" * 2000
                + b"tR",
            )
        ),
        "names_long": state_dict(("x", _long_names())),
        "key_of_a_million": state_dict(("x", mapping(("a" * 1_000_000, tensor())))),
        "sets": state_dict(("x", b"(" + b"\x8f" * 6_000_000 + b"t")),
        "lists": state_dict(("x", b"(" + b"]" * 6_000_000 + b"t")),
        "numbers": state_dict(("x", b"(" + b"J\x00\x00\xff\x0f" * 500_000 + b"t")),
        "memo_sparse": state_dict(("x", b"Nr\xff\xff\xff\xff")),
        "memo_long": state_dict(("x", b"N" + b"\x94" * 3_000_000)),
        "long4": state_dict(("x", b"\x8b\xff\xff\xff\x7f")),
        "long4_negative": state_dict(("x", b"\x8b\xff\xff\xff\xff")),
        "long_line": state_dict(("x", b"L" + b"9" * 100_000 + b"L\n")),
        "frame": pickled(b"\x95" + b"\xff" * 8 + state_dict()[2:-1]),
        "frames": pickled((b"\x95" + bytes(8)) * 100_000 + state_dict()[2:-1]),
        "bytes8": state_dict(("x", b"\x8e" + struct.pack("<Q", 1 << 63))),
        "text8": state_dict(("x", b"\x8d" + b"\xff" * 8)),
        "bytearray8": state_dict(("x", b"\x96" + struct.pack("<Q", 1 << 40))),
        "buffers": state_dict(("x", b"\x97\x98")),
        "dups": state_dict(("x", b"(N" + b"2" * 500_000 + b"t")),
        "pickle_in_a_pickle": state_dict() + state_dict(),
        "no_stop": state_dict()[:-1],
        "empty": b"",
    }


def _doubled(first: bytes, mark: bytes, close: bytes) -> bytes:
    """Return 64 lists of which each holds the one before it twice."""
    each = (bytes([i]) for i in range(64))
    return first + b"".join(b"q" + i + b"0" + first + mark + 2 * (b"h" + i) + close for i in each)


def _dicts_doubled() -> bytes:
    return tensor() + b"".join(
        b"q"
        + bytes([i])
        + b"0}("
        + text("a")
        + b"h"
        + bytes([i])
        + text("b")
        + b"h"
        + bytes([i])
        + b"u"
        for i in range(64)
    )


def _rebuilds(depth: int) -> bytes:
    """Return tensor subclasses in tensor subclasses."""
    rebuild, kind = named("torch._tensor", "_rebuild_from_type_v2"), named("torch", "Tensor")
    inner = b"(" + storage() + number(0) + b"(K\x04t(K\x01t\x89}t"
    head = b"(" + rebuild + kind
    last = b"(" + named("torch._utils", "_rebuild_tensor_v2") + kind + inner + b"}t"
    return rebuild + head * depth + last + b"}t" * depth + b"R"


def _wide(count: int, depth: int) -> bytes:
    """Return lists of one list a thousand times over, a state dict at the bottom."""
    made = mapping(("a.weight", tensor()), ("b", tensor()))
    for level in range(depth):
        made += b"q" + bytes([level]) + b"0](" + (b"h" + bytes([level])) * count + b"e"
    return made


def _wide_dicts(count: int, depth: int) -> bytes:
    made = mapping(("a", tensor()), ("b", tensor()))
    for level in range(depth):
        held = b"h" + bytes([level])
        made += (
            b"q"
            + bytes([level])
            + b"0}("
            + b"".join(text(f"k{i}") + held for i in range(count))
            + b"u"
        )
    return made


def _empty_wide() -> bytes:
    """Return a dict whose every value is one list of very many things, none of them a tensor."""
    many = b"](" + b"]" * 50_000 + b"eq\x09"
    rest = b"".join(text(f"k{i}") + b"h\x09" for i in range(2000))
    return b"}(" + text("first") + many + rest + text("model") + mapping(("a", tensor())) + b"u"


def _alike(count: int) -> bytes:
    """Return dict keys, tuples of -1 and -2, which all have one hash in CPython, and values."""
    signs = (number(-1), number(-2))
    return b"".join(
        b"(" + b"".join(signs[i >> bit & 1] for bit in range(16)) + b"tN" for i in range(count)
    )


def _multiples(count: int, *, pair: bool = False) -> bytes:
    """Return integers of which all have the hash 0 in CPython, alone or in pairs."""
    prime = (1 << 61) - 1
    return b"".join((number(i * prime) + b"N\x86") if pair else number(i * prime)
                    for i in range(1, count + 1))  # fmt: skip


def _long_names() -> bytes:
    """Return a dict with a very long key, and very many tensors below it."""
    one = tensor() + b"q\x08\x30"
    below = b"}(" + b"".join(text(f"w{i}") + b"h\x08" for i in range(8_000)) + b"u"
    return one + b"}" + text("a" * 1_000_000) + below + b"s"
