"""The pickle operations that push plain values: numbers, texts, bytes."""

from __future__ import annotations

import struct
from typing import Final

from forkmon.formats.pickle_state import Machine, Operation, decimal

_LONG_CAP: Final = 1024
"""Longest integer, in bytes."""
_U2, _U4, _I4, _U8, _F8 = (struct.Struct(code) for code in ("<H", "<I", "<i", "<Q", ">d"))


def _proto(machine: Machine) -> None:
    if machine.take(1)[0] > 5:
        machine.fail("is of a later protocol")


def _frame(machine: Machine) -> None:
    machine.at += 8


def _nothing(machine: Machine) -> None:
    machine.stack.append(None)


def _true(machine: Machine) -> None:
    machine.stack.append(True)


def _false(machine: Machine) -> None:
    machine.stack.append(False)


def _int1(machine: Machine) -> None:
    machine.stack.append(machine.raw[machine.at])
    machine.at += 1


def _int2(machine: Machine) -> None:
    machine.stack.append(machine.unpack(_U2))


def _int4(machine: Machine) -> None:
    machine.stack.append(machine.unpack(_I4))


def _long1(machine: Machine) -> None:
    _integer(machine, machine.take(1)[0])


def _long4(machine: Machine) -> None:
    _integer(machine, machine.unpack(_I4))


def _integer(machine: Machine, length: int) -> None:
    if not 0 <= length <= _LONG_CAP:
        machine.fail(f"has an integer of {length:,} bytes")
    machine.stack.append(int.from_bytes(machine.take(length), "little", signed=True))


def _int_line(machine: Machine) -> None:
    line = machine.line()
    if line in (b"00", b"01"):
        machine.stack.append(line == b"01")
    else:
        machine.stack.append(decimal(line))


def _long_line(machine: Machine) -> None:
    machine.stack.append(decimal(machine.line().rstrip(b"L")))


def _float(machine: Machine) -> None:
    (value,) = _F8.unpack_from(machine.raw, machine.at)
    machine.at += 8
    machine.stack.append(value)


def _float_line(machine: Machine) -> None:
    machine.stack.append(float(machine.line()))


def _bytes(machine: Machine, length: int) -> None:
    machine.new(machine.take(length))


def _bytes1(machine: Machine) -> None:
    _bytes(machine, machine.take(1)[0])


def _bytes4(machine: Machine) -> None:
    _bytes(machine, machine.unpack(_U4))


def _bytes8(machine: Machine) -> None:
    _bytes(machine, machine.unpack(_U8))


def _text(machine: Machine, length: int) -> None:
    machine.new(machine.take(length).decode("utf-8", "surrogatepass"))


def _text1(machine: Machine) -> None:
    _text(machine, machine.take(1)[0])


def _text4(machine: Machine) -> None:
    _text(machine, machine.unpack(_U4))


def _text8(machine: Machine) -> None:
    _text(machine, machine.unpack(_U8))


def _text_line(machine: Machine) -> None:
    machine.stack.append(machine.line().decode("raw-unicode-escape"))


def _latin1(machine: Machine) -> None:
    machine.new(machine.take(machine.take(1)[0]).decode("latin-1"))


def _latin4(machine: Machine) -> None:
    length = machine.unpack(_I4)
    if length < 0:
        machine.fail("has a text of negative length")
    machine.new(machine.take(length).decode("latin-1"))


def _quoted_line(machine: Machine) -> None:
    # Python 2's text; its escapes are left as they are, nobody names a tensor with them.
    machine.stack.append(machine.line()[1:-1].decode("latin-1"))


SCALARS: Final[dict[bytes, Operation]] = {
    b"\x80": _proto, b"\x95": _frame, b"N": _nothing, b"\x88": _true, b"\x89": _false,
    b"K": _int1, b"M": _int2, b"J": _int4, b"\x8a": _long1, b"\x8b": _long4,
    b"I": _int_line, b"L": _long_line, b"G": _float, b"F": _float_line,
    b"C": _bytes1, b"B": _bytes4, b"\x8e": _bytes8, b"\x96": _bytes8,
    b"\x8c": _text1, b"X": _text4, b"\x8d": _text8, b"V": _text_line,
    b"U": _latin1, b"T": _latin4, b"S": _quoted_line,
}  # fmt: skip
"""By opcode."""
