"""The pickle operations on the stack and on containers."""

from __future__ import annotations

from typing import Final, cast

from forkmon.formats.pickle_state import DEPTH_CAP, Machine, Operation
from forkmon.formats.pickle_values import Stub

_SET_COST: Final = 4
"""A set takes so much more memory than a list."""


def _mark(machine: Machine) -> None:
    if len(machine.below) > DEPTH_CAP:
        machine.fail(f"is nested more than {DEPTH_CAP:,} deep")
    machine.below.append(machine.stack)
    machine.stack = []


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.marked()


def _dup(machine: Machine) -> None:
    machine.stack.append(machine.stack[-1])


def _empty_tuple(machine: Machine) -> None:
    machine.stack.append(())


def _tuple(machine: Machine) -> None:
    machine.new(tuple(machine.marked()))


def _tuple_of(machine: Machine, count: int) -> None:
    if len(machine.stack) < count:
        raise IndexError
    items = tuple(machine.stack[-count:])
    del machine.stack[-count:]
    machine.new(items)


def _tuple1(machine: Machine) -> None:
    _tuple_of(machine, 1)


def _tuple2(machine: Machine) -> None:
    _tuple_of(machine, 2)


def _tuple3(machine: Machine) -> None:
    _tuple_of(machine, 3)


def _empty_list(machine: Machine) -> None:
    machine.new([])


def _list(machine: Machine) -> None:
    machine.new(machine.marked())


def _empty_dict(machine: Machine) -> None:
    machine.new({})


def _dict(machine: Machine) -> None:
    items = machine.marked()
    machine.new({})
    _store(machine, items)


def _empty_set(machine: Machine) -> None:
    machine.new(set[object](), _SET_COST)


def _frozenset(machine: Machine) -> None:
    machine.new(frozenset(machine.key(item) for item in machine.marked()), _SET_COST)


def _add(machine: Machine) -> None:
    items = machine.marked()
    target = machine.stack[-1]
    if isinstance(target, Stub):
        target.items.extend(items)
    elif isinstance(target, set):
        cast("set[object]", target).update(machine.key(item) for item in items)
    else:
        machine.fail("adds to something that is no set")


def _append(machine: Machine) -> None:
    _extend(machine, [machine.stack.pop()])


def _appends(machine: Machine) -> None:
    _extend(machine, machine.marked())


def _extend(machine: Machine, items: list[object]) -> None:
    target = machine.stack[-1]
    if isinstance(target, list):
        cast("list[object]", target).extend(items)
    elif isinstance(target, Stub):
        target.items.extend(items)
    else:
        machine.fail("appends to something that is no list")


def _setitem(machine: Machine) -> None:
    value = machine.stack.pop()
    _store(machine, [machine.stack.pop(), value])


def _setitems(machine: Machine) -> None:
    _store(machine, machine.marked())


def _store(machine: Machine, items: list[object]) -> None:
    target = machine.stack[-1]
    if isinstance(target, dict):
        into = cast("dict[object, object]", target)
    elif isinstance(target, Stub):
        into = target.entries
    else:
        machine.fail("stores a key in something that is no dict")
    if len(items) % 2:
        machine.fail("has a key without a value")
    for index in range(0, len(items), 2):
        key = items[index]
        into[key if type(key) is str else machine.key(key)] = items[index + 1]


def _pop_mark(machine: Machine) -> None:
    machine.marked()


CONTAINERS: Final[dict[bytes, Operation]] = {
    b"(": _mark, b"0": _pop, b"1": _pop_mark, b"2": _dup,
    b")": _empty_tuple, b"t": _tuple, b"\x85": _tuple1, b"\x86": _tuple2, b"\x87": _tuple3,
    b"]": _empty_list, b"l": _list, b"}": _empty_dict, b"d": _dict,
    b"\x8f": _empty_set, b"\x91": _frozenset, b"\x90": _add,
    b"a": _append, b"e": _appends, b"s": _setitem, b"u": _setitems,
}  # fmt: skip
"""By opcode."""
