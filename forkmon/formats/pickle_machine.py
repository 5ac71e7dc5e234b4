"""The pickle machine: every opcode on plain values, and nothing that could call anything.

Python's own unpickler calls what a file names; a subclass of it still calls `append`, `__setitem__`
and `__setstate__` of whatever lies on its stack. Here a name is only a Stub, and a call builds a
value of the table in `pickle_builders` or another Stub.
"""

from __future__ import annotations

import struct
from collections.abc import Sized
from typing import Final, cast

from forkmon.errors import FormatError
from forkmon.formats.pickle_builders import build
from forkmon.formats.pickle_containers import CONTAINERS
from forkmon.formats.pickle_scalars import SCALARS
from forkmon.formats.pickle_state import NAME_CAP, Machine, Operation
from forkmon.formats.pickle_values import NonsenseError, Stub, attributes

OPERATIONS_CAP: Final = 24_000_000
MEMO_CAP: Final = 2_000_000
_STOP: Final = 0x2E
_STUB_COST: Final = 2
_U4: Final = struct.Struct("<I")


class EndedEarlyError(FormatError):
    """The bytes end before the pickle does."""


def run(machine: Machine) -> tuple[object, int]:
    """Return what the pickle holds and where it ends; FormatError for nonsense."""
    try:
        return _run(machine), machine.at
    except IndexError:
        if machine.at >= len(machine.raw):
            raise EndedEarlyError(f"{machine.what}: its pickle ends too early") from None
        machine.fail("takes more than there is")
    except (struct.error, EOFError):
        raise EndedEarlyError(f"{machine.what}: its pickle ends too early") from None
    except NonsenseError as error:
        machine.fail(f"holds {error}")
    except RecursionError:
        machine.fail("is nested too deeply")
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        machine.fail(f"is no valid one ({type(error).__name__})")


def _run(machine: Machine) -> object:
    raw, table = machine.raw, _TABLE
    for _ in range(OPERATIONS_CAP):
        code = raw[machine.at]
        machine.at += 1
        if code == _STOP:
            return machine.stack.pop()
        table[code](machine)
    return machine.fail(f"has more than {OPERATIONS_CAP:,} operations")


def _remember(machine: Machine, key: int) -> None:
    if len(machine.memo) > MEMO_CAP:
        machine.fail(f"remembers more than {MEMO_CAP:,} objects")
    machine.memo[key] = machine.stack[-1]


def _memoize(machine: Machine) -> None:
    _remember(machine, len(machine.memo))


def _put1(machine: Machine) -> None:
    _remember(machine, machine.raw[machine.at])
    machine.at += 1


def _put4(machine: Machine) -> None:
    _remember(machine, machine.unpack(_U4))


def _put_line(machine: Machine) -> None:
    _remember(machine, machine.number())


def _get1(machine: Machine) -> None:
    machine.stack.append(machine.memo[machine.raw[machine.at]])
    machine.at += 1


def _get4(machine: Machine) -> None:
    machine.stack.append(machine.memo[machine.unpack(_U4)])


def _get_line(machine: Machine) -> None:
    machine.stack.append(machine.memo[machine.number()])


def _named(machine: Machine, module: object, name: object) -> Stub:
    if not isinstance(module, str) or not isinstance(name, str):
        machine.fail("names something without a name")
    full = f"{module}.{name}"
    if len(full) > NAME_CAP:
        machine.fail("has a name that is too long")
    return machine.globals.setdefault(full, Stub(full))


def _global(machine: Machine) -> None:
    module = machine.line().decode()
    machine.stack.append(_named(machine, module, machine.line().decode()))


def _stack_global(machine: Machine) -> None:
    name = machine.stack.pop()
    machine.stack.append(_named(machine, machine.stack.pop(), name))


def _call(machine: Machine, function: object, args: object, kwargs: object = None) -> None:
    if not isinstance(function, Stub) or not isinstance(args, tuple):
        machine.fail("calls something that is no function")
    given = cast("dict[str, object]", kwargs) if isinstance(kwargs, dict) else None
    built = build(function, cast("tuple[object, ...]", args), given)
    # What copies its argument costs what it copies: it could be asked to again and again.
    machine.new(built, _STUB_COST + (len(built) if isinstance(built, Sized) else 0))


def _reduce(machine: Machine) -> None:
    args = machine.stack.pop()
    _call(machine, machine.stack.pop(), args)


def _new_object_with(machine: Machine) -> None:
    kwargs = machine.stack.pop()
    args = machine.stack.pop()
    _call(machine, machine.stack.pop(), args, kwargs)


def _object(machine: Machine) -> None:
    function, *args = machine.marked()
    _call(machine, function, tuple(args))


def _instance(machine: Machine) -> None:
    module = machine.line().decode()
    function = _named(machine, module, machine.line().decode())
    _call(machine, function, tuple(machine.marked()))


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    # A class or function itself is shared by all that name it: it takes no state.
    if isinstance(target, Stub) and machine.globals.get(target.name) is not target:
        told = attributes(state)
        target.state = told
        if told is not state and isinstance(told, Sized):
            machine.charge(len(told))


def _by_id(machine: Machine) -> None:
    machine.new(machine.persistent(machine.stack.pop()))


def _by_line(machine: Machine) -> None:
    machine.new(machine.persistent(machine.line().decode()))


def _refused(machine: Machine) -> None:
    machine.fail(f"has an operation {machine.raw[machine.at - 1]:#04x} that is not known here")


_CALLS: Final[dict[bytes, Operation]] = {
    b"\x94": _memoize, b"q": _put1, b"r": _put4, b"p": _put_line,
    b"h": _get1, b"j": _get4, b"g": _get_line,
    b"c": _global, b"\x93": _stack_global, b"R": _reduce, b"\x81": _reduce,
    b"\x92": _new_object_with, b"o": _object, b"i": _instance, b"b": _build,
    b"Q": _by_id, b"P": _by_line,
}  # fmt: skip
"""Not there: the extension registry, and buffers that lie outside the pickle."""


def _table() -> list[Operation]:
    by_code: list[Operation] = [_refused] * 256
    for code, operation in (SCALARS | CONTAINERS | _CALLS).items():
        by_code[code[0]] = operation
    return by_code


_TABLE: Final = _table()
